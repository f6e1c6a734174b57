"""The highest rate without loss, what an event costs there, and memory after millions of them."""

from collections.abc import Sequence
from typing import Any

from rich.table import Table

from benchmarks.bench import Bench
from benchmarks.contestants import MIXED, Chain, Contestant, running
from benchmarks.samples import Samples

__all__ = ["climb", "measure", "tables"]

LADDER = (20_000, 40_000, 60_000, 80_000, 100_000, 125_000, 150_000, 175_000, 200_000, 250_000, 300_000)
SECONDS = 1.5
SLACK = 1.05
"""A feeder that needs more than this times the planned time was held back: the forwarder does not keep up."""
MEMORY_EVENTS = 3_000_000
MEMORY_RATE = 60_000


def measure(bench: Bench) -> dict[str, Any]:
    """Return each contestant's highest rate and its costs, and the memory of ours and the native peer."""
    figures: dict[str, Any] = {}
    for contestant in bench.contestants:
        if contestant.busy or contestant.name == MIXED:
            continue
        bench.say(f"throughput: {contestant.name}")
        figures[contestant.name] = _climb(contestant, bench)
    for contestant in bench.contestants:
        if contestant.name in ("ours udp", "native"):
            bench.say(f"memory: {contestant.name}")
            figures[contestant.name]["memory"] = _fill(contestant, bench)
    return figures


def _climb(contestant: Contestant, bench: Bench) -> dict[str, Any]:
    with running(contestant, bench.folder, realtime=bench.realtime, witness=False) as chain:
        figures = climb(chain, LADDER, bench.scale)
    if contestant.our_receiver:
        return figures
    samples = Samples.load(chain.samples)
    for done in figures["steps"]:
        done["lost"] = done["sent"] - samples.count(done["first_us"], done["last_us"])
    return _summary(figures["steps"])


def climb(chain: Chain, ladder: Sequence[int], scale: float, *, copies: int = 1) -> dict[str, Any]:
    """Feed a chain at one rate after the other until it does not keep up.

    Args:
        chain: a forwarder and a receiver behind a feeder.
        ladder: events a second.
        scale: multiplies the length of each step.
        copies: how often the receiver takes each event; where it does not tell, losses are known at the end only.
    """
    chain.feed(min(5_000, ladder[0]), 0.5)
    known, steps = chain.received() or 0, list[dict[str, Any]]()
    for rate in ladder:
        done = chain.feed(rate, SECONDS * scale)
        total = chain.received()
        if total is not None:
            done["lost"] = done["sent"] * copies - (total - known)
            known = total
        done["rate"] = rate
        steps.append(done)
        # Where losses are known only at the end, go on until the feeder is held back.
        if _behind(done) or done.get("lost", 0) > 0:
            break
    return _summary(steps)


def _summary(steps: list[dict[str, Any]]) -> dict[str, Any]:
    sound = None
    for done in steps:
        if done.get("lost", 0) or _behind(done):
            break
        sound = done
    return {
        "highest_rate": sound["rate"] if sound else None,
        "forwarder_cpu_us": min(done["forwarder_cpu_us"] for done in steps),
        "receiver_cpu_us": min(done["receiver_cpu_us"] for done in steps),
        "steps": steps,
    }


def _behind(done: dict[str, Any]) -> bool:
    """Say whether the feeder was held back, or a core had more to do than time: sockets hide that for a while."""
    busiest_us = max(done["forwarder_cpu_us"], done["receiver_cpu_us"])
    return bool(done["seconds"] > done["offered_seconds"] * SLACK + 0.01 or busiest_us * done["rate"] > 1e6)


def _fill(contestant: Contestant, bench: Bench) -> dict[str, Any]:
    flags = ("--output", str(bench.folder / "run.json"))
    with running(contestant, bench.folder, realtime=bench.realtime, witness=False, receiver_flags=flags) as chain:
        chain.feed(5_000, 0.5)
        before = (chain.forwarder.resident_bytes(), chain.receiver.resident_bytes())
        done = chain.feed(MEMORY_RATE, MEMORY_EVENTS * bench.scale / MEMORY_RATE)
        after = (chain.forwarder.resident_bytes(), chain.receiver.resident_bytes())
    return {
        "events": done["sent"],
        "forwarder_mb": after[0] / 1e6,
        "receiver_mb": after[1] / 1e6,
        "forwarder_growth_mb": (after[0] - before[0]) / 1e6,
        "receiver_growth_mb": (after[1] - before[1]) / 1e6,
    }


def tables(figures: dict[str, Any]) -> list[Table]:
    """Show rates and costs, and memory."""
    rates = Table(title="highest rate without loss; feeder and receiver share a core", title_justify="left")
    for column in ("contestant", "events/s", "CPU µs/event fwd", "CPU µs/event rcv", "events/s fwd core", "rcv core"):
        rates.add_column(column, justify="left" if column == "contestant" else "right")
    memory = Table(title="memory after millions of events, MB (growth)", title_justify="left")
    for column in ("contestant", "events", "forwarder", "receiver"):
        memory.add_column(column, justify="left" if column == "contestant" else "right")
    for name, row in figures.items():
        highest = row["highest_rate"]
        forwarder_us, receiver_us = row["forwarder_cpu_us"], row["receiver_cpu_us"]
        rates.add_row(
            name,
            f"< {LADDER[0]:,}" if highest is None else f"{highest:,}",
            f"{forwarder_us:.2f}",
            f"{receiver_us:.2f}",
            f"{1e6 / forwarder_us:,.0f}",
            f"{1e6 / receiver_us:,.0f}",
        )
        if held := row.get("memory"):
            memory.add_row(
                name,
                f"{held['events']:,}",
                f"{held['forwarder_mb']:.1f} ({held['forwarder_growth_mb']:+.1f})",
                f"{held['receiver_mb']:.1f} ({held['receiver_growth_mb']:+.1f})",
            )
    return [rates, memory]
