"""A series summarised as at most a few thousand consecutive cells, from which resamples are computed.

A block bootstrap of ten million samples cannot copy them a thousand times, and need not. A resample made of blocks
is determined by how often it contains each cell; its mean, variance and jitter are weighted sums over cells,
and its quantiles follow from a weighted sum of the cells' histograms. With up to ``CELLS`` samples each is a cell of
its own and all of this is exact; above, the blocks start on cell boundaries, and quantiles interpolate within
histogram bins that hold 1/2048 of the samples, and less in the tails.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from experiments.results.columns import PIECE, Floats, Integers, let_go
from experiments.statistics.sample import Sample

__all__ = ["CELLS", "Cells", "boundaries"]

CELLS = 2048
_TAIL_BINS = 128


def boundaries(count: int) -> Integers:
    """Cut ``count`` samples into at most :data:`CELLS` cells; give the first index of each, and the end."""
    return np.linspace(0, count, min(count, CELLS) + 1).astype(np.int64)


class Cells:
    """Cell sums and histograms of one series.

    Attributes:
        starts: where each cell starts, and the end.
        means: the mean of each cell.
        change_means: the mean of |D| in each cell.
    """

    def __init__(self, values: Floats | Sample) -> None:
        sample = Sample.of(values)
        values = sample.values
        self.count = len(values)
        self.starts = boundaries(self.count)
        self._centre = float(np.median(values[:: max(1, self.count // 4096)]))
        self._sizes = np.diff(self.starts).astype(np.float64)
        self._edges = _edges(sample)
        exact = self.count == len(self._sizes)
        bins = len(self._edges) - 1
        self._histograms = None if exact else np.empty((len(self._sizes), bins), np.float32)
        self._sums, self._squares, self._changes, self._change_counts = (np.empty(len(self._sizes)) for _ in range(4))
        for cells, piece in self._pieces(values):
            self._sum_up(sample, cells, piece)
        self.means = self._sums / self._sizes
        self.change_means = self._changes / np.maximum(self._change_counts, 1)
        self._order: Integers | None = None
        if exact:
            self._order = np.argsort(values, kind="stable")
            self._edges = np.append(values[self._order], values[self._order[-1]])

    def __len__(self) -> int:
        return len(self.starts) - 1

    def _pieces(self, values: Floats) -> Iterator[tuple[slice, slice]]:
        """Go through some cells at a time: give which they are, and where their values stand."""
        at_once = max(1, len(self) * PIECE // max(1, self.count))
        for cell in range(0, len(self), at_once):
            cells = slice(cell, min(cell + at_once, len(self)))
            yield cells, slice(int(self.starts[cells.start]), int(self.starts[cells.stop]))
            let_go(values)

    def _sum_up(self, sample: Sample, cells: slice, piece: slice) -> None:
        first = self.starts[cells] - piece.start
        own = sample.values[piece]
        centred = own - self._centre
        self._sums[cells] = np.add.reduceat(centred, first)
        self._squares[cells] = np.add.reduceat(centred * centred, first)
        changes = sample.changes_in(piece)
        known = ~np.isnan(changes)
        self._changes[cells] = np.add.reduceat(np.where(known, changes, 0.0), first)
        self._change_counts[cells] = np.add.reduceat(known.astype(np.float64), first)
        if self._histograms is not None:
            for cell, of_cell in enumerate(np.split(own, first[1:]), start=cells.start):
                # Counts of all below each edge but the first and the last, from the cell in order.
                below = np.searchsorted(np.sort(of_cell), self._edges[1:-1], side="left")
                self._histograms[cell] = np.diff(below, prepend=0, append=len(of_cell))

    def exceedances(self, sample: Sample, p: float) -> Floats:
        """Give each cell's share of values above percentile ``p``; its dependence may outlast that of the mean."""
        threshold = sample.quantile(p)
        shares = np.empty(len(self))
        for cells, piece in self._pieces(sample.values):
            above = (sample.values[piece] > threshold).astype(np.float64)
            shares[cells] = np.add.reduceat(above, self.starts[cells] - piece.start)
        return shares / self._sizes

    def mean(self, weights: Floats) -> Floats:
        """Give the mean of each resample; ``weights`` is resamples x cells."""
        return self._centre + (weights @ self._sums) / (weights @ self._sizes)

    def stddev(self, weights: Floats) -> Floats:
        """Give the standard deviation of each resample."""
        sizes = weights @ self._sizes
        mean = (weights @ self._sums) / sizes
        return np.sqrt(np.maximum((weights @ self._squares) / sizes - mean * mean, 0))

    def jitter(self, weights: Floats) -> Floats:
        """Give the mean of |D| of each resample; the seams between blocks contribute none."""
        return np.asarray((weights @ self._changes) / np.maximum(weights @ self._change_counts, 1))

    def quantiles(self, weights: Floats, levels: list[float]) -> dict[float, Floats]:
        """Give quantiles of each resample."""
        result: dict[float, list[Floats]] = {p: [] for p in levels}
        # In portions of resamples: the counts of all of them at once would need more memory than the samples.
        for portion in np.array_split(weights, max(1, len(weights) // 250)):
            counts = self._bin_counts(portion)
            cumulative = np.cumsum(counts, axis=1, dtype=np.float64)
            for p in levels:
                result[p].append(self._quantile(counts, cumulative, p))
        return {p: np.concatenate(parts) for p, parts in result.items()}

    def _bin_counts(self, weights: Floats) -> npt.NDArray[Any]:
        if self._order is not None:
            return weights[:, self._order]
        assert self._histograms is not None
        return weights.astype(np.float32) @ self._histograms

    def _quantile(self, counts: npt.NDArray[Any], cumulative: Floats, p: float) -> Floats:
        """Find position (n - 1) p among the weighted bins, and interpolate within its bin."""
        total = cumulative[:, -1]
        position = (total - 1) * p
        bins = np.minimum((cumulative <= position[:, None]).sum(axis=1), counts.shape[1] - 1)
        rows = np.arange(len(counts))
        within = counts[rows, bins].astype(np.float64)
        before = cumulative[rows, bins] - within
        share = np.clip((position - before) / np.maximum(within, 1), 0, 1)
        low = self._edges[bins]
        return np.asarray(low + share * (self._edges[bins + 1] - low))


def _edges(sample: Sample) -> Floats:
    """Place bin edges at quantiles, denser in the tails; a value that repeats much gets a bin of its own."""
    if len(sample) <= CELLS:
        return np.empty(0)
    tail = np.geomspace(1 / len(sample), 1 / CELLS, _TAIL_BINS)
    levels = np.unique(np.concatenate([np.linspace(0, 1, CELLS + 1), tail, 1 - tail]))
    placed = np.array(sample.quantiles(levels.tolist()))
    repeated = placed[1:][np.diff(placed) == 0]
    top = np.nextafter(placed[-1], np.inf)
    return np.unique(np.concatenate([placed, np.nextafter(repeated, np.inf), [top]]))
