"""A series summarised as at most a few thousand consecutive cells, from which resamples are computed.

A block bootstrap of ten million samples cannot copy them a thousand times, and need not. A resample made of blocks
is determined by how often it contains each cell; its mean, variance and jitter are weighted sums over cells,
and its quantiles follow from a weighted sum of the cells' histograms. With up to ``CELLS`` samples each is a cell of
its own and all of this is exact; above, the blocks start on cell boundaries, and quantiles interpolate within
histogram bins that hold 1/2048 of the samples, and less in the tails.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from experiments.results.series import Floats, Integers

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
        step_means: the mean of |D| in each cell.
    """

    def __init__(self, values: Floats) -> None:
        self.starts = boundaries(len(values))
        self.count = len(values)
        first = self.starts[:-1]
        self._centre = float(np.median(values[:: max(1, len(values) // 4096)]))
        centred = values - self._centre
        self._sizes = np.diff(self.starts).astype(np.float64)
        self._sums = np.add.reduceat(centred, first)
        self._squares = np.add.reduceat(centred * centred, first)
        self.means = self._sums / self._sizes
        steps = np.abs(np.diff(values, prepend=values[:1]))
        self._steps = np.add.reduceat(steps, first)
        self._step_counts = self._sizes.copy()
        self._step_counts[0] -= 1
        self.step_means = self._steps / np.maximum(self._step_counts, 1)
        self._edges = _edges(values)
        self._order: Integers | None = None
        self._histograms: npt.NDArray[np.float32] | None = None
        if self.count == len(first):
            self._order = np.argsort(values, kind="stable")
            self._edges = np.append(values[self._order], values[self._order[-1]])
        else:
            self._histograms = self._count_bins(values)

    def __len__(self) -> int:
        return len(self.starts) - 1

    def exceedances(self, values: Floats, p: float) -> Floats:
        """Give each cell's share of values above percentile ``p``; its dependence may outlast that of the mean."""
        above = (values > np.quantile(values, p)).astype(np.float64)
        return np.asarray(np.add.reduceat(above, self.starts[:-1]) / self._sizes)

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
        return np.asarray((weights @ self._steps) / np.maximum(weights @ self._step_counts, 1))

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

    def _count_bins(self, values: Floats) -> npt.NDArray[np.float32]:
        bins = len(self._edges) - 1
        histograms = np.empty((len(self), bins), np.float32)
        for cell in range(len(self)):
            piece = values[self.starts[cell] : self.starts[cell + 1]]
            found = np.searchsorted(self._edges, piece, side="right") - 1
            histograms[cell] = np.bincount(np.minimum(found, bins - 1), minlength=bins)
        return histograms


def _edges(values: Floats) -> Floats:
    """Place bin edges at quantiles, denser in the tails; a value that repeats much gets a bin of its own."""
    if len(values) <= CELLS:
        return np.empty(0)
    tail = np.geomspace(1 / len(values), 1 / CELLS, _TAIL_BINS)
    levels = np.unique(np.concatenate([np.linspace(0, 1, CELLS + 1), tail, 1 - tail]))
    placed = np.quantile(values, levels)
    repeated = placed[1:][np.diff(placed) == 0]
    top = np.nextafter(placed[-1], np.inf)
    return np.unique(np.concatenate([placed, np.nextafter(repeated, np.inf), [top]]))
