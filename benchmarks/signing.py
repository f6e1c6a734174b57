"""What a link's key costs: one signature by itself, and the whole chain with a key beside the same without one."""

import time
from collections.abc import Callable
from statistics import median
from typing import Any

from rich.table import Table

from benchmarks.bench import Bench
from benchmarks.contestants import ours
from benchmarks.pairs import RATE, ROUNDS, compared, pairs_table
from daemons.link.events import DATAGRAM_HEAD, encode_event
from daemons.link.seal import DatagramOpener, DatagramSealer, Opener, Sealer

__all__ = ["measure", "tables"]

TURNS = 2_000
KEY = bytes(range(32))
EVENT = encode_event(1, 1, 0, 1, 1, 1, b"btcusdt@trade", b"x" * 180)
"""As large as a trade of a combined stream."""


def measure(bench: Bench) -> dict[str, Any]:
    """Return the time of a signature, and each chain's figures with and without a key."""
    bench.say("signing: one signature")
    figures: dict[str, Any] = {"signature": {name: _timed(turn) for name, turn in _alone().items()}}
    key = bench.folder / "link.key"
    key.write_bytes(KEY.hex().encode())
    key.chmod(0o600)
    for transport in ("udp", "tcp"):
        keyed = ours(transport, "binary", key=key)
        figures[transport] = compared(f"signing, {transport}", ours(transport, "binary"), keyed, bench)
    return figures


def _alone() -> dict[str, Callable[[], object]]:
    sealer, opener = Sealer(KEY), Opener(KEY)
    datagrams, taken = DatagramSealer(1, KEY), DatagramOpener(KEY)

    def datagram() -> None:
        made = datagrams.wrap(EVENT)
        taken.end_of_events(DATAGRAM_HEAD.unpack_from(made)[3], made)

    return {
        "a record (TCP), made and checked": lambda: opener.open(sealer.seal(EVENT)),
        "a datagram (UDP), likewise": datagram,
    }


def _timed(turn: Callable[[], object]) -> float:
    """Return the median of a turn's CPU time over blocks, in microseconds."""
    blocks = []
    for _block in range(ROUNDS):
        begin = time.process_time_ns()
        for _turn in range(TURNS):
            turn()
        blocks.append((time.process_time_ns() - begin) / TURNS / 1e3)
    return median(blocks)


def tables(figures: dict[str, Any]) -> list[Table]:
    """Show what a signature takes, and what a key adds to each figure."""
    chain = pairs_table(
        f"what a key costs at {RATE:,} events/s, µs; × is to no key", {name: figures[name] for name in ("udp", "tcp")}
    )
    alone = Table(title=f"a signature of an event of {len(EVENT)} bytes, by itself, µs of CPU", title_justify="left")
    for column in ("of", "µs"):
        alone.add_column(column, justify="left" if column == "of" else "right")
    for name, taken in figures["signature"].items():
        alone.add_row(name, f"{taken:.2f}")
    return [chain, alone]
