"""One series of figures in order of arrival, of any length: its moments, and its order statistics, all of them exact.

It is gone through in pieces. It is sorted once, by spans of values, of which one is in memory at a time; where it is
long both the series and the sorted one are in files.
"""

from collections.abc import Iterator, Sequence
from functools import cached_property

import numpy as np

from daemons.measurement.percentile import between, place
from experiments.results.columns import Floats, Integers, collected, let_go, pieces

__all__ = ["Sample"]

_AT_ONCE = 1 << 22
"""Values that are sorted at a time: 32 MB."""
_LOOK_AT = 1024


class Sample:
    """A series.

    Attributes:
        values: in order of arrival, without NaN.
        changes: how much each differs from the one before it, NaN where none is before it; None where that is simply
            the one that stands before it.
    """

    def __init__(
        self,
        values: Floats,
        at_once: int = _AT_ONCE,
        ordered: Floats | None = None,
        changes: Floats | None = None,
    ) -> None:
        self.values = values
        self.changes = changes
        self._at_once = at_once
        if ordered is not None:
            self._ordered = ordered

    @classmethod
    def of(cls, values: "Floats | Sample") -> "Sample":
        """Take values for a series; one passes."""
        return values if isinstance(values, Sample) else cls(values)

    def __len__(self) -> int:
        return len(self.values)

    def negated(self) -> "Sample":
        """Give the series of the opposites, which need not be sorted again."""
        backwards = list(pieces(self._ordered))[::-1]
        ordered = (-self._ordered[piece][::-1] for piece in pieces(self._ordered, at=backwards))
        values = (-self.values[piece] for piece in pieces(self.values))
        return Sample(collected(np.float64, values), self._at_once, collected(np.float64, ordered), self.changes)

    @cached_property
    def mean(self) -> float:
        if len(self) <= self._at_once:
            return float(self.values.mean())
        return sum(float(self.values[piece].sum()) for piece in pieces(self.values)) / len(self)

    def variance(self, ddof: int = 0) -> float:
        """Give the variance, divided by the count less ``ddof``."""
        if len(self) <= self._at_once:
            return float(self.values.var(ddof=ddof))
        mean = self.mean
        squares = (float(np.square(self.values[piece] - mean).sum()) for piece in pieces(self.values))
        return sum(squares) / (len(self) - ddof)

    def changes_in(self, piece: slice) -> Floats:
        """Give how much each value of a piece differs from the one before it; NaN where none is before it."""
        if self.changes is not None:
            return self.changes[piece]
        before = self.values[piece.start - 1 : piece.start] if piece.start else np.array([np.nan])
        return np.abs(np.diff(self.values[piece], prepend=before))

    def mean_change(self) -> float | None:
        """Give the mean change; None where nothing has changed, for there is one value of each stream at most."""
        total, count = 0.0, 0
        for piece in pieces(self.values if self.changes is None else self.changes):
            changes = self.changes_in(piece)
            total += float(np.nansum(changes))
            count += int(np.count_nonzero(~np.isnan(changes)))
        return total / count if count else None

    def quantiles(self, levels: Sequence[float]) -> list[float]:
        """Give quantiles (0 to 1) by the definition of :func:`~daemons.measurement.percentile.place`."""
        below, above, shares = zip(*(place(level, len(self)) for level in levels), strict=True)
        return list(map(between, self._at(below), self._at(above), shares))

    def quantile(self, level: float) -> float:
        """Give one quantile."""
        return self.quantiles([level])[0]

    def count(self, value: float) -> int:
        """Count how often there is a certain value."""
        low, high = (int(np.searchsorted(self._ordered, value, side)) for side in ("left", "right"))
        let_go(self._ordered)
        return high - low

    def counts_between(self, limits: Floats) -> Integers:
        """Count the values from each limit to the next, which is included for the last alone, as numpy's histogram."""
        below = np.searchsorted(self._ordered, limits, side="left")
        below[-1] = np.searchsorted(self._ordered, limits[-1], side="right")
        let_go(self._ordered)
        return np.diff(below).astype(np.int64)

    def _at(self, places: Sequence[int]) -> list[float]:
        found: list[float] = self._ordered[np.array(places)].tolist()
        let_go(self._ordered)
        return found

    @cached_property
    def _ordered(self) -> Floats:
        if len(self) <= self._at_once:
            return np.sort(self.values)
        return collected(np.float64, self._sorted_spans())

    def _sorted_spans(self) -> Iterator[Floats]:
        some = np.sort(self.values[::_LOOK_AT])
        let_go(self.values)
        count = -(-len(self) // self._at_once) + 1
        cuts = np.unique(some[np.arange(1, count) * len(some) // count])
        yield np.sort(self._between(-np.inf, cuts[0]))
        for low, high in zip(cuts, [*cuts[1:], np.inf], strict=True):
            # A value that is very frequent is counted: a span of it alone could be all there is.
            equal = sum(int(np.count_nonzero(self.values[piece] == low)) for piece in pieces(self.values))
            for start in range(0, equal, self._at_once):
                yield np.full(min(self._at_once, equal - start), low)
            yield np.sort(self._between(low, high))

    def _between(self, low: float, high: float) -> Floats:
        """Give the values that are larger than one, and smaller than another."""
        parts = [np.zeros(0)]
        for piece in pieces(self.values):
            values = self.values[piece]
            parts.append(values[(values > low) & (values < high)])
        return np.concatenate(parts)
