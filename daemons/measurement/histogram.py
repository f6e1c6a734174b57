"""Counting durations: fixed buckets for Prometheus, fine sparse buckets for the percentiles of a run.

Both take integer nanoseconds, cost well under a microsecond a value, and use memory that depends on the range of the
values and not on their number.
"""

import math
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

from daemons.measurement.percentile import between, minimum_samples, place

__all__ = ["PER_OCTAVE", "Bounds", "BucketHistogram", "QuantileHistogram", "octaves", "signed"]

PER_OCTAVE = 8
"""Boundaries for each doubling, in every family: 2^(1/8) apart, as in Prometheus' native-histogram schema 3."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """Upper bucket boundaries, ascending.

    Attributes:
        ns: inclusive upper bounds in integer nanoseconds.
        le: the same in seconds, as text for the ``le`` label; without ``+Inf``.
    """

    ns: tuple[int, ...]
    le: tuple[str, ...]


def octaves(lowest_exponent: int, highest_exponent: int) -> Bounds:
    """Return boundaries at the powers 2^(k/:data:`PER_OCTAVE`) of one second.

    A quantile read from them lies in the right bucket, so it is off by less than the bucket's width of 9.1 %.

    Args:
        lowest_exponent: the lowest boundary is 2**lowest_exponent seconds.
        highest_exponent: the highest boundary is 2**highest_exponent seconds.
    """
    steps = range(lowest_exponent * PER_OCTAVE, highest_exponent * PER_OCTAVE + 1)
    return _bounds([2.0 ** (step / PER_OCTAVE) for step in steps])


def signed(magnitudes: Bounds) -> Bounds:
    """Return the boundaries mirrored about zero, with zero among them, for differences of either sign."""
    positive = [float(text) for text in magnitudes.le]
    return _bounds([-value for value in reversed(positive)] + [0.0] + positive)


def _bounds(seconds: Sequence[float]) -> Bounds:
    # An integer is at most a real boundary exactly when it is at most its floor.
    return Bounds(tuple(math.floor(value * 1e9) for value in seconds), tuple(map(repr, seconds)))


class BucketHistogram:
    """A histogram over fixed boundaries, in the form Prometheus scrapes.

    Attributes:
        bounds: the boundaries.
        counts: one count per boundary and a last one for what lies above all of them; not cumulative.
        sum_ns: the sum of all values.
    """

    __slots__ = ("_ns", "bounds", "counts", "sum_ns")

    def __init__(self, bounds: Bounds) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds.ns) + 1)
        self.sum_ns = 0
        self._ns = bounds.ns

    def observe(self, value_ns: int, times: int = 1) -> None:
        """Count one value, so many times."""
        self.counts[bisect_left(self._ns, value_ns)] += times
        self.sum_ns += value_ns * times

    @property
    def count(self) -> int:
        """How many values were counted."""
        return sum(self.counts)


PRECISION_BITS = 11
"""Significant bits kept of a value by :class:`QuantileHistogram`: at most 0.05 % off."""


class QuantileHistogram:
    """Quantiles, mean and deviation of any number of integers of either sign, in constant memory.

    Values are cut to their :data:`PRECISION_BITS` most significant bits, as HdrHistogram does; count, mean, standard
    deviation, minimum and maximum are exact.
    """

    __slots__ = ("_cells", "_squares", "count", "maximum", "minimum", "total")

    def __init__(self) -> None:
        self._cells: dict[int, int] = {}
        self._squares = 0
        self.count = 0
        self.total = 0
        self.minimum: int | None = None
        self.maximum: int | None = None

    def record(self, value: int) -> None:
        """Count one value."""
        shift = value.bit_length() - PRECISION_BITS
        # An arithmetic shift floors, for negative numbers too, so a cell is [key, key + 2**shift).
        cell = (value >> shift) << shift if shift > 0 else value
        self._cells[cell] = self._cells.get(cell, 0) + 1
        self.count += 1
        self.total += value
        self._squares += value * value
        if self.minimum is None or self.maximum is None:
            self.minimum = self.maximum = value
        elif value < self.minimum:
            self.minimum = value
        elif value > self.maximum:
            self.maximum = value

    def merged(self, other: "QuantileHistogram") -> "QuantileHistogram":
        """Return what both together have counted."""
        both = QuantileHistogram()
        for one in (self, other):
            both._take(one)
        return both

    @property
    def mean(self) -> float | None:
        """Arithmetic mean; None without a value."""
        return self.total / self.count if self.count else None

    @property
    def stddev(self) -> float | None:
        """Sample standard deviation (n - 1); None for fewer than two values."""
        if self.count < 2:
            return None
        # Integers throughout: the textbook formula loses nothing here.
        return math.sqrt((self._squares * self.count - self.total * self.total) / (self.count * (self.count - 1)))

    def _take(self, other: "QuantileHistogram") -> None:
        for cell, count in other._cells.items():  # noqa: SLF001 of its own class
            self._cells[cell] = self._cells.get(cell, 0) + count
        self._squares += other._squares  # noqa: SLF001
        self.count += other.count
        self.total += other.total
        for value in (other.minimum, other.maximum):
            if value is not None:
                self.minimum = value if self.minimum is None else min(self.minimum, value)
                self.maximum = value if self.maximum is None else max(self.maximum, value)

    def quantile(self, level: float) -> float | None:
        """Return one of :meth:`quantiles`."""
        return self.quantiles(level)[0]

    def quantiles(self, *levels: float) -> list[float | None]:
        """Return quantiles by the definition of :func:`~daemons.measurement.percentile.place`, in one pass.

        Args:
            levels: 0 to 1; 0.5 is the median.

        Returns:
            For each level what lies between two values, each to within 0.05 %; None without a value.
        """
        if not self.count:
            return [None for _level in levels]
        cells = sorted(self._cells)
        upto = list(accumulate(map(self._cells.__getitem__, cells)))
        found: list[float | None] = []
        for below, above, share in (place(level, self.count) for level in levels):
            low, high = (self._middle(cells[bisect_right(upto, index)]) for index in (below, above))
            found.append(between(low, high, share))
        return found

    def shown(self, *levels: float) -> list[float | None]:
        """Return quantiles, None for each that the values are too few to show."""
        enough = [level for level in levels if self.count >= minimum_samples(level)]
        known = dict(zip(enough, self.quantiles(*enough), strict=True))
        return [known.get(level) for level in levels]

    def _middle(self, cell: int) -> int:
        """Return what stands for all values of a cell: its middle, or the least or largest value if that is nearer."""
        assert self.minimum is not None
        assert self.maximum is not None
        width = 1 << max(0, cell.bit_length() - PRECISION_BITS)
        return min(max(cell + width // 2, self.minimum), self.maximum)

    @property
    def cells(self) -> int:
        """How many cells are in use: the memory it takes."""
        return len(self._cells)
