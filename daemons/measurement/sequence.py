"""Sequence accounting: what arrived, what is missing, what came twice or out of order.

Reordering is RFC 4737's: an event is reordered if, on its first arrival, a higher number has come before. Duplicates
are RFC 5560's. A hole is a gap once it has stayed open for the waiting time (RFC 2680, section 2.4): what fills a hole
earlier was reordered, not lost.
"""

from bisect import bisect_left
from enum import Enum
from typing import Final

__all__ = ["MAX_HOLES", "WAIT_NS", "Outcome", "SequenceTracker", "Tally"]

WAIT_NS: Final = 1_000_000_000
"""How long a hole may stay open before it counts as a gap."""
MAX_HOLES = 4096
"""Open holes remembered at most; the oldest is declared lost early when there are more."""


class Outcome(Enum):
    """What an arrival was."""

    IN_ORDER = "in_order"
    REORDERED = "reordered"
    """First arrival, after a higher number."""
    DUPLICATE = "duplicate"
    """Arrived before."""
    STALE = "stale"
    """Older than all that is remembered: lost or duplicate, it cannot be told which."""


_IN_ORDER: Final = Outcome.IN_ORDER
"""By a name of its own: see :mod:`daemons.records`."""


class Tally:
    """What is counted of any kind of sequence; by itself, sums over sequences that have ended.

    Attributes:
        unique: distinct events that arrived.
        missing: events that did not, yet.
        given_up: those of the missing that the sender never sent; the others were lost on the way.
        duplicates, reordered, stale: arrivals of that outcome.
        gaps: holes declared lost on the way; of some the sender may say afterwards that it never sent them.
        gap_events: events lost in them; one that still arrives afterwards is in ``late``.
        late: arrivals of events that had been declared lost.
    """

    __slots__ = ("duplicates", "gap_events", "gaps", "given_up", "late", "missing", "reordered", "stale", "unique")

    def __init__(self) -> None:
        self.unique = 0
        self.missing = 0
        self.given_up = 0
        self.duplicates = 0
        self.reordered = 0
        self.stale = 0
        self.gaps = 0
        self.gap_events = 0
        self.late = 0

    def expire(self, now_ns: int) -> int:
        """Declare lost what has been missing for the waiting time; return how many events that were."""
        return 0

    def finish(self) -> int:
        """Declare lost all that is missing: nothing more will come. Returns how many events that were."""
        return 0

    def add(self, other: "Tally") -> None:
        """Add the counts of a sequence that has ended."""
        for name in Tally.__slots__:
            setattr(self, name, getattr(self, name) + getattr(other, name))


class SequenceTracker(Tally):
    """Accounts for numbers from ``base + 1`` upwards.

    At every moment ``highest == base + unique + missing``, exactly. Memory is bounded by ``max_holes``.

    Args:
        base: the highest number already accounted for elsewhere.
        wait_ns: how long a hole may stay open before it counts as a gap.
        max_holes: how many holes are remembered.
        lossless: whether all that is sent arrives (TCP): what is missing was then given up by the sender, and is no
            loss of the way: there is nothing to wait for or to declare.

    Attributes:
        highest: highest number seen or announced.
    """

    __slots__ = (
        "_declared",
        "_floor",
        "_highest_arrived",
        "_hole_ends",
        "_hole_since",
        "_hole_starts",
        "_max_holes",
        "_wait_ns",
        "base",
        "highest",
        "lossless",
    )

    def __init__(
        self, base: int = 0, *, wait_ns: int = WAIT_NS, max_holes: int = MAX_HOLES, lossless: bool = False
    ) -> None:
        super().__init__()
        self.base = base
        self.lossless = lossless
        self.highest = base
        # Holes are closed intervals [start, end] in ascending order; below the floor nothing is remembered.
        self._hole_starts: list[int] = []
        self._hole_ends: list[int] = []
        self._hole_since: list[int] = []
        self._declared: list[bool] = []
        # Not ``highest``, which may only have been announced: what comes after that has overtaken nothing (RFC 4737).
        self._highest_arrived = base
        self._floor = base
        self._wait_ns = wait_ns
        self._max_holes = max_holes

    def observe(self, sequence: int, now_ns: int) -> Outcome:
        """Account for one arrival.

        Args:
            sequence: the number that arrived.
            now_ns: time of arrival on any steady scale.

        Returns:
            What the arrival was.
        """
        highest = self.highest
        if sequence <= highest:
            return self._behind(sequence)
        if sequence > highest + 1:
            self._open(highest + 1, sequence - 1, now_ns)
        self.unique += 1
        self.highest = self._highest_arrived = sequence
        return _IN_ORDER

    def announce(self, highest: int, now_ns: int) -> None:
        """Take in that numbers up to ``highest`` were used: what has not come by now is missing (tail loss).

        Args:
            highest: the number.
            now_ns: time on the scale of :meth:`observe`.
        """
        if highest > self.highest:
            self._open(self.highest + 1, highest, now_ns)
            self.highest = highest

    def give_up(self, first: int, last: int, now_ns: int) -> None:
        """Take in that the numbers from ``first`` to ``last`` were never sent; to be told again changes nothing.

        Args:
            first: the first of them.
            last: the last of them.
            now_ns: time on the scale of :meth:`observe`.
        """
        self.announce(last, now_ns)
        if self.lossless:
            return
        index = bisect_left(self._hole_ends, first)
        while index < len(self._hole_starts) and self._hole_starts[index] <= last:
            low, high = max(first, self._hole_starts[index]), min(last, self._hole_ends[index])
            self.given_up += high - low + 1
            if self._declared[index]:
                self.gap_events -= high - low + 1
            index = self._cut(index, low, high)
        if len(self._hole_starts) > self._max_holes:
            self._forget_oldest()

    def expire(self, now_ns: int) -> int:
        """Declare lost what has been missing for the waiting time.

        Returns:
            How many events were declared lost by this call.
        """
        return self._declare(now_ns - self._wait_ns)

    def finish(self) -> int:
        """Declare lost all that is missing: nothing more will come. Returns how many events that were."""
        return self._declare(None)

    def _open(self, start: int, end: int, now_ns: int) -> None:
        self._hole_starts.append(start)
        self._hole_ends.append(end)
        self._hole_since.append(now_ns)
        self._declared.append(self.lossless)
        self.missing += end - start + 1
        if self.lossless:
            self.given_up += end - start + 1
        if len(self._hole_starts) > self._max_holes:
            self._forget_oldest()

    def _forget_oldest(self) -> None:
        if not self._declared[0]:
            self.gaps += 1
            self.gap_events += self._hole_ends[0] - self._hole_starts[0] + 1
        self._floor = self._hole_ends[0]
        for column in self._columns():
            del column[0]

    def _declare(self, before_ns: int | None) -> int:
        lost = 0
        for index, declared in enumerate(self._declared):
            if declared or (before_ns is not None and self._hole_since[index] > before_ns):
                continue
            self._declared[index] = True
            self.gaps += 1
            lost += self._hole_ends[index] - self._hole_starts[index] + 1
        self.gap_events += lost
        return lost

    def _columns(self) -> tuple[list[int] | list[bool], ...]:
        return (self._hole_starts, self._hole_ends, self._hole_since, self._declared)

    def _behind(self, number: int) -> Outcome:
        overtaken, self._highest_arrived = number < self._highest_arrived, max(number, self._highest_arrived)
        if self._fill(number):
            if not overtaken:
                return _IN_ORDER
            self.reordered += 1
            return Outcome.REORDERED
        if self.base < number <= self._floor:
            self.stale += 1
            return Outcome.STALE
        self.duplicates += 1
        return Outcome.DUPLICATE

    def _fill(self, number: int) -> bool:
        """Take a number out of the hole that it lies in; return whether there is one."""
        index = bisect_left(self._hole_ends, number)
        if index == len(self._hole_ends) or number < self._hole_starts[index]:
            return False
        if self.lossless:
            self.given_up -= 1
        elif self._declared[index]:
            self.late += 1
        self._cut(index, number, number)
        self.unique += 1
        self.missing -= 1
        if len(self._hole_starts) > self._max_holes:
            self._forget_oldest()
        return True

    def _cut(self, index: int, low: int, high: int) -> int:
        """Shorten, split or remove one hole, by the numbers from low to high; return the index of the next."""
        start, end = self._hole_starts[index], self._hole_ends[index]
        if (low, high) == (start, end):
            for column in self._columns():
                del column[index]
            return index
        if low == start:
            self._hole_starts[index] = high + 1
        else:
            self._hole_ends[index] = low - 1
            if high < end:
                self._hole_starts.insert(index + 1, high + 1)
                self._hole_ends.insert(index + 1, end)
                self._hole_since.insert(index + 1, self._hole_since[index])
                self._declared.insert(index + 1, self._declared[index])
        return index + 1
