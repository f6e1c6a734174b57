"""What a link's key costs: one signature by itself, and the whole chain with a key beside the same without one."""

import time
from collections.abc import Callable
from statistics import median
from typing import Any

from rich.table import Table

from benchmarks.bench import Bench
from benchmarks.contestants import Contestant, ours, running
from benchmarks.samples import Samples, quantiles
from daemons.link.seal import DatagramOpener, DatagramSealer, Opener, Sealer
from daemons.link.wire import DATAGRAM_HEAD, encode_event

__all__ = ["measure", "tables"]

RATE = 10_000
SECONDS = 0.8
ROUNDS = 7
TURNS = 2_000
KEY = bytes(range(32))
EVENT = encode_event(1, 1, 0, 1, 1, 1, b"btcusdt@trade", b"x" * 180)
"""As large as a trade of a combined stream."""
WHAT = ("forwarder_cpu_us", "receiver_cpu_us", "p50_us", "p99_us")


def measure(bench: Bench) -> dict[str, Any]:
    """Return the time of a signature, and each chain's figures with and without a key."""
    bench.say("signing: one signature")
    figures: dict[str, Any] = {"signature": {name: _timed(turn) for name, turn in _alone().items()}}
    key = bench.folder / "link.key"
    key.write_bytes(KEY.hex().encode())
    key.chmod(0o600)
    for transport in ("udp", "tcp"):
        pair = (ours(transport, "binary"), ours(transport, "binary", key=key))
        rounds: tuple[list[dict[str, Any]], list[dict[str, Any]]] = ([], [])
        for number in range(ROUNDS):
            bench.say(f"signing, {transport}, round {number + 1} of {ROUNDS}")
            for at in (0, 1) if number % 2 == 0 else (1, 0):
                rounds[at].append(_turn(pair[at], bench))
        figures[transport] = _compared(*rounds)
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


def _turn(contestant: Contestant, bench: Bench) -> dict[str, Any]:
    with running(contestant, bench.folder, realtime=bench.realtime) as chain:
        chain.feed(RATE, 0.3)
        done = chain.feed(RATE, SECONDS * bench.scale)
    samples = Samples.load(chain.samples)
    first, last = done["first_us"], done["last_us"]
    lost = done["sent"] - samples.count(first, last)
    return {**{key: done[key] for key in WHAT[:2]}, **quantiles(samples.delays_ns(first, last)), "lost": lost}


def _compared(without: list[dict[str, Any]], keyed: list[dict[str, Any]]) -> dict[str, Any]:
    """Return medians, and the median of the rounds' ratios with the second least and the second greatest."""
    found: dict[str, Any] = {"lost": sum(one["lost"] for one in (*without, *keyed))}
    for key in WHAT:
        pairs = [(one[key], other[key]) for one, other in zip(keyed, without, strict=True) if one[key] and other[key]]
        ratios = sorted(one / other for one, other in pairs)
        found[key] = {
            "without": median(other for _one, other in pairs),
            "with": median(one for one, _other in pairs),
            "ratio": (median(ratios), ratios[1], ratios[-2]),
        }
    return found


def tables(figures: dict[str, Any]) -> list[Table]:
    """Show what a signature takes, and what a key adds to each figure."""
    chain = Table(title=f"what a key costs at {RATE:,} events/s, µs; × is to no key", title_justify="left")
    for column in ("transport", "figure", "no key", "key", "×"):
        chain.add_column(column, justify="left" if column in ("transport", "figure") else "right")
    names = dict(zip(WHAT, ("CPU/event fwd", "CPU/event rcv", "p50", "p99"), strict=True))
    for transport in ("udp", "tcp"):
        for key, name in names.items():
            row = figures[transport][key]
            ratio = "{:.2f} ({:.2f} to {:.2f})".format(*row["ratio"])
            chain.add_row(transport, name, f"{row['without']:.2f}", f"{row['with']:.2f}", ratio)
    alone = Table(title=f"a signature of an event of {len(EVENT)} bytes, by itself, µs of CPU", title_justify="left")
    for column in ("of", "µs"):
        alone.add_column(column, justify="left" if column == "of" else "right")
    for name, taken in figures["signature"].items():
        alone.add_row(name, f"{taken:.2f}")
    return [chain, alone]
