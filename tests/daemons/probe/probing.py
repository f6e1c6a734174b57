"""Making attempts in tests, without a daemon around them."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import msgspec
import uvloop

from daemons.configuration.probe import TargetSection
from daemons.probe.attempt import Attempt, ConnectionKind, Phase
from daemons.probe.families import Families
from daemons.probe.http.resolve import Lookup, Resolver
from daemons.probe.observations import Observations
from daemons.probe.prober import Prober
from daemons.probe.target import Contexts, Target, prepare
from daemons.stream.stamping import Stamper
from daemons.timing.clock import SystemClock

DIRECT_PHASES = set(Phase) - {Phase.TUNNEL}
"""What a cold request has that goes through no proxy."""

ResultT = TypeVar("ResultT")


def target_of(url: str, **settings: Any) -> Target:
    """Make a target as the configuration does."""
    section = msgspec.convert({"url": url, "timeout_seconds": 5.0, **settings}, TargetSection)
    return prepare(section, "target[0]", Contexts())


@asynccontextmanager
async def prober(lookup: Lookup | None = None) -> AsyncIterator[Prober]:
    """Make a prober with the real clock and the real resolver, or another."""
    clock = SystemClock()
    stamper = Stamper(clock)
    try:
        yield Prober(stamper, Resolver(clock, lookup) if lookup else Resolver(clock))
    finally:
        stamper.close()


def run(main: Callable[[], Awaitable[ResultT]], seconds: float = 300) -> ResultT:
    """Run a coroutine on the loop that the daemon uses, with a deadline over all of it."""

    async def bounded() -> ResultT:
        async with asyncio.timeout(seconds):
            return await main()

    return uvloop.run(bounded())


def observations(target: Target, kinds: tuple[ConnectionKind, ...]) -> Observations:
    """Make an observer of a target's lanes, as the daemon has it."""
    return Observations(target, kinds, Families())


def attempt(target: Target, lookup: Lookup | None = None) -> Attempt:
    """Make one cold attempt."""

    async def once() -> Attempt:
        async with prober(lookup) as one:
            record, wire = await one.attempt(target, one.clock.monotonic_ns())
            assert wire is None
            return record

    return run(once)
