"""The fixed grid of intended start times, and the one alarm that serves all of them."""

import asyncio
import heapq
import itertools
from collections.abc import Callable

from daemons.probe.faults import Faults
from daemons.timing.alarm import Alarm
from daemons.timing.clock import Clock

__all__ = ["Grid", "Timetable"]


class Grid:
    """Slots at start, start + interval, start + 2 intervals, …; never shifted by what happens in them.

    Args:
        start_ns: the first slot, by the monotonic clock.
        interval_ns: the distance between slots.
    """

    __slots__ = ("_interval_ns", "next_ns")

    def __init__(self, start_ns: int, interval_ns: int) -> None:
        assert interval_ns > 0
        self._interval_ns = interval_ns
        self.next_ns = start_ns

    def take(self, now_ns: int) -> tuple[int, int]:
        """Take the slot that is due.

        A slot may start late, up to the beginning of the next one; what is older is missed.

        Args:
            now_ns: the present, not before :attr:`next_ns`.

        Returns:
            The intended start of the latest slot that has begun, and how many before it were missed.
        """
        assert now_ns >= self.next_ns
        missed = (now_ns - self.next_ns) // self._interval_ns
        intended_ns = self.next_ns + missed * self._interval_ns
        self.next_ns = intended_ns + self._interval_ns
        return intended_ns, missed


Slot = Callable[[int, int], object]
"""Called with the intended start and the number of slots missed before it."""


class Timetable:
    """Calls back at the slots of any number of grids; one whose call fails costs the others nothing.

    Args:
        clock: says what is due.
        loop: the event loop to call back in.
    """

    def __init__(self, clock: Clock, loop: asyncio.AbstractEventLoop) -> None:
        self._clock = clock
        self._alarm = Alarm(loop, self._on_alarm)
        self._numbers = itertools.count()
        self._faults = Faults("timetable")
        self._due: list[tuple[int, int, Grid, Slot]] = []

    def add(self, grid: Grid, slot: Slot) -> int:
        """Serve a grid from now on; the number returned is for :meth:`remove`."""
        number = next(self._numbers)
        heapq.heappush(self._due, (grid.next_ns, number, grid, slot))
        self._alarm.set(self._due[0][0])
        return number

    def remove(self, number: int) -> None:
        """Serve a grid no longer."""
        self._due = [entry for entry in self._due if entry[1] != number]
        heapq.heapify(self._due)

    def close(self) -> None:
        """Serve none any more."""
        self._due.clear()
        self._alarm.close()

    def _on_alarm(self) -> None:
        while self._due and self._due[0][0] <= (now_ns := self._clock.monotonic_ns()):
            _due_ns, number, grid, slot = self._due[0]
            intended_ns, missed = grid.take(now_ns)
            heapq.heapreplace(self._due, (grid.next_ns, number, grid, slot))
            try:
                slot(intended_ns, missed)
            except Exception as error:  # noqa: BLE001 else no grid would be served any more
                self._faults.note(error, "slot")
        if self._due:
            self._alarm.set(self._due[0][0])
