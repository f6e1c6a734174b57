"""The race: the same event on several paths, and by how much each was earlier.

A lead is a difference of two arrival stamps of one host, so it needs no agreement between clocks; the stamps are on the
monotonic scale, so a step of the wall clock does not spoil it either.
"""

from collections.abc import Hashable, Sequence
from itertools import combinations

from daemons.measurement.histogram import Bounds, BucketHistogram, QuantileHistogram, octaves, signed

__all__ = ["LEAD_BOUNDS", "Pair", "RaceTable"]

LEAD_BOUNDS = signed(octaves(-16, 3))
"""Boundaries for leads: 15 µs to 8 s to either side."""


class Pair:
    """What is known of one path against another.

    Attributes:
        path, reference: indices of the two; a positive lead means that ``path`` was earlier.
        lead: distribution of leads for live export; ``leads`` the same, fine-grained, when a run keeps it.
        ahead_ns, behind_ns: leads of either sign added up apart, for a signed sum that falls is no counter.
        wins, reference_wins, ties: how often which was earlier.
        only_path, only_reference: events that one saw and the other did not before they were forgotten.
        excluded: events that both saw, but one of them not live (it waited in a link outage, or a clock was stepped).
    """

    __slots__ = (
        "ahead_ns",
        "behind_ns",
        "excluded",
        "lead",
        "leads",
        "only_path",
        "only_reference",
        "path",
        "reference",
        "reference_wins",
        "ties",
        "wins",
    )

    def __init__(self, path: int, reference: int, bounds: Bounds, *, keep_quantiles: bool) -> None:
        self.path = path
        self.reference = reference
        self.lead = BucketHistogram(bounds)
        self.leads = QuantileHistogram() if keep_quantiles else None
        self.ahead_ns = 0
        self.behind_ns = 0
        self.wins = 0
        self.reference_wins = 0
        self.ties = 0
        self.only_path = 0
        self.only_reference = 0
        self.excluded = 0

    def observe(self, lead_ns: int) -> None:
        """Count one event that both saw."""
        self.lead.observe(lead_ns)
        if self.leads is not None:
            self.leads.record(lead_ns)
        if lead_ns > 0:
            self.wins += 1
            self.ahead_ns += lead_ns
        elif lead_ns < 0:
            self.reference_wins += 1
            self.behind_ns -= lead_ns
        else:
            self.ties += 1


class _Entry:
    __slots__ = ("born_ns", "live", "seen", "stamps")

    def __init__(self, born_ns: int, paths: int) -> None:
        self.born_ns = born_ns
        self.seen = 0
        self.stamps: list[int | None] = [None] * paths
        self.live = [True] * paths


class RaceTable:
    """Pairs arrivals of the same event on different paths.

    Bounded in entries and in age: an event that some path has not brought by then is counted as not seen on it.

    Args:
        paths: how many paths race.
        order: the paths' indices, those to be beaten first; of each pair the later one here is ``path``, the earlier
            ``reference``. By default the order of the indices.
        max_entries: how many events may wait for their other arrivals.
        max_age_ns: how long they wait.
        keep_quantiles: keep fine-grained leads, for the report of a run.
    """

    def __init__(
        self,
        paths: int,
        *,
        order: Sequence[int] | None = None,
        max_entries: int = 200_000,
        max_age_ns: int = 10_000_000_000,
        keep_quantiles: bool = False,
    ) -> None:
        self._paths = paths
        self._max_entries = max_entries
        self._max_age_ns = max_age_ns
        self._open: dict[Hashable, _Entry] = {}
        self.pairs = tuple(
            Pair(path, reference, LEAD_BOUNDS, keep_quantiles=keep_quantiles)
            for reference, path in combinations(range(paths) if order is None else order, 2)
        )
        self._pairs_of: tuple[Sequence[tuple[Pair, int, int]], ...] = tuple(
            [
                (pair, pair.reference if pair.path == index else pair.path, 1 if pair.path == index else -1)
                for pair in self.pairs
                if index in (pair.path, pair.reference)
            ]
            for index in range(paths)
        )
        self.unpaired = [0] * paths
        """Per path, events that no other path brought."""
        self.repeats = [0] * paths
        """Per path, arrivals of an event that this path had brought already."""

    def __len__(self) -> int:
        return len(self._open)

    def observe(self, key: Hashable, path: int, steady_ns: int, *, live: bool = True) -> None:
        """Take in that a path brought an event.

        Args:
            key: the event's identity, equal on all paths.
            path: the path's index.
            steady_ns: arrival on the monotonic scale.
            live: False if this arrival says nothing about the path's speed.
        """
        entry = self._open.get(key)
        if entry is None:
            entry = self._open[key] = _Entry(steady_ns, self._paths)
            if len(self._open) > self._max_entries:
                self._forget(next(iter(self._open)))
        elif entry.stamps[path] is not None:
            self.repeats[path] += 1
            return
        entry.stamps[path] = steady_ns
        entry.live[path] = live
        entry.seen += 1
        if entry.seen == 1:
            return
        for pair, other, sign in self._pairs_of[path]:
            stamp = entry.stamps[other]
            if stamp is None:
                continue
            if live and entry.live[other]:
                pair.observe((stamp - steady_ns) * sign)
            else:
                pair.excluded += 1
        if entry.seen == self._paths:
            del self._open[key]

    def expire(self, now_ns: int) -> None:
        """Give up on events that have waited for the maximum age."""
        oldest = now_ns - self._max_age_ns
        due = []
        for key, entry in self._open.items():
            if entry.born_ns > oldest:
                break
            due.append(key)
        for key in due:
            self._forget(key)

    def finish(self) -> None:
        """Give up on all that waits: the run is over."""
        for key in tuple(self._open):
            self._forget(key)

    def _forget(self, key: Hashable) -> None:
        entry = self._open.pop(key)
        for index, stamp in enumerate(entry.stamps):
            if stamp is None:
                continue
            if entry.seen == 1:
                self.unpaired[index] += 1
            for pair, other, sign in self._pairs_of[index]:
                if entry.stamps[other] is None:
                    if sign > 0:
                        pair.only_path += 1
                    else:
                        pair.only_reference += 1
