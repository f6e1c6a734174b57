"""What an archive costs the receiver: 5,000 and 50,000 rows a second of two paths, without and with it in turn."""

import contextlib
import json
import os
import re
from collections import Counter
from collections.abc import Iterable
from itertools import pairwise
from typing import Any

from rich.table import Table

from benchmarks.bench import Bench
from benchmarks.contestants import FORWARDER_CORE, Chain, running
from benchmarks.machine import GONE, children_of, http_get, threads_of
from benchmarks.many import of_paths

__all__ = ["measure", "tables"]

RATES = (2_500, 25_000)
"""Events of the feed a second, each of which comes by both paths."""
PATHS = 2
SECONDS = 4.0
TURNS = 6
_BUCKET = re.compile(r'latency_receiver_host_delay_seconds_bucket\{.*le="([^"]+)".*\} (\S+)')
_ROWS = re.compile(r"(latency_receiver_archive_rows(?:_lost)?_total)\{.*\} (\S+)")


def measure(bench: Bench) -> dict[str, Any]:
    """Feed a receiver without and one with an archive, in turn, at each rate."""
    return {str(rate * PATHS): _in_turn(bench, rate) for rate in RATES}


def _in_turn(bench: Bench, rate: int) -> dict[str, list[dict[str, Any]]]:
    turns: dict[str, list[dict[str, Any]]] = {"without": [], "with": []}
    for turn in range(TURNS):
        name = ("without", "with")[turn % 2]
        bench.say(f"archive: {rate * PATHS:,} rows/s, {name}, {turn // 2 + 1} of {TURNS // 2}")
        folder = bench.folder / f"archive-{rate}-{turn}"
        head = f"[archive]\nfolder = {json.dumps(str(folder))}\n" if name == "with" else ""
        contestant = of_paths(PATHS, "udp", bench.folder, head)
        with running(contestant, bench.folder, realtime=bench.realtime, witness=False) as chain:
            # A host that receives has no exchange on it: the receiver has a core, all others have the other one.
            _on_the_other_core(threads_of(chain.feeder.pid))
            if head:
                _beside(chain, realtime=bench.realtime)
            chain.feed(rate // 5, 1.0)
            turns[name].append(_fed(chain, rate, SECONDS * bench.scale))
    return turns


def _beside(chain: Chain, *, realtime: bool) -> None:
    """Let the archiver use what the forwarder and the feeder leave of their core."""
    children, done = children_of(chain.receiver.pid), set[int]()
    # A thread that is new has what the one had that made it: until a look finds none but those that were told.
    while threads := {thread for child in children for thread in threads_of(child)} - done:
        _on_the_other_core(threads)
        for thread in threads if realtime else ():
            with contextlib.suppress(*GONE):
                os.sched_setscheduler(thread, os.SCHED_RR, os.sched_param(1))
        done |= threads
    for pid in (chain.forwarder.pid, chain.feeder.pid) if realtime else ():
        os.sched_setscheduler(pid, os.SCHED_RR, os.sched_param(2))


def _on_the_other_core(threads: Iterable[int]) -> None:
    for thread in threads:
        with contextlib.suppress(*GONE):
            os.sched_setaffinity(thread, {FORWARDER_CORE % (os.cpu_count() or 1)})


def _fed(chain: Chain, rate: int, seconds: float) -> dict[str, Any]:
    assert chain.metrics_ports is not None
    before, known = _delays(chain), chain.received() or 0
    done = chain.feed(rate, seconds)
    after, total = _delays(chain), chain.received() or 0
    page = http_get(chain.metrics_ports[1])
    rows: Counter[str] = Counter()
    for name, value in _ROWS.findall(page):
        rows[name.removeprefix("latency_receiver_archive_")] += round(float(value))
    after.subtract(before)
    return {
        "sent": done["sent"] * PATHS,
        "lost": done["sent"] * PATHS - (total - known),
        "receiver_cpu_us": done["receiver_cpu_us"] / PATHS,
        "host_delay_p50_us": _quantile_us(after, 0.5),
        "host_delay_p99_us": _quantile_us(after, 0.99),
        **rows,
    }


def _delays(chain: Chain) -> Counter[float]:
    """Give the histogram of the receiver's delay in the host: events up to each bound, in seconds, of all paths."""
    assert chain.metrics_ports is not None
    found: Counter[float] = Counter()
    for bound, value in _BUCKET.findall(http_get(chain.metrics_ports[1])):
        found[float(bound)] += round(float(value))
    return found


def _quantile_us(counts: Counter[float], share: float) -> float:
    """Give a quantile, in a straight line between the bounds of its bucket."""
    bounds = sorted(counts)
    wanted = share * counts[bounds[-1]]
    for low, high in pairwise([0.0, *bounds]):
        below = counts[low] if low else 0
        if counts[high] >= wanted:
            return 1e6 * (low + (high - low) * (wanted - below) / max(1, counts[high] - below))
    raise AssertionError("the last bucket has all events")


def tables(figures: dict[str, Any]) -> list[Table]:
    """Show the turns, those with the archive beside those without that came just before."""
    return [_table(rate, turns) for rate, turns in figures.items()]


def _table(rate: str, turns: dict[str, list[dict[str, Any]]]) -> Table:
    table = Table(title=f"{int(rate):,} rows/s of two paths, in turn", title_justify="left")
    for column in (
        "archive",
        "lost",
        "CPU µs/row",
        "host delay p50, µs",
        "p99, µs",
        "p99 with / without",
        "rows",
        "lost",
    ):
        table.add_column(column, justify="left" if column == "archive" else "right")
    for without, with_archive in zip(turns["without"], turns["with"], strict=True):
        for name, row in (("without", without), ("with", with_archive)):
            ratio = row["host_delay_p99_us"] / without["host_delay_p99_us"]
            table.add_row(
                name,
                f"{row['lost']:,}",
                f"{row['receiver_cpu_us']:.2f}",
                f"{row['host_delay_p50_us']:.1f}",
                f"{row['host_delay_p99_us']:.1f}",
                "" if row is without else f"{ratio:.2f}",
                f"{row.get('rows_total', 0):,}",
                f"{row.get('rows_lost_total', 0):,}",
            )
    return table
