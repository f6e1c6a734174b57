"""Two settings of ours in turn, with the same feeder: what the second costs over the first."""

from collections.abc import Mapping
from statistics import median
from typing import Any

from rich.table import Table

from benchmarks.bench import Bench
from benchmarks.contestants import Contestant, running
from benchmarks.samples import Samples, quantiles

__all__ = ["RATE", "ROUNDS", "compared", "pairs_table"]

RATE = 10_000
SECONDS = 0.8
ROUNDS = 7
FIGURES = {
    "forwarder_cpu_us": "CPU/event fwd",
    "receiver_cpu_us": "CPU/event rcv",
    "p50_us": "p50",
    "p99_us": "p99",
}


def compared(
    what: str, without: Contestant, having: Contestant, bench: Bench, rate: int = RATE, seconds: float = SECONDS
) -> dict[str, Any]:
    """Return medians, and the median of the rounds' ratios with the second least and the second greatest."""
    rounds: tuple[list[dict[str, Any]], list[dict[str, Any]]] = ([], [])
    for number in range(ROUNDS):
        bench.say(f"{what}, round {number + 1} of {ROUNDS}")
        for at in (0, 1) if number % 2 == 0 else (1, 0):
            rounds[at].append(_turn((without, having)[at], bench, rate, seconds))
    found: dict[str, Any] = {"lost": sum(one["lost"] for one in (*rounds[0], *rounds[1]))}
    for key in FIGURES:
        pairs = [(one[key], other[key]) for other, one in zip(*rounds, strict=True) if one[key] and other[key]]
        ratios = sorted(one / other for one, other in pairs)
        found[key] = {
            "without": median(other for _one, other in pairs),
            "with": median(one for one, _other in pairs),
            "ratio": (median(ratios), ratios[1], ratios[-2]),
        }
    return found


def _turn(contestant: Contestant, bench: Bench, rate: int, seconds: float) -> dict[str, Any]:
    with running(contestant, bench.folder, realtime=bench.realtime) as chain:
        chain.feed(rate, 0.3)
        done = chain.feed(rate, seconds * bench.scale)
    samples = Samples.load(chain.samples)
    first, last = done["first_us"], done["last_us"]
    lost = done["sent"] - samples.count(first, last)
    cpu = {key: done[key] for key in ("forwarder_cpu_us", "receiver_cpu_us")}
    return {**cpu, **quantiles(samples.delays_ns(first, last)), "lost": lost}


def pairs_table(title: str, figures: Mapping[str, dict[str, Any]]) -> Table:
    """Show what :func:`compared` found, by what it was found of."""
    table = Table(title=title, title_justify="left")
    for column in ("", "figure", "without", "with", "×"):
        table.add_column(column, justify="left" if column in ("", "figure") else "right")
    for name, found in figures.items():
        for key, figure in FIGURES.items():
            row = found[key]
            ratio = "{:.2f} ({:.2f} to {:.2f})".format(*row["ratio"])
            table.add_row(name, figure, f"{row['without']:.2f}", f"{row['with']:.2f}", ratio)
    return table
