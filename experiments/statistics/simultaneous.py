"""Differences of all pairs of several paths, with intervals that hold together.

Of ten paths there are 45 pairs: intervals that hold for each at 95 % would be wrong for some pair in most runs. Here
the largest of all deviations decides (max-t; Westfall and Young, Resampling-Based Multiple Testing, 1993; Romano and
Wolf, "Exact and approximate stepdown methods for multiple hypothesis testing", Journal of the American Statistical
Association 100, 2005): each pair's deviation in a resample is divided by its own standard deviation, the largest of
each resample is taken, and its quantile is the width of all, in standard deviations. The resamples are of the same
blocks for all paths, so what they share cancels, and pairs that depend on each other cost less than Bonferroni's rule
would charge. The number of blocks is made up for as in :mod:`experiments.statistics.bootstrap`.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from statistics import NormalDist

import numpy as np

from experiments.results.series import Floats, Integers
from experiments.statistics.bootstrap import (
    CALIBRATION,
    REPETITIONS,
    Resamples,
    block_length,
    block_weights,
    stretch_of,
    student_t,
)
from experiments.statistics.cells import boundaries
from experiments.statistics.dependence import Dependence, dependence

__all__ = ["Leads", "all_pairs", "median_leads"]

# Of the figures themselves: what rounding leaves where all resamples agree is no spread.
_ROUNDING = 1e-12


@dataclass(frozen=True)
class Leads:
    """The median lead of each path over each other, in milliseconds: positive where the row is earlier than the column.

    Attributes:
        median: paths x paths.
        low: ends of the intervals, which hold together; NaN where there is too little evidence for one.
        high: likewise.
        block_samples: length of the resampled blocks, in events.
        blocks: how many such blocks there are.
        effective_count: independent events that would tell as much of the pair that is known worst.
    """

    median: Floats
    low: Floats
    high: Floats
    block_samples: int
    blocks: float
    effective_count: float

    @property
    def scores(self) -> Floats:
        """Give how much later each path is than the field: least squares over all pairs, in milliseconds.

        Medians of differences need not add up; these are the positions on one line that contradict them least (Jiang,
        Lim, Yao and Ye, "Statistical ranking and combinatorial Hodge theory", Mathematical Programming 127, 2011).
        """
        return np.asarray(-self.median.mean(axis=1))

    def ordered(self, order: Sequence[int]) -> "Leads":
        """Give the same with the paths in another order."""
        places = np.ix_(order, order)
        return replace(self, median=self.median[places], low=self.low[places], high=self.high[places])


def median_leads(
    arrival_ns: Integers, confidence: float, seed: int, repetitions: int = REPETITIONS, *, fewest: float = 40
) -> Leads:
    """Compare all pairs of paths by the median lead.

    In each resample the share of events beyond a pair's median lead says how far the median is off, in probability; the
    intervals end at the quantiles that lie so far from the median. So they need no density, and need not be symmetric.

    Args:
        arrival_ns: paths x events, in order of time.
        confidence: that no interval of all of them misses its truth: 0.95 for 95 %.
        seed: the same seed gives the same resamples.
        repetitions: number of resamples.
        fewest: independent events that an interval needs.
    """
    events = arrival_ns.shape[1]
    starts = boundaries(events)
    sizes = np.diff(starts).astype(np.float64)
    # One pair at a time: of ten paths there are 45, each as long as the run.
    summed = [(np.add.reduceat(beyond, starts[:-1]), _power(beyond)) for beyond in map(_beyond, _leads(arrival_ns))]
    sums = np.stack([one for one, _ in summed], axis=1)
    found = [dependence(shares) for shares in (sums / sizes[:, None]).T]
    length = block_length(found, len(sizes))
    weights = block_weights(len(sizes), length, repetitions, np.random.default_rng(seed))
    off = np.abs((weights @ sums) / (weights @ sizes)[:, None])
    stretch = np.array([stretch_of(one, length) for one in found])
    blocks = len(sizes) / length
    reach = _together(off, confidence, blocks) * stretch
    powers = [power for _, power in summed]
    worth = min(_effective(events, power, known, len(sizes)) for power, known in zip(powers, found, strict=True))
    median, low, high = _ends(arrival_ns, reach)
    if worth < fewest:
        low, high = np.full_like(low, np.nan), np.full_like(high, np.nan)
    return Leads(median, low, high, math.ceil(length * events / len(sizes)), blocks, worth)


def all_pairs(resampled: Floats, estimates: Floats, evidence: Sequence[Resamples], confidence: float) -> Floats:
    """Give how far the difference of each pair's figures may be off, all of them together.

    Args:
        resampled: resamples x paths: the figure in each.
        estimates: the figure of each path.
        evidence: the resamples that it was computed from.
        confidence: that no interval of all of them misses its truth: 0.95 for 95 %.

    Returns:
        Paths x paths: the half width of the interval around the difference of the two figures.
    """
    count = len(estimates)
    first, second = np.triu_indices(count, 1)
    deviation = resampled - estimates
    off = np.abs(deviation[:, second] - deviation[:, first])
    off[off <= _ROUNDING * (1 + np.abs(estimates).max())] = 0.0
    stretch = max(one.stretch for one in evidence)
    half = np.zeros((count, count))
    half[first, second] = half[second, first] = stretch * _together(
        off, confidence, min(one.blocks for one in evidence)
    )
    return half


def _leads(arrival_ns: Integers) -> Iterator[Floats]:
    """Give the leads of the first over the second, in milliseconds, pair by pair."""
    for first, second in zip(*np.triu_indices(len(arrival_ns), 1), strict=True):
        yield (arrival_ns[second] - arrival_ns[first]) / 1e6


def _beyond(lead: Floats) -> Floats:
    """Give on which side of the median each event is: a half, less a half, or 0 on it."""
    return np.asarray(np.sign(lead - np.median(lead)) / 2)


def _together(off: Floats, confidence: float, blocks: float) -> Floats:
    """Give how far each of several figures may be off, so that none is missed.

    Args:
        off: resamples x figures: the absolute deviations.
        confidence: that all hold.
        blocks: how many independent blocks there are.
    """
    spread: Floats = np.sqrt((off * off).mean(axis=0))
    uncertain = spread > 0
    if not uncertain.any():
        return spread
    largest = (off[:, uncertain] / spread[uncertain]).max(axis=1)
    critical = float(np.quantile(largest, 1 - CALIBRATION * (1 - confidence)))
    return np.asarray(_for_blocks(critical, blocks) * spread)


def _for_blocks(critical: float, blocks: float) -> float:
    """Widen what holds for endlessly many blocks to what holds for so many, by Student's t at the same level."""
    if blocks <= 2:
        return critical
    degrees = blocks - 1
    # Beyond 6 standard deviations the level rounds to nothing.
    level = NormalDist().cdf(-min(critical, 6.0))
    return max(critical, math.sqrt(blocks / degrees) * student_t(1 - level, degrees))


def _power(beyond: Floats) -> float:
    return float((beyond * beyond).mean())


def _effective(events: int, power: float, found: Dependence, cells: int) -> float:
    """Give how many independent events would tell as much of a median: what varies, against what it varies by."""
    if found.long_run_variance <= 0:
        return float(events)
    return min(float(events), power * cells / found.long_run_variance)


def _ends(arrival_ns: Integers, reach: Floats) -> tuple[Floats, Floats, Floats]:
    """Give the median leads, and the quantiles that lie so far from them in probability; antisymmetric."""
    count = len(arrival_ns)
    median, low, high = (np.zeros((count, count)) for _ in range(3))
    pairs = zip(*np.triu_indices(count, 1), strict=True)
    for (first, second), lead, far in zip(pairs, _leads(arrival_ns), reach.tolist(), strict=True):
        levels = [0.5, max(0.0, 0.5 - far), min(1.0, 0.5 + far)]
        middle, least, most = np.quantile(lead, levels).tolist()
        median[first, second], median[second, first] = middle, -middle
        low[first, second], high[first, second] = least, most
        low[second, first], high[second, first] = -most, -least
    return median, low, high
