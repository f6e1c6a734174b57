"""The same event on two paths: who had it first, by how much, and who never had it.

Both arrivals are stamped by one host's clock, so neither lead nor loss here needs clocks that agree.
"""

from dataclasses import dataclass

import numpy as np

from experiments.results.columns import collected, pieces
from experiments.results.series import Flags, Floats, Integers, PathSeries
from experiments.statistics.spans import Runs, StreamRows, first_of_each, match, spans_of

__all__ = ["Pairs", "events_by_id", "guard_ns", "pair"]

# Events this close to the start or end of the common time may have missed a path that was not up yet.
_LARGEST_GUARD_NS = 5_000_000_000
# Of both paths: some 200 MB with all that is made of them.
_ROWS_AT_ONCE = 1 << 20
_LATEST = np.iinfo(np.int64).max


@dataclass(frozen=True)
class Pairs:
    """Events seen on both of two paths, in order of their first arrival, and counts of those seen on one.

    Attributes:
        first: row numbers in the first path's series.
        second: row numbers in the second path's series.
        lead_ms: arrival on the first path minus arrival on the second: positive where the second was earlier.
        missing_first: for each event of the common time, in order: whether the first path lacks it.
        missing_second: likewise.
    """

    first: Integers
    second: Integers
    lead_ms: Floats
    missing_first: Flags
    missing_second: Flags

    @property
    def only_first(self) -> int:
        return int(self.missing_second.sum())

    @property
    def only_second(self) -> int:
        return int(self.missing_first.sum())


def pair(first: PathSeries, second: PathSeries, rows_at_once: int = _ROWS_AT_ONCE) -> Pairs:
    """Pair the live rows of two paths by stream and exchange id; of duplicates the first arrival counts.

    Args:
        first: one path.
        second: the other.
        rows_at_once: about so many rows of both are in memory at a time.
    """
    runs = Runs()
    only_first, only_second = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    for name in first.streams:
        if name not in second.streams:
            continue
        streams = StreamRows(first, name), StreamRows(second, name)
        if not all(one.live for one in streams):
            continue
        for low, high in spans_of(streams, rows_at_once):
            one, two, lone = match(streams[0].between(low, high), streams[1].between(low, high))
            runs.add(one, two)
            only_first.append(lone[0])
            only_second.append(lone[1])
    if not len(runs):
        nothing = np.zeros(0, np.int64)
        return Pairs(nothing, nothing, np.zeros(0), np.zeros(0, bool), np.zeros(0, bool))
    found = runs.merged(max(1, rows_at_once // 2))
    lead_ns = found["lead_ns"]
    lone_first, lone_second = np.concatenate(only_first), np.concatenate(only_second)
    missing = _missing(found["earliest"], lone_first, lone_second, _common_times(first, second, lead_ns))
    lead_ms = collected(np.float64, (lead_ns[piece] / 1e6 for piece in pieces(lead_ns)))
    return Pairs(found["first"], found["second"], lead_ms, *missing)


def events_by_id(series: PathSeries, stream: int) -> Integers:
    """Give the rows of a stream's first arrivals of each event that has an id, in order of id; live ones only."""
    rows = np.flatnonzero(series.live & (series.stream == stream) & (series.event_id != 0))
    return np.asarray(rows[first_of_each(series.event_id[rows])])


def guard_ns(largest_lead_ns: int) -> int:
    """Give the time at either end of a run in which an event may have missed a path that was not up."""
    return min(_LARGEST_GUARD_NS, largest_lead_ns)


def _common_times(first: PathSeries, second: PathSeries, lead_ns: Integers) -> list[tuple[int, int]]:
    """Give the times, of each run, in which an event on either path should have been seen on the other.

    Returns:
        The first and the last moment of each, in order of time.
    """
    guard = guard_ns(max(abs(bound) for bound in _bounds(lead_ns)))
    found = []
    for runs in zip(*(np.split(path.arrival_ns, path.parts[1:]) for path in (first, second)), strict=True):
        bounds = [_bounds(times, without=0) for times in runs]
        if all(bounds):
            found.append((max(one[0] for one in bounds) + guard, min(one[1] for one in bounds) - guard))
    return sorted(found)


def _bounds(values: Integers, without: int | None = None) -> tuple[int, ...]:
    """Give the least and the largest of some values, of which one does not count; nothing where there are none."""
    bounds: tuple[int, ...] = ()
    for piece in pieces(values):
        part = values[piece] if without is None else values[piece][values[piece] != without]
        if len(part):
            both = (*bounds, int(part.min()), int(part.max()))
            bounds = min(both), max(both)
    return bounds


def _missing(
    both: Integers, only_first: Integers, only_second: Integers, common: list[tuple[int, int]]
) -> tuple[Flags, Flags]:
    """Lay all events of the common times out in order, and mark which path lacks which."""
    lacking_first, lacking_second = [np.zeros(0, bool)], [np.zeros(0, bool)]
    for (start, last), after in zip(common, [*(start for start, _ in common[1:]), _LATEST], strict=False):
        end = max(start, min(last + 1, after))
        low, high = np.searchsorted(both, [start, end]).tolist()
        alone = [times[(times >= start) & (times < end)] for times in (only_first, only_second)]
        times = np.concatenate(alone)
        order = np.argsort(times, kind="stable")
        places = np.searchsorted(both[low:high], times[order], side="right") + np.arange(len(times))
        of_second = order >= len(alone[0])
        for lacking, which in ((lacking_first, of_second), (lacking_second, ~of_second)):
            flags = np.zeros(high - low + len(times), bool)
            flags[places[which]] = True
            lacking.append(flags)
    return np.concatenate(lacking_first), np.concatenate(lacking_second)
