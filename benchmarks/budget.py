"""The parts of a delay: how far their sum is from the whole, by another clock reading, and what knowing them costs.

A witness in the receiver reads the clock where a read has been accounted for, and knows from the event itself when the
exchange sent it. The daemon's own parts of the same event, between seven stamps of two processes that are matched
later, should add up to that.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.table import Table

from benchmarks import observed
from benchmarks.bench import Bench
from benchmarks.contestants import Contestant, ours, running
from benchmarks.pairs import RATE, compared, pairs_table
from benchmarks.samples import Samples, quantiles

__all__ = ["measure", "tables"]

LIMIT = "the limit on what TCP has not sent"
COSTS = ("transmit stamps", "causes", LIMIT)
SAMPLED_RATE = 1_000
SAMPLED_SECONDS = 60.0
"""Some ten events a second are sampled: enough for a percentile of them."""


def measure(bench: Bench) -> dict[str, Any]:
    """Return how well the sum closes, and each chain's figures with and without what it costs."""
    figures: dict[str, Any] = {"closing": {}, **{what: {} for what in COSTS}}
    for transport in ("udp", "tcp"):
        bench.say(f"budget, {transport}: sums of parts")
        whole = ours(transport, "binary")
        figures["closing"][transport] = _closing(whole, bench)
        without = _instead(whole, forwarder={"daemons.forwarder.main": "benchmarks.unstamped"})
        what = "transmit stamps"
        figures[what][transport] = compared(f"budget, {what}, {transport}", without, whole, bench)
        without = _instead(whole, receiver={"benchmarks.observed": "benchmarks.uncaused"})
        figures["causes"][transport] = compared(f"budget, causes, {transport}", without, whole, bench)
        if transport == "tcp":
            without = _instead(whole, forwarder={"daemons.forwarder.main": "benchmarks.unlimited"})
            figures[LIMIT][transport] = compared(f"budget, {LIMIT}, {transport}", without, whole, bench)
    return figures


def _instead(
    whole: Contestant, forwarder: dict[str, str] | None = None, receiver: dict[str, str] | None = None
) -> Contestant:
    """Return it with other modules in place of some."""
    sent, read = forwarder or {}, receiver or {}
    return replace(
        whole,
        forwarder=lambda url, to, folder: [sent.get(word, word) for word in whole.forwarder(url, to, folder)],
        receiver=lambda at, file: [read.get(word, word) for word in whole.receiver(at, file)],
    )


def _closing(whole: Contestant, bench: Bench) -> dict[str, Any]:
    with running(whole, bench.folder, realtime=bench.realtime) as chain:
        chain.feed(SAMPLED_RATE, 0.5)
        chain.feed(SAMPLED_RATE, SAMPLED_SECONDS * bench.scale)
        # The last departures are told with the next heartbeat.
        chain.feed(SAMPLED_RATE // 10, 2.5)
    return {**quantiles(_errors_ns(chain.samples)), "witnessed": len(Samples.load(chain.samples).event_ns)}


def _errors_ns(samples: Path) -> list[int]:
    """Return by how much each sum of parts is off."""
    read = Samples.load(observed.witnessed_file(samples))
    whole_ns = {event: at - event for event, at in zip(read.event_ns, read.measured_ns, strict=True)}
    sums = Samples.load(observed.parts_file(samples))
    return [abs(whole_ns[event] - total) for event, total in zip(sums.event_ns, sums.measured_ns, strict=True)]


def tables(figures: dict[str, Any]) -> list[Table]:
    """Show all of it."""
    closing = Table(title="sum of an event's parts against the whole, µs off", title_justify="left")
    for column in ("transport", "sampled", "p50", "p99", "max"):
        closing.add_column(column, justify="left" if column == "transport" else "right")
    for transport, row in figures["closing"].items():
        cells = ["-" if row[key] is None else f"{row[key]:.1f}" for key in ("p50_us", "p99_us", "max_us")]
        closing.add_row(transport, str(row["samples"]), *cells)
    costs = [pairs_table(f"what {what} cost at {RATE:,} events/s, µs; × is to none", figures[what]) for what in COSTS]
    return [closing, *costs]
