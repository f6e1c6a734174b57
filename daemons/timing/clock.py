"""Clocks and sleeping, as arguments: the real ones are made once, at the top of a program."""

import asyncio
import time
from typing import Protocol

__all__ = ["Clock", "StepDetector", "SystemClock"]


class Clock(Protocol):
    """What time it is, in integer nanoseconds."""

    def wall_ns(self) -> int:
        """Nanoseconds since the Unix epoch (CLOCK_REALTIME): what kernel stamps are made of."""

    def monotonic_ns(self) -> int:
        """Nanoseconds that never step (CLOCK_MONOTONIC)."""

    async def sleep(self, seconds: float) -> None:
        """Let at least this much time pass."""


class SystemClock:
    """The kernel's clocks. An event loop's own ``time()`` is cached in whole milliseconds: never measure with it."""

    wall_ns = staticmethod(time.time_ns)
    monotonic_ns = staticmethod(time.monotonic_ns)
    sleep = staticmethod(asyncio.sleep)


STEP_THRESHOLD_NS = 1_000_000


class StepDetector:
    """Notices when the wall clock is stepped.

    NTP slews CLOCK_REALTIME and CLOCK_MONOTONIC alike (clock_gettime(2)), so their difference is constant but for
    steps and for the nanoseconds between the two readings; a change of more than :data:`STEP_THRESHOLD_NS` is a step.
    """

    __slots__ = ("_offset_ns", "last_step_ns", "steps")

    def __init__(self, wall_ns: int, monotonic_ns: int) -> None:
        self._offset_ns = wall_ns - monotonic_ns
        self.steps = 0
        self.last_step_ns = 0

    def observe(self, wall_ns: int, monotonic_ns: int) -> int:
        """Compare two readings taken together with the ones before.

        Returns:
            The size of a step since the last call in nanoseconds, positive when the clock was set forward; 0 for none.
        """
        step = wall_ns - monotonic_ns - self._offset_ns
        if -STEP_THRESHOLD_NS < step < STEP_THRESHOLD_NS:
            return 0
        self._offset_ns += step
        self.steps += 1
        self.last_step_ns = step
        return step
