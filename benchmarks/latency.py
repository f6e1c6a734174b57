"""Hop latency: from the feeder's clock reading before its send to the event parsed and measured in the receiver.

Beside it, where our receiver is at the end, to the kernel's stamp of the arriving packet: the forwarder's part alone.
"""

from collections import defaultdict
from typing import Any

from rich.table import Table

from benchmarks import observed
from benchmarks.bench import Bench
from benchmarks.contestants import running
from benchmarks.samples import Samples, quantiles

__all__ = ["measure", "tables"]

RATES = (100, 1_000, 10_000)
SECONDS = 2.0
ROUNDS = 2


def measure(bench: Bench) -> dict[str, Any]:
    """Run all contestants in alternating order, and return their figures by name and rate."""
    delays: dict[tuple[str, int], list[int]] = defaultdict(list)
    stamps: dict[tuple[str, int], list[int]] = defaultdict(list)
    costs: dict[tuple[str, int], list[tuple[float, float]]] = defaultdict(list)
    lost: dict[tuple[str, int], int] = defaultdict(int)
    for turn in range(ROUNDS):
        order = bench.contestants if turn % 2 == 0 else bench.contestants[::-1]
        for contestant in order:
            bench.say(f"latency, round {turn + 1} of {ROUNDS}: {contestant.name}")
            with running(contestant, bench.folder, realtime=bench.realtime) as chain:
                chain.feed(500, 0.6)
                phases = [(rate, chain.feed(rate, SECONDS * bench.scale)) for rate in RATES]
            samples = Samples.load(chain.samples)
            kernel = Samples.load(observed.kernel_file(chain.samples)) if contestant.our_receiver else None
            for rate, done in phases:
                key = (contestant.name, rate)
                first, last = done["first_us"], done["last_us"]
                delays[key] += samples.delays_ns(first, last)
                lost[key] += done["sent"] - samples.count(first, last)
                costs[key].append((done["forwarder_cpu_us"], done["receiver_cpu_us"]))
                if kernel is not None:
                    stamps[key] += kernel.delays_ns(first, last)
    figures: dict[str, Any] = {}
    for (name, rate), values in delays.items():
        of_rate = figures.setdefault(name, {})[str(rate)] = quantiles(values)
        spent = costs[name, rate]
        of_rate["lost"] = lost[name, rate]
        of_rate["forwarder_cpu_us"] = min(cost[0] for cost in spent)
        of_rate["receiver_cpu_us"] = min(cost[1] for cost in spent)
        if stamps[name, rate]:
            of_rate["stamped"] = quantiles(stamps[name, rate])
    return figures


def tables(figures: dict[str, Any]) -> list[Table]:
    """Show the figures, with ratios to the native peer, or to the plain program where there is none."""
    base = "native" if "native" in figures else "plain"
    made = []
    for rate in map(str, RATES):
        table = Table(title=f"hop latency at {int(rate):,} events/s, µs (ratio to {base})", title_justify="left")
        table.add_column("contestant")
        for name in ("p50", "p99", "p99.9", "max", "CPU/event fwd", "CPU/event rcv", "lost", "stamped p50", "p99"):
            table.add_column(name, justify="right")
        for name, of_name in figures.items():
            row = of_name[rate]
            beside = figures.get(base, {}).get(rate, {})
            cells = [_with_ratio(row[key], beside.get(key)) for key in _KEYS]
            stamped = row.get("stamped", {})
            cells += [str(row["lost"]), *(_with_ratio(stamped.get(key), None) for key in ("p50_us", "p99_us"))]
            table.add_row(name, *cells)
        made.append(table)
    return made


_KEYS = ("p50_us", "p99_us", "p999_us", "max_us", "forwarder_cpu_us", "receiver_cpu_us")


def _with_ratio(value: float | None, base: float | None) -> str:
    if value is None:
        return "-"
    shown = f"{value:,.1f}" if value < 100 else f"{value:,.0f}"
    return f"{shown} ({value / base:.2f})" if base else shown
