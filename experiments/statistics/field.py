"""The same events on any number of paths: how late each path had them, and which of them it never had.

All arrivals are stamped by one host's clock, so neither lags nor losses here need clocks that agree.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from experiments.results.series import Flags, Floats, Integers, PathSeries
from experiments.statistics.pairing import events_by_id, guard_ns

__all__ = ["Field", "align", "lags_ms"]

_ABSENT = -1
_LATE = -2


@dataclass(frozen=True)
class Field:
    """Events of several paths.

    Attributes:
        rows: paths x events: row numbers in each path's series, of the events that every path brought, in order of
            their first arrival.
        arrival_ns: the same events' arrivals.
        missing: of each path, for each event that it should have brought, in order: whether it did not.
        seen: events that any path brought.
        streams: names of the streams that all paths have.
    """

    rows: Integers
    arrival_ns: Integers
    missing: tuple[Flags, ...]
    seen: int
    streams: tuple[str, ...]

    def ordered(self, order: Sequence[int]) -> "Field":
        """Give the same with the paths in another order."""
        missing = tuple(self.missing[index] for index in order)
        return replace(self, rows=self.rows[order], arrival_ns=self.arrival_ns[order], missing=missing)


def align(paths: Sequence[PathSeries]) -> Field:
    """Find the events of several paths by stream and exchange id; of duplicates the first arrival counts.

    A path is expected to bring what any other brought between its own first and last arrival of a run: what came
    before it was up, or after it had ended, is no loss of its way.
    """
    names = tuple(name for name in paths[0].streams if all(name in path.streams for path in paths[1:]))
    found = [_of_stream(paths, name) for name in names] or [np.zeros((len(paths), 0), np.int64)]
    rows = np.concatenate(found, axis=1)
    arrivals = np.array([path.arrival_ns[np.maximum(own, 0)] for path, own in zip(paths, rows, strict=True)])
    first = np.where(rows >= 0, arrivals, np.iinfo(np.int64).max).min(axis=0)
    order = np.argsort(first, kind="stable")
    rows, arrivals, first = rows[:, order], arrivals[:, order], first[order]
    common = (rows >= 0).all(axis=0)
    arrival_ns = arrivals[:, common]
    spread = int(np.ptp(arrival_ns, axis=0).max()) if arrival_ns.size else 0
    missing = tuple(
        own[(own != _LATE) & _expected(path, first, guard_ns(spread))] == _ABSENT
        for path, own in zip(paths, rows, strict=True)
    )
    return Field(rows[:, common], arrival_ns, missing, rows.shape[1], names)


def lags_ms(arrival_ns: Integers) -> Floats:
    """Give how much later than the middle of the field each path had each event, in milliseconds.

    The middle is what all paths are held against: the median of their arrivals, each less how late that path commonly
    is. No path is special, a bad one moves nothing, and of two paths the differences are the leads.

    Args:
        arrival_ns: paths x events.
    """
    since = (arrival_ns - arrival_ns.min(axis=0)) / 1e6
    commonly = np.median(since - since.mean(axis=0), axis=1, keepdims=True)
    return np.asarray(since - np.median(since - commonly, axis=0))


def _of_stream(paths: Sequence[PathSeries], name: str) -> Integers:
    """Give paths x events of one stream: the row that brought it, or why there is none."""
    own = [events_by_id(path, path.streams.index(name)) for path in paths]
    ids = np.unique(np.concatenate([path.event_id[rows] for path, rows in zip(paths, own, strict=True)]))
    table = np.full((len(paths), len(ids)), _ABSENT, np.int64)
    for path, rows, line in zip(paths, own, table, strict=True):
        late = ~path.live & (path.stream == path.streams.index(name))
        line[np.isin(ids, path.event_id[late])] = _LATE
        line[np.searchsorted(ids, path.event_id[rows])] = rows
    return table


def _expected(path: PathSeries, first_ns: Integers, guard: int) -> Flags:
    """Mark the events that came while the path was up."""
    latest = np.iinfo(np.int64).max
    runs = [times for times in np.split(path.arrival_ns, path.parts[1:]) if times.any()]
    starts = np.array([int(times.min(where=times != 0, initial=latest)) for times in runs], np.int64) + guard
    ends = np.array([int(times.max()) for times in runs], np.int64) - guard
    run = np.searchsorted(starts, first_ns, side="right") - 1
    return np.asarray((run >= 0) & (first_ns <= ends[run]))
