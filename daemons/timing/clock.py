"""Clocks and sleeping, as arguments: the real ones are made once, at the top of a program."""

import asyncio
import time
from typing import Protocol

__all__ = ["Clock", "StepDetector", "SystemClock", "read_together"]


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
_ATTEMPTS = 100


def read_together(clock: Clock) -> tuple[int, int]:
    """Read both clocks at one moment: again, if the process stood still between the readings.

    Returns:
        The wall clock's and the monotonic clock's nanoseconds, taken within half of :data:`STEP_THRESHOLD_NS`; or the
        last of many attempts on a machine that cannot do it.
    """
    wall_ns, after_ns = 0, clock.monotonic_ns()
    for _attempt in range(_ATTEMPTS):
        before_ns = after_ns
        wall_ns, after_ns = clock.wall_ns(), clock.monotonic_ns()
        if after_ns - before_ns < STEP_THRESHOLD_NS // 2:
            break
    return wall_ns, after_ns


class StepDetector:
    """Notices when the wall clock is stepped.

    NTP slews CLOCK_REALTIME and CLOCK_MONOTONIC alike (clock_gettime(2)), so their difference is constant but for
    steps and for the nanoseconds between the two readings; a change of more than :data:`STEP_THRESHOLD_NS` is a step.

    Args:
        wall_ns, monotonic_ns: the first readings, of :func:`read_together`.
    """

    __slots__ = ("_offset_ns", "last_step_ns", "steps")

    def __init__(self, wall_ns: int, monotonic_ns: int) -> None:
        self._offset_ns = wall_ns - monotonic_ns
        self.steps = 0
        self.last_step_ns = 0

    def is_due(self, wall_ns: int, monotonic_ns: int) -> bool:
        """Say whether two readings that may not be of one moment call for :meth:`observe` with two that are.

        A process that is held up between them sees what looks like a step, and none in the next ones.
        """
        return not -STEP_THRESHOLD_NS < wall_ns - monotonic_ns - self._offset_ns < STEP_THRESHOLD_NS

    def observe(self, wall_ns: int, monotonic_ns: int) -> int:
        """Compare two readings of :func:`read_together` with the ones before.

        Returns:
            The size of a step since the last call in nanoseconds, positive when the clock was set forward; 0 for none.
        """
        if not self.is_due(wall_ns, monotonic_ns):
            return 0
        step = wall_ns - monotonic_ns - self._offset_ns
        self._offset_ns += step
        self.steps += 1
        self.last_step_ns = step
        return step
