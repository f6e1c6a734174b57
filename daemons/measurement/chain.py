"""Accounting for events each of which names the one before it, such as depth updates of an exchange.

An event covers the ids above the one that it follows, up to its own. How many ids that are says nothing: those of
futures are one count for all symbols. So a hole is counted as one event, the least that it can be; two connections may
cut the same ids into other ranges, so an event fills whatever it reaches into.
"""

from bisect import bisect_right
from typing import Final

from daemons.measurement.sequence import MAX_HOLES, WAIT_NS, Outcome, Tally

__all__ = ["ChainTracker"]

_IN_ORDER: Final = Outcome.IN_ORDER


class ChainTracker(Tally):
    """Accounts for a chain of events that begins after ``base``.

    ``missing`` is the number of holes, those included that were forgotten; ``gap_events - late`` the number of those
    declared lost that are still open. Memory is bounded by ``max_holes``.

    Args:
        base: the id that the first event follows.
        wait_ns: how long a hole may stay open before it counts as a gap.
        max_holes: how many holes are remembered.

    Attributes:
        highest: the newest event's id.
    """

    __slots__ = ("_afters", "_declared", "_floor", "_max_holes", "_since", "_untils", "_wait_ns", "base", "highest")

    def __init__(self, base: int, *, wait_ns: int = WAIT_NS, max_holes: int = MAX_HOLES) -> None:
        super().__init__()
        self.base = base
        self.highest = base
        # Holes hold the ids above ``after`` up to ``until``, in ascending order; up to the floor nothing is remembered.
        self._afters: list[int] = []
        self._untils: list[int] = []
        self._since: list[int] = []
        self._declared: list[bool] = []
        self._floor = base
        self._wait_ns = wait_ns
        self._max_holes = max_holes

    def observe(self, previous: int, last: int, now_ns: int) -> Outcome:
        """Account for one arrival.

        Args:
            previous: the id that the event follows.
            last: its own, which is higher.
            now_ns: time of arrival on any steady scale.
        """
        highest = self.highest
        if last <= highest:
            return self._behind(previous, last)
        if previous > highest:
            self._open(highest, previous, now_ns)
        elif previous < highest:
            self._fill(previous, highest)
        self.unique += 1
        self.highest = last
        return _IN_ORDER

    def expire(self, now_ns: int) -> int:
        return self._declare(now_ns - self._wait_ns)

    def finish(self) -> int:
        return self._declare(None)

    def _open(self, after: int, until: int, now_ns: int) -> None:
        self._afters.append(after)
        self._untils.append(until)
        self._since.append(now_ns)
        self._declared.append(False)
        self.missing += 1
        if len(self._afters) > self._max_holes:
            self._forget_oldest()

    def _forget_oldest(self) -> None:
        if not self._declared[0]:
            self.gaps += 1
            self.gap_events += 1
        self._floor = self._untils[0]
        for column in (self._afters, self._untils, self._since, self._declared):
            del column[0]

    def _declare(self, before_ns: int | None) -> int:
        lost = 0
        for index, declared in enumerate(self._declared):
            if not declared and (before_ns is None or self._since[index] <= before_ns):
                self._declared[index] = True
                lost += 1
        self.gaps += lost
        self.gap_events += lost
        return lost

    def _behind(self, previous: int, last: int) -> Outcome:
        if self._fill(previous, last):
            self.unique += 1
            self.reordered += 1
            return Outcome.REORDERED
        if self.base < last <= self._floor:
            self.stale += 1
            return Outcome.STALE
        self.duplicates += 1
        return Outcome.DUPLICATE

    def _fill(self, previous: int, last: int) -> bool:
        """Take the ids above ``previous`` up to ``last`` out of the holes; return whether any were missing."""
        index = bisect_right(self._untils, previous)
        filled = False
        while index < len(self._afters) and self._afters[index] < last:
            filled = True
            index = self._cut(index, previous, last)
        while len(self._afters) > self._max_holes:
            self._forget_oldest()
        return filled

    def _cut(self, index: int, previous: int, last: int) -> int:
        """Shorten, split or remove one hole; return the index of the next."""
        after, until = self._afters[index], self._untils[index]
        since, declared = self._since[index], self._declared[index]
        left = [(begin, end) for begin, end in ((after, previous), (last, until)) if begin < end]
        self._afters[index : index + 1] = [begin for begin, _end in left]
        self._untils[index : index + 1] = [end for _begin, end in left]
        self._since[index : index + 1] = [since] * len(left)
        self._declared[index : index + 1] = [declared] * len(left)
        self.missing += len(left) - 1
        if declared:
            self.late += 1
            self.gap_events += len(left)
        return index + len(left)
