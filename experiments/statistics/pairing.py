"""The same event on two paths: who had it first, by how much, and who never had it.

Both arrivals are stamped by one host's clock, so neither lead nor loss here needs clocks that agree.
"""

from dataclasses import dataclass

import numpy as np

from experiments.results.series import Flags, Floats, Integers, PathSeries

__all__ = ["Pairs", "events_by_id", "guard_ns", "pair"]

# Events this close to the start or end of the common time may have missed a path that was not up yet.
_LARGEST_GUARD_NS = 5_000_000_000


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


def pair(first: PathSeries, second: PathSeries) -> Pairs:
    """Pair the live rows of two paths by stream and exchange id; of duplicates the first arrival counts."""
    firsts: list[Integers] = []
    seconds: list[Integers] = []
    lone_first: list[Integers] = []
    lone_second: list[Integers] = []
    for name in first.streams:
        if name not in second.streams:
            continue
        rows_first = events_by_id(first, first.streams.index(name))
        rows_second = events_by_id(second, second.streams.index(name))
        if not (len(rows_first) and len(rows_second)):
            continue
        in_first, in_second = _match(first.event_id[rows_first], second.event_id[rows_second])
        firsts.append(rows_first[in_first])
        seconds.append(rows_second[in_second])
        lone_first.append(_lacked(rows_first[~in_first], first, second, name))
        lone_second.append(_lacked(rows_second[~in_second], second, first, name))
    if not any(len(rows) for rows in firsts):
        nothing = np.zeros(0, np.int64)
        return Pairs(nothing, nothing, np.zeros(0), np.zeros(0, bool), np.zeros(0, bool))
    both_first, both_second = np.concatenate(firsts), np.concatenate(seconds)
    firsts.clear()
    seconds.clear()
    earliest = np.minimum(first.arrival_ns[both_first], second.arrival_ns[both_second])
    if (np.diff(earliest) < 0).any():
        order = np.argsort(earliest, kind="stable")
        both_first, both_second, earliest = both_first[order], both_second[order], earliest[order]
        del order
    lead_ns = first.arrival_ns[both_first] - second.arrival_ns[both_second]
    missing = _missing(
        earliest,
        first.arrival_ns[np.concatenate(lone_first)],
        second.arrival_ns[np.concatenate(lone_second)],
        _common_times(first, second, lead_ns),
    )
    return Pairs(both_first, both_second, lead_ns / 1e6, *missing)


def events_by_id(series: PathSeries, stream: int) -> Integers:
    """Give the rows of a stream's first arrivals of each event that has an id, in order of id; live ones only."""
    rows = np.flatnonzero(series.live & (series.stream == stream) & (series.event_id != 0))
    ids = series.event_id[rows]
    if not (np.diff(ids) > 0).all():
        # A stable sort keeps the first arrival of each event first.
        order = np.argsort(ids, kind="stable")
        rows, ids = rows[order], ids[order]
    return np.asarray(rows[np.append(True, np.diff(ids) != 0)] if len(rows) else rows)


def guard_ns(largest_lead_ns: int) -> int:
    """Give the time at either end of a run in which an event may have missed a path that was not up."""
    return min(_LARGEST_GUARD_NS, largest_lead_ns)


def _match(first: Integers, second: Integers) -> tuple[Flags, Flags]:
    """Mark the ids that both sorted lists have; the marked ones correspond in order."""
    place = np.minimum(np.searchsorted(second, first), len(second) - 1)
    in_first = second[place] == first
    in_second = np.zeros(len(second), bool)
    in_second[place[in_first]] = True
    return in_first, in_second


def _lacked(rows: Integers, own: PathSeries, other: PathSeries, stream: str) -> Integers:
    """Leave out the events that the other path did bring, only not live: they came late, or with an unusable stamp."""
    late = ~other.live & (other.stream == other.streams.index(stream))
    return rows[~np.isin(own.event_id[rows], other.event_id[late])]


def _common_times(first: PathSeries, second: PathSeries, lead_ns: Integers) -> tuple[Integers, Integers]:
    """Give the times, of each run, in which an event on either path should have been seen on the other.

    Returns:
        Their starts and their ends, in order.
    """
    guard = guard_ns(max(abs(int(lead_ns.min())), abs(int(lead_ns.max()))))
    latest = np.iinfo(np.int64).max
    starts, ends = [], []
    for parts in zip(_arrivals_of_runs(first), _arrivals_of_runs(second), strict=True):
        starts.append(max(int(times.min(where=times != 0, initial=latest)) for times in parts) + guard)
        ends.append(min(int(times.max(initial=0)) for times in parts) - guard)
    return np.array(starts, np.int64), np.array(ends, np.int64)


def _arrivals_of_runs(series: PathSeries) -> list[Integers]:
    return np.split(series.arrival_ns, series.parts[1:])


def _missing(
    both: Integers, only_first: Integers, only_second: Integers, common: tuple[Integers, Integers]
) -> tuple[Flags, Flags]:
    """Lay all events of the common time out in order, and mark which path lacks which."""
    times = np.concatenate([both, only_first, only_second])
    lacking_first = np.zeros(len(times), bool)
    lacking_first[len(both) + len(only_first) :] = True
    lacking_second = np.zeros(len(times), bool)
    lacking_second[len(both) : len(both) + len(only_first)] = True
    order = np.argsort(times, kind="stable")
    starts, ends = common
    run = np.searchsorted(starts, times[order], side="right") - 1
    order = order[(run >= 0) & (times[order] <= ends[run])]
    return lacking_first[order], lacking_second[order]
