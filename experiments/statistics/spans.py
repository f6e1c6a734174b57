"""The rows of one stream that two paths have, matched by spans of ids, and the pairs put in order by spans of time.

All copies of an event have one id, so they are in one span, however late they came: what is matched span by span is
what all rows at once would give, and only as many rows as a span has are in memory.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from experiments.results.columns import ColumnBuffer, Flags, Integers, Zones, let_go, pieces
from experiments.results.series import PathSeries

__all__ = ["Runs", "StreamRows", "first_of_each", "match", "spans_of"]

# One of so many ids, or times, is looked at to cut them into spans.
_LOOK_AT = 1024
_LEAST = np.iinfo(np.int64).min
_LARGEST = np.iinfo(np.int64).max
_NONE = np.zeros(0, np.int64)


@dataclass(frozen=True)
class _Rows:
    """A path's rows of a span of ids.

    Attributes:
        rows: of each event the first that is live, in order of id.
        ids: of these.
        arrival_ns: of these.
        late: ids of rows that are not live.
    """

    rows: Integers
    ids: Integers
    arrival_ns: Integers
    late: Integers


class StreamRows:
    """One stream of a path, whose rows are found by their ids; those without one are passed over."""

    def __init__(self, series: PathSeries, name: str) -> None:
        self._series = series
        self._code = series.streams.index(name)
        self._zones = Zones()
        self.live, self.some_ids = 0, [_NONE]
        for piece in pieces(series.event_id, series.stream, series.live):
            mine = self._mine(piece)
            ids = series.event_id[piece][mine]
            self._zones.add(piece, ids)
            self.some_ids.append(ids[::_LOOK_AT])
            self.live += int(np.count_nonzero(mine & series.live[piece]))

    def _mine(self, piece: slice) -> Flags:
        return np.asarray((self._series.stream[piece] == self._code) & (self._series.event_id[piece] != 0))

    def between(self, low: int, high: int) -> _Rows:
        """Give the rows with ids from ``low`` to ``high``, which is included."""
        series = self._series
        parts, late = [(_NONE, _NONE, _NONE)], [_NONE]
        columns = series.event_id, series.stream, series.live, series.arrival_ns
        for piece in pieces(*columns, at=self._zones.within(low, high)):
            ids, live = series.event_id[piece], series.live[piece]
            mine = self._mine(piece) & (ids >= low) & (ids <= high)
            rows = np.flatnonzero(mine & live)
            parts.append((rows + piece.start, ids[rows], series.arrival_ns[piece][rows]))
            late.append(ids[mine & ~live])
        rows, ids, arrival_ns = (np.concatenate(one) for one in zip(*parts, strict=True))
        first = first_of_each(ids)
        return _Rows(rows[first], ids[first], arrival_ns[first], np.concatenate(late))


def first_of_each(ids: Integers) -> Integers:
    """Give the places of the first of each id, in order of id."""
    if (np.diff(ids) > 0).all():
        return np.arange(len(ids))
    # A stable sort keeps the first arrival of each event first.
    order = np.argsort(ids, kind="stable")
    return np.asarray(order[np.append(True, np.diff(ids[order]) != 0)])


def spans_of(streams: tuple[StreamRows, StreamRows], rows_at_once: int) -> Iterator[tuple[int, int]]:
    """Cut the ids of a stream into spans of about so many rows of both paths; give the first and last id of each."""
    count = -(-sum(one.live for one in streams) // rows_at_once)
    cuts = _cuts([part for one in streams for part in one.some_ids], count)
    return zip([_LEAST, *cuts], [*(cut - 1 for cut in cuts), _LARGEST], strict=True)


def _cuts(some: list[Integers], count: int) -> list[int]:
    """Give the values at which to cut into so many spans, of which some values are known."""
    known = np.sort(np.concatenate(some))
    found: list[int] = np.unique(known[np.arange(1, count) * len(known) // count]).tolist()
    return found


def match(first: _Rows, second: _Rows) -> tuple[_Rows, _Rows, tuple[Integers, Integers]]:
    """Give the rows of events that both have, which correspond in order, and when what each has alone arrived.

    What the other did bring, only not live, is neither: it came late, or with an unusable stamp.
    """
    in_first = np.isin(first.ids, second.ids, assume_unique=True)
    in_second = np.isin(second.ids, first.ids, assume_unique=True)
    lone = (
        first.arrival_ns[~in_first & ~np.isin(first.ids, second.late)],
        second.arrival_ns[~in_second & ~np.isin(second.ids, first.late)],
    )
    return _some(first, in_first), _some(second, in_second), lone


def _some(rows: _Rows, wanted: Flags) -> _Rows:
    return _Rows(rows.rows[wanted], rows.ids[wanted], rows.arrival_ns[wanted], _NONE)


class Runs:
    """Pairs, those of each span of ids in order of their first arrivals."""

    def __init__(self) -> None:
        self._columns = ColumnBuffer(dict.fromkeys(("earliest", "first", "second", "lead_ns"), np.int64))
        self._ends = [0]

    def __len__(self) -> int:
        return self._ends[-1]

    def add(self, first: _Rows, second: _Rows) -> None:
        """Take the pairs of a span."""
        earliest = np.minimum(first.arrival_ns, second.arrival_ns)
        run = {
            "earliest": earliest,
            "first": first.rows,
            "second": second.rows,
            "lead_ns": first.arrival_ns - second.arrival_ns,
        }
        self._columns.append(_in_order(run))
        self._ends.append(len(self) + len(earliest))

    def merged(self, pairs_at_once: int) -> dict[str, Integers]:
        """Give all pairs in order of their first arrivals, of those at once in order of the runs."""
        columns = self._columns.columns()
        earliest = columns["earliest"]
        runs = [slice(*ends) for ends in pairwise(self._ends) if ends[1] > ends[0]]
        if all(earliest[one.stop - 1] <= earliest[other.start] for one, other in pairwise(runs)):
            return columns
        cuts = _cuts([earliest[run][::_LOOK_AT] for run in runs], -(-len(self) // pairs_at_once))
        places = [[run.start, *(run.start + np.searchsorted(earliest[run], cuts)).tolist(), run.stop] for run in runs]
        merged = ColumnBuffer(dict.fromkeys(columns, np.int64))
        for window in range(len(cuts) + 1):
            its = [slice(ends[window], ends[window + 1]) for ends in places]
            merged.append(
                _in_order({name: np.concatenate([values[one] for one in its]) for name, values in columns.items()})
            )
            let_go(*columns.values())
        return merged.columns()


def _in_order(pairs: dict[str, Integers]) -> dict[str, Integers]:
    earliest = pairs["earliest"]
    if not (np.diff(earliest) < 0).any():
        return pairs
    order = np.argsort(earliest, kind="stable")
    return {name: values[order] for name, values in pairs.items()}
