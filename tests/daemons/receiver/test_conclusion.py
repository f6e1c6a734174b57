"""What a timed run says at its end."""

import io
import json
import random
import re
import statistics
from itertools import combinations
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from daemons.measurement.account import PathAccount
from daemons.measurement.figures import Figures
from daemons.measurement.race import RaceTable
from daemons.receiver.conclusion import print_conclusion, verdicts
from daemons.receiver.histograms import ReceiverHistograms
from tests.programs import simulator
from tests.terminal import on_terminal, program

MS = 1_000_000


@given(
    st.lists(st.tuples(*(st.none() | st.integers(0, 500) for _ in range(3))), min_size=1, max_size=60),
    st.permutations([0, 1, 2]),
)
def test_it_is_what_counting_by_hand_gives(arrivals: list[tuple[int | None, ...]], order: list[int]) -> None:
    names = ["one", "two", "three"]
    table = RaceTable(3, order=order, keep_quantiles=True)
    for number, stamps in enumerate(arrivals):
        seen = [(stamp, path) for path, stamp in enumerate(stamps) if stamp is not None]
        for stamp, path in sorted(seen):
            table.observe(number, path, stamp * MS)
    table.finish()
    for said, (reference, path) in zip(verdicts(names, table.pairs), combinations(order, 2), strict=True):
        leads = [row[reference] - row[path] for row in arrivals if row[path] is not None and row[reference] is not None]  # type: ignore[operator]
        wins, losses = sum(lead > 0 for lead in leads), sum(lead < 0 for lead in leads)
        if not leads:
            assert said.startswith(f"{names[path]} and {names[reference]}: no event came by both")
            continue
        assert f" {len(leads):,} events" in said
        if wins == losses:
            assert said.startswith(f"neither {names[path]} nor {names[reference]} was first more often")
            continue
        first = path if wins > losses else reference
        share = re.match(rf"{names[first]} was first in ([\d.]+) % of", said)
        assert share
        assert float(share[1]) == pytest.approx(100 * max(wins, losses) / len(leads), abs=0.1)
        only = sum(row[path] is not None and row[reference] is None for row in arrivals)
        assert f"{only:,} only by {names[path]}" in said
        if by := re.search(r"by ([\d.]+) ms in the median", said):
            # Nearest rank, of a histogram whose buckets are 1 % wide.
            low, high = statistics.median_low(leads), statistics.median_high(leads)
            low, high = sorted((abs(low), abs(high)))
            assert low * 0.98 - 0.01 <= float(by[1]) <= high * 1.02 + 0.01


@pytest.mark.parametrize("width", [40, 60, 80, 140])
def test_figures_are_whole_at_every_width(width: int) -> None:
    rng = random.Random(1)
    accounts = []
    for index, name in enumerate(("direct", "a-path-of-a-long-name")):
        figures = Figures()
        for _ in range(4000):
            figures.end_to_end.record(int(rng.gauss(100, 5) * MS))
        instruments = ReceiverHistograms().instruments(name)
        accounts.append(PathAccount(name, index, link=False, instruments=instruments, figures=figures))
    file = io.StringIO()
    console = Console(file=file, width=width, force_terminal=True, color_system=None, highlight=False)
    print_conclusion(console, accounts, (), 12.0, 30.0)
    text = file.getvalue()
    assert "ended early, after 12.0 of 30 s" in text
    assert "…" not in text
    assert max(len(line.rstrip()) for line in text.splitlines()) <= width
    for account in accounts:
        assert account.figures is not None
        for fraction in (0.5, 0.95, 0.99, 0.999):
            value = account.figures.end_to_end.quantile(fraction)
            assert value is not None
            assert f"{value / MS:.2f}" in text


def test_a_percentile_of_too_few_samples_is_left_out_as_by_the_commands() -> None:
    figures = Figures()
    for number in range(1, 368):
        figures.end_to_end.record(number * MS)
    account = PathAccount(
        "direct", 0, link=False, instruments=ReceiverHistograms().instruments("direct"), figures=figures
    )
    file = io.StringIO()
    print_conclusion(Console(file=file, width=140, color_system=None), [account], (), 30.0, 30.0)
    assert "–" in file.getvalue()
    assert f"{figures.end_to_end.quantile(0.95) or 0:.0f}"[:3] in file.getvalue()
    assert "363." not in file.getvalue()
    figures.end_to_end.record(368 * MS)
    print_conclusion(console := Console(file=io.StringIO(), width=140, color_system=None), [account], (), 30.0, 30.0)
    # Position 367 * 0.99 of 1 to 368.
    assert "364.3" in console.file.getvalue()  # type: ignore[attr-defined]


@pytest.mark.process
@pytest.mark.parametrize("width", [60, 80, 140])
def test_a_timed_race_at_a_terminal(width: int, tmp_path: Path) -> None:
    file = tmp_path / "receiver.toml"
    with simulator("--far-listen", "127.0.0.1:0", "--far-delay-ms", "30") as exchange:
        urls = {"far": exchange.ready["far"], "near": exchange.ready["near"]}
        paths = (f'[[path]]\nname="{name}"\nkind="feed"\nurl="ws://{at}"\n' for name, at in urls.items())
        file.write_text("".join(paths))
        flags = ["--config", str(file), "--metrics", "127.0.0.1:0", "--allow-unsynchronized-clock"]
        results = ["--output", str(tmp_path / "results.json")]
        shown = on_terminal(
            program("daemons.receiver.main", *flags, *results, "--duration", "2s", "--log-format", "console"), width
        )
    assert shown.code == 0
    assert shown.too_long == []
    text = " ".join(shown.text.split())
    (race,) = json.loads((tmp_path / "results.json").read_text())["race"]
    assert f"near was first in 100 % of {race['pairs']:,} events that far brought too, by " in text
    assert text.count("was first in") == 1
    # The first line of a console is one to read, and the settings follow, a table a line.
    first, second, *_ = shown.lines
    assert re.fullmatch(r"\d\d:\d\d:\d\d starting +setup_type=race", first)
    assert second == "  config:"
    assert "    [clock] max_error_ms=10 allow_unsynchronized=True" in shown.lines
