import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
import uvloop

from daemons.timing.alarm import Alarm


class Bell:
    """An alarm that notes when it rang."""

    def __init__(self) -> None:
        self.rung_ns: list[int] = []
        self.alarm = Alarm(asyncio.get_running_loop(), self._ring)
        self._heard = asyncio.Event()

    async def wait(self) -> None:
        async with asyncio.timeout(300):
            await self._heard.wait()
        self._heard.clear()

    def _ring(self) -> None:
        self.rung_ns.append(time.monotonic_ns())
        self._heard.set()


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run])
def test_rings_once_for_each_setting_and_never_early(run: Callable[[Coroutine[Any, Any, None]], None]) -> None:
    async def scenario() -> None:
        bell = Bell()
        for ahead_ns in (300_000, 2_000_000, -1_000_000):
            instant_ns = time.monotonic_ns() + ahead_ns
            bell.alarm.set(instant_ns)
            await bell.wait()
            assert bell.rung_ns[-1] >= instant_ns
        assert len(bell.rung_ns) == 3
        bell.alarm.close()
        bell.alarm.close()

    run(scenario())


def test_a_new_setting_replaces_the_old_one() -> None:
    async def scenario() -> None:
        bell = Bell()
        bell.alarm.set(time.monotonic_ns() + 1_000_000)
        later_ns = time.monotonic_ns() + 20_000_000
        bell.alarm.set(later_ns)
        await bell.wait()
        assert [instant >= later_ns for instant in bell.rung_ns] == [True]
        bell.alarm.close()

    uvloop.run(scenario())


def test_a_closed_alarm_does_not_ring() -> None:
    async def scenario() -> None:
        closed, other = Bell(), Bell()
        closed.alarm.set(time.monotonic_ns() + 1_000_000)
        closed.alarm.close()
        other.alarm.set(time.monotonic_ns() + 5_000_000)
        await other.wait()
        other.alarm.close()
        assert closed.rung_ns == []

    uvloop.run(scenario())
