"""What ``experiment watch`` shows of one path or ten, on terminals of all sizes: nothing is cut or missing silently."""

import io
import random
import re

import msgspec
import pytest
from rich.console import Console

from daemons.service.console.screen import figure
from experiments.live.figures import ClockFigures, Daemon, LeadFigures, LinkFigures, Path, RequestFigures, Watched
from experiments.live.watch_view import fitted, tables

NAMES = (
    "backbone-frankfurt-singapore",
    "backbone-tokyo-osaka",
    "direct-tokyo",
    "accelerator-ap-northeast-1",
    "transit-gateway-1",
    "proxy",
    "vpn-osaka",
    "direct-frankfurt",
    "transit-gateway-2",
    "wireguard-tokyo-frankfurt",
)
RECEIVER, FORWARDER, PROBE = "192.0.2.1:9472", "192.0.2.2:9471", "192.0.2.1:9473"
SIZES = [(60, 24), (80, 24), (80, 50), (140, 24), (140, 50)]


def seen(count: int, rng: random.Random) -> Watched:
    """Make what is seen of a receiver with so many paths, each earlier than those after it."""
    delays = sorted(rng.uniform(5, 200) for _each in range(count))
    names = rng.sample(NAMES, count)
    delay_of = dict(zip(names, delays, strict=True))
    rank = {name: place for place, name in enumerate(names)}
    trend: list[float | None] = [rng.uniform(1, 2) for _each in range(20)]
    configured = rng.sample(names, count)
    paths = [
        Path(
            daemon=RECEIVER,
            name=name,
            connected=True,
            events=1000,
            events_per_second=16.5,
            samples=1000,
            median_ms=delay_of[name],
            p99_ms=delay_of[name] + 1,
            jitter_ms=0.5,
            lost=0,
            delayed=0,
            wins=1000 * (count - rank[name]),
            silent_seconds=0.1,
            address="",
            trend_ms=trend,
        )
        for name in configured
    ]
    # Each pair in one direction only, as it is configured.
    leads = [
        LeadFigures(
            daemon=RECEIVER,
            path=one,
            reference=other,
            events=1000,
            wins=900 if rank[one] < rank[other] else 100,
            reference_wins=100 if rank[one] < rank[other] else 900,
            median_ms=delay_of[other] - delay_of[one],
            trend_ms=trend,
        )
        for place, one in enumerate(configured)
        for other in configured[place + 1 :]
    ]
    return Watched(
        time="2026-01-01T00:00:00Z",
        daemons=[
            Daemon(role=role, address=address, state="up", version="1.0", over_seconds=60.0)
            for role, address in (("receiver", RECEIVER), ("forwarder", FORWARDER), ("probe", PROBE))
        ],
        paths=paths,
        leads=leads,
        links=[
            LinkFigures(
                daemon=FORWARDER, destination="a:1", connected=True, events_per_second=1.0, waiting=0, dropped=0
            )
        ],
        requests=[
            RequestFigures(
                daemon=PROBE, target="api", connection="cold", requests=9, median_ms=1.0, p99_ms=2.0, trend_ms=trend
            )
        ],
        clocks=[ClockFigures(daemon=RECEIVER, peer_of="", synchronized=True, offset_ms=0.01, error_ms=0.2)],
    )


def on_screen(shown: object, width: int, height: int) -> list[str]:
    console = Console(file=io.StringIO(), width=width, height=height, force_terminal=True, color_system=None)
    return ["".join(part.text for part in line) for line in console.render_lines(shown, pad=False)]  # type: ignore[arg-type]


def show(found: Watched, width: int, height: int) -> list[str]:
    console = Console(file=io.StringIO(), width=width, height=height, force_terminal=True, color_system=None)
    return on_screen(fitted(found, console), width, height)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("count", range(1, 11))
def test_what_does_not_fit_is_told_and_all_else_is_whole(size: tuple[int, int], count: int) -> None:
    width, height = size
    found = seen(count, random.Random(count))
    lines = show(found, width, height)
    text = " ".join(" ".join(lines).split())
    assert all(len(line) <= width for line in lines)
    assert "…" not in text
    for path in found.paths:
        assert path.name in text
        assert figure(path.median_ms) in text
        assert figure(path.p99_ms) in text or width < 80
    titles = {
        "leads": "first in",
        "links": "links of the forwarder",
        "requests": "requests",
        "clocks": "error up to ms",
    }
    if count == 1:
        titles["leads"] = "race: not configured"
    told = text.partition("no room for: ")[2].partition(";")[0].split(", ")
    for name, title in titles.items():
        assert (title in text.partition("no room for")[0]) != (name in told), name
    assert len(lines) <= height


@pytest.mark.parametrize("width", range(30, 90, 5))
def test_what_the_head_has_no_room_for_stands_indented_below(width: int) -> None:
    lines = [line.rstrip() for line in on_screen(tables(seen(2, random.Random(1)), width), width, 50)]
    head = lines[: lines.index("")]
    begun = [line for line in head if not line.startswith("  ")]
    assert [line.split()[0] for line in begun] == ["2026-01-01T00:00:00Z", "receiver", "forwarder", "probe"]
    assert "p50 and p99" in " ".join(" ".join(head).split())


def test_events_that_both_brought_at_once_are_of_those_that_neither_had_first() -> None:
    found = seen(2, random.Random(1))
    tied = msgspec.structs.replace(found.leads[0], events=1000, wins=50, reference_wins=0, median_ms=0.0)
    text = " ".join(show(msgspec.structs.replace(found, leads=[tied]), 140, 50))
    assert "first in 5.0 % of 1,000 events" in text


@pytest.mark.parametrize("size", [(80, 24), (140, 24), (140, 50)])
def test_of_ten_paths_it_says_who_leads_its_closest_rival(size: tuple[int, int]) -> None:
    found = seen(10, random.Random(3))
    by_delay = sorted(found.paths, key=lambda path: path.median_ms or 0.0)
    first, rival = by_delay[0], by_delay[1]
    assert first.median_ms is not None
    assert rival.median_ms is not None
    text = " ".join(" ".join(show(found, *size)).split())
    lead = figure(rival.median_ms - first.median_ms)
    assert f"{first.name} leads {rival.name} by {lead} ms (median), first in 90.0 % of 1,000 events" in text
    (others,) = re.findall(r"and (\d+) other pairs: see --json", text)
    assert text.count("(median)") + int(others) == len(found.leads) == 45


def test_with_room_nothing_is_left_out() -> None:
    found = seen(10, random.Random(4))
    assert show(found, 140, 200) == on_screen(tables(found, 140), 140, 200)
    assert " ".join(show(found, 140, 200)).count("(median)") == 9
    # Of three paths each pair is shown as it is configured.
    few = seen(3, random.Random(5))
    text = " ".join(" ".join(show(few, 140, 200)).split())
    assert all(f"{lead.path} leads {lead.reference}" in text or f"{lead.path} trails" in text for lead in few.leads)


def test_names_that_look_like_markup_are_shown_as_they_are() -> None:
    odd = {"near [red]": "direct-tokyo", "a[/b]": "proxy", "far {*}.v2 (a|b)": "vpn-osaka"}
    whole = seen(len(NAMES), random.Random(1))
    swapped = {plain: name for name, plain in odd.items()}
    paths = [msgspec.structs.replace(path, name=swapped.get(path.name, path.name)) for path in whole.paths]
    leads = [
        msgspec.structs.replace(
            lead, path=swapped.get(lead.path, lead.path), reference=swapped.get(lead.reference, lead.reference)
        )
        for lead in whole.leads
    ]
    for width in (60, 140):
        out = io.StringIO()
        shown = msgspec.structs.replace(whole, paths=paths, leads=leads)
        Console(file=out, width=width).print(tables(shown, width))
        text = " ".join(out.getvalue().split())
        assert [name for name in odd if text.count(name) < 2] == []
