"""Hop latency: from the feeder's clock reading before its send to the event parsed and measured in the receiver.

Beside it, where our receiver is at the end, to the kernel's stamp of the arriving packet: the hop as our receiver
reports it, without its own work; there the two forwarders are compared alone.

A shared machine has slow moments that last for seconds, and a tail is made of little else. So the contestants take
short turns, and a figure is the median of its rounds; a ratio is the median of each round's own, in which both ran
within half a minute. With it go the second least and the second greatest round: an interval that has the true median
with a probability of 96 % for nine rounds (an order-statistics interval; David and Nagaraja, Order Statistics, 7.1).
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from rich.table import Table

from benchmarks import observed
from benchmarks.bench import Bench
from benchmarks.contestants import JSON, MIXED, Contestant, Feed, running
from benchmarks.samples import Samples, quantiles

__all__ = ["measure", "tables"]

TURNS = ((100, 1.2), (1_000, 0.8), (10_000, 0.4))
"""Events a second, and seconds: enough for a 99th percentile of its own."""
ROUNDS = 9
OF_A_ROUND = ("p50_us", "p99_us")
COLUMNS = ("contestant", "p50", "×", "p99", "×", "p99.9", "max", "lost", "CPU/event fwd", "rcv")


@dataclass(slots=True)
class _Turns:
    """What one contestant did at one rate, round by round."""

    delays: list[int] = field(default_factory=list)
    rounds: list[dict[str, Any]] = field(default_factory=list)
    stamped: list[dict[str, Any]] = field(default_factory=list)
    costs: list[tuple[float, float]] = field(default_factory=list)
    lost: int = 0


def measure(bench: Bench) -> dict[str, Any]:
    """Run all contestants in alternating order, and return their figures by name and rate."""
    turns = {one.name: {rate: _Turns() for rate, _seconds in TURNS} for one in bench.contestants}
    for number in range(ROUNDS):
        bench.say(f"latency, round {number + 1} of {ROUNDS}")
        order = bench.contestants if number % 2 == 0 else bench.contestants[::-1]
        for contestant in order:
            _take_turn(contestant, bench, turns[contestant.name])
    figures = {}
    for one in bench.contestants:
        measured = turns.get(_base(one.feed, turns), {})
        # The forwarders alone are compared on the clear feed.
        stamped = turns.get(MIXED, {}) if one.feed == JSON else {}
        figures[one.name] = {
            str(rate): _figures(own, measured.get(rate), stamped.get(rate)) for rate, own in turns[one.name].items()
        }
    return figures


def _base(feed: Feed, names: Iterable[str]) -> str:
    """Name whom the others of a feed are compared with: the native peer, or the plain program where there is none."""
    return "native" + feed.suffix if feed != JSON or "native" in names else "plain"


def _take_turn(contestant: Contestant, bench: Bench, turns: dict[int, _Turns]) -> None:
    with running(contestant, bench.folder, realtime=bench.realtime) as chain:
        chain.feed(500, 0.4)
        phases = [(rate, chain.feed(rate, seconds * bench.scale)) for rate, seconds in TURNS]
    samples = Samples.load(chain.samples)
    kernel = Samples.load(observed.kernel_file(chain.samples)) if contestant.our_receiver else None
    for rate, done in phases:
        own, first, last = turns[rate], done["first_us"], done["last_us"]
        delays = samples.delays_ns(first, last)
        own.delays += delays
        own.rounds.append(quantiles(delays))
        own.lost += done["sent"] - samples.count(first, last)
        own.costs.append((done["forwarder_cpu_us"], done["receiver_cpu_us"]))
        if kernel is not None:
            own.stamped.append(quantiles(kernel.delays_ns(first, last)))


def _figures(own: _Turns, measured: _Turns | None, stamped: _Turns | None) -> dict[str, Any]:
    pooled = quantiles(own.delays)
    figures: dict[str, Any] = {
        "samples": pooled["samples"],
        **{key: _middle(own.rounds, key) for key in OF_A_ROUND},
        "p999_us": pooled["p999_us"],
        "max_us": pooled["max_us"],
        "forwarder_cpu_us": median(cost[0] for cost in own.costs),
        "receiver_cpu_us": median(cost[1] for cost in own.costs),
        "lost": own.lost,
        "rounds": own.rounds,
    }
    if measured is not None:
        figures["ratio"] = {key: _ratio(own.rounds, measured.rounds, key) for key in OF_A_ROUND}
    if own.stamped:
        figures["stamped"] = {key: _middle(own.stamped, key) for key in OF_A_ROUND}
        if stamped is not None:
            figures["stamped"]["ratio"] = {key: _ratio(own.stamped, stamped.stamped, key) for key in OF_A_ROUND}
    return figures


def _middle(rounds: list[dict[str, Any]], key: str) -> float | None:
    known = [of_round[key] for of_round in rounds if of_round[key] is not None]
    return median(known) if known else None


def _ratio(own: list[dict[str, Any]], base: list[dict[str, Any]], key: str) -> tuple[float, float, float] | None:
    """Return the median of the rounds' ratios, the second least and the second greatest."""
    pairs = [(mine[key], theirs[key]) for mine, theirs in zip(own, base, strict=True)]
    ratios = sorted(mine / theirs for mine, theirs in pairs if mine and theirs)
    return (median(ratios), ratios[1], ratios[-2]) if len(ratios) >= 3 else None


def tables(figures: dict[str, Any]) -> list[Table]:
    """Show the figures, with ratios to the native peer, or to the plain program where there is none."""
    made = []
    for rate, _seconds in TURNS:
        at_rate = {name: of_name[str(rate)] for name, of_name in figures.items()}
        table = _table(
            f"hop latency at {rate:,} events/s, µs; × is to {_base(JSON, figures)}, over the same feed", COLUMNS
        )
        for name, row in at_rate.items():
            cells = [*_with_ratios(row), *map(_shown, (row["p999_us"], row["max_us"])), str(row["lost"])]
            table.add_row(name, *cells, _shown(row["forwarder_cpu_us"]), _shown(row["receiver_cpu_us"]))
        made.append(table)
        table = _table(f"the same to the kernel's stamp; × is to {MIXED}", COLUMNS[:5])
        for name, row in at_rate.items():
            if "stamped" in row:
                table.add_row(name, *_with_ratios(row["stamped"]))
        if table.rows:
            made.append(table)
    return made


def _table(title: str, columns: tuple[str, ...]) -> Table:
    table = Table(title=title, title_justify="left")
    for column in columns:
        table.add_column(column, justify="left" if column == "contestant" else "right", no_wrap=True)
    return table


def _with_ratios(row: dict[str, Any]) -> list[str]:
    ratios = row.get("ratio", {})
    return [cell for key in OF_A_ROUND for cell in (_shown(row[key]), _shown_ratio(ratios.get(key)))]


def _shown(value: float | None) -> str:
    return "-" if value is None else f"{value:,.1f}" if value < 100 else f"{value:,.0f}"


def _shown_ratio(ratio: tuple[float, float, float] | None) -> str:
    return "-" if ratio is None else f"{ratio[0]:.2f} ({ratio[1]:.2f} to {ratio[2]:.2f})"
