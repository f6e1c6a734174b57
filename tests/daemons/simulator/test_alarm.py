import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
import uvloop

from daemons.simulator.alarm import Alarm


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run])
def test_rings_once_for_each_setting_and_never_early(run: Callable[[Coroutine[Any, Any, None]], None]) -> None:
    async def scenario() -> None:
        rung: list[int] = []
        heard = asyncio.Event()

        def ring() -> None:
            rung.append(time.monotonic_ns())
            heard.set()

        alarm = Alarm(asyncio.get_running_loop(), ring)
        for ahead_ns in (300_000, 2_000_000, -1_000_000):
            instant_ns = time.monotonic_ns() + ahead_ns
            alarm.set(instant_ns)
            async with asyncio.timeout(5):
                await heard.wait()
            heard.clear()
            assert rung[-1] >= instant_ns
        assert len(rung) == 3
        alarm.close()
        alarm.close()

    run(scenario())


def test_a_new_setting_replaces_the_old_one() -> None:
    async def scenario() -> None:
        rung: list[int] = []
        heard = asyncio.Event()

        def ring() -> None:
            rung.append(time.monotonic_ns())
            heard.set()

        alarm = Alarm(asyncio.get_running_loop(), ring)
        alarm.set(time.monotonic_ns() + 1_000_000)
        later_ns = time.monotonic_ns() + 20_000_000
        alarm.set(later_ns)
        async with asyncio.timeout(5):
            await heard.wait()
        assert [instant >= later_ns for instant in rung] == [True]
        alarm.close()

    uvloop.run(scenario())


def test_a_closed_alarm_does_not_ring() -> None:
    async def scenario() -> None:
        rung: list[None] = []
        closed = Alarm(asyncio.get_running_loop(), lambda: rung.append(None))
        closed.set(time.monotonic_ns() + 1_000_000)
        closed.close()
        heard = asyncio.Event()
        other = Alarm(asyncio.get_running_loop(), heard.set)
        other.set(time.monotonic_ns() + 5_000_000)
        async with asyncio.timeout(5):
            await heard.wait()
        other.close()
        assert rung == []

    uvloop.run(scenario())
