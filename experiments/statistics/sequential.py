"""Which of several doors is first, looked at again and again while they are raced.

Who looks after every block and stops when an interval leaves out 0 is wrong far more often than the interval says. The
intervals here hold at all looks together: asymptotic confidence sequences (Waudby-Smith, Arbour, Sinha, Kennedy and
Ramdas, "Time-uniform central limit theory and asymptotic confidence sequences", The Annals of Statistics 52, 2024,
theorem 2.2), one for each pair of doors, each with its share of the allowed error (Bonferroni), so that they also hold
for all pairs together. What is averaged is not events but blocks of fixed time: each door's median lag in a block.
Blocks that depend on each other, as a door that drifts makes them, are made up for by the largest variance that means
of 1, 2, 4 … blocks in a row show. A drift slower than all of the looking cannot be told from a better door.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from experiments.results.series import Floats, Integers

__all__ = ["FEWEST_BLOCKS", "Look", "look"]

FEWEST_BLOCKS = 30
"""Before so many blocks nothing is said: the sequence is asymptotic, and a drift must have had time to show."""
_TIGHTEST_AT = 120
"""After so many blocks the sequence is as tight as it can be made for one number of blocks (same paper, appendix)."""
_FEWEST_BATCHES = 6
"""Means of so many blocks that fewer than this remain of them say nothing of their variance."""


@dataclass(frozen=True)
class Look:
    """What is known after some blocks, in milliseconds; doors by number.

    Attributes:
        lead: doors x doors: the mean, over blocks, of how much earlier the row was than the column.
        reach: doors x doors: half the width of the interval; infinite where there are too few blocks.
        blocks: how many there are of the pair that has the fewest.
    """

    lead: Floats
    reach: Floats
    blocks: int

    @property
    def order(self) -> list[int]:
        """Give the doors, the earliest first."""
        return [int(door) for door in np.argsort(-self.lead.mean(axis=1), kind="stable")]

    def ahead(self, door: int, other: int, margin_ms: float = 0.0) -> bool:
        """Tell whether a door is shown to be earlier than another by more than a margin."""
        return bool(self.lead[door, other] - self.reach[door, other] > margin_ms)

    def best(self) -> int | None:
        """Give the door that is shown to be earlier than all others, or None."""
        first = self.order[0]
        return first if all(self.ahead(first, other) for other in range(len(self.lead)) if other != first) else None

    def none_better(self, margin_ms: float) -> bool:
        """Tell whether every lead is shown to be smaller than a margin: no door is worth a pin."""
        return self._alike(range(len(self.lead)), margin_ms)

    def leaders(self, margin_ms: float) -> list[int]:
        """Give the fewest doors that are shown to be alike within a margin, and each earlier than all others.

        Returns:
            All of them where none is worth a pin; none where more has to be seen.
        """
        order = self.order
        for count in range(1, len(order) + 1):
            first, rest = order[:count], order[count:]
            if self._alike(first, margin_ms) and all(
                self.ahead(door, other) and self.lead[door, other] >= margin_ms for door in first for other in rest
            ):
                return first
        return []

    def _alike(self, doors: Sequence[int], margin_ms: float) -> bool:
        chosen = np.ix_(doors, doors)
        small = np.abs(self.lead[chosen]) + self.reach[chosen] < margin_ms
        return bool(small[~np.eye(len(doors), dtype=bool)].all())


def look(lags_ms: Floats, confidence: float, among: int | None = None) -> Look:
    """Look at all blocks so far; may be called after every block.

    Args:
        lags_ms: blocks x doors: median lag of each door in each block; NaN where it brought nothing.
        confidence: that no interval of any pair at any look misses its truth: 0.95 for 95 %.
        among: among the pairs of how many doors the allowed error is divided; by default among those of these.
    """
    doors = lags_ms.shape[1]
    first, second = np.triu_indices(doors, 1)
    leads = lags_ms[:, second] - lags_ms[:, first]
    counts = (~np.isnan(leads)).sum(axis=0)
    lead, reach = np.zeros((doors, doors)), np.zeros((doors, doors))
    own = _means(lags_ms[None])[0]
    together = _means(leads[None])[0]
    # What never raced together is placed by what it was against the others; no interval says anything of it.
    lead[first, second] = np.nan_to_num(np.where(np.isnan(together), own[second] - own[first], together))
    lead -= lead.T
    alpha = (1 - confidence) / max(1, math.comb(among or doors, 2))
    reach[first, second] = reach[second, first] = _reach(leads, counts, alpha)
    return Look(lead, reach, int(counts.min(initial=len(leads))))


def _reach(leads: Floats, counts: Integers, alpha: float) -> Floats:
    """Give how far the mean of each column of dependent values may be off, at any time."""
    wanted = -2 * math.log(alpha)
    rho = (wanted + math.log(1 + wanted)) / _TIGHTEST_AT
    count = np.maximum(counts, 1)
    within = 2 * (count * rho + 1) / (count * count * rho) * np.log(np.sqrt(count * rho + 1) / alpha)
    return np.where(counts < FEWEST_BLOCKS, math.inf, np.sqrt(_long_run_variances(leads) * within))


def _long_run_variances(leads: Floats) -> Floats:
    """Give, of each column, the largest variance, for a single block, that means of blocks in a row show."""
    largest, size = np.zeros(leads.shape[1]), 1
    while len(leads) // size >= _FEWEST_BATCHES:
        batches = _means(leads[len(leads) % size :].reshape(-1, size, leads.shape[1]))
        known = ~np.isnan(batches)
        centred = np.where(known, batches - _means(batches[None])[0], 0.0)
        variance = (centred * centred).sum(axis=0) / np.maximum(known.sum(axis=0) - 1, 1)
        largest = np.maximum(largest, size * variance)
        size *= 2
    return largest


def _means(values: Floats) -> Floats:
    """Give the means over the middle axis of what is known; NaN where nothing is."""
    known = ~np.isnan(values)
    count = known.sum(axis=1)
    total = np.where(known, values, 0.0).sum(axis=1)
    means: Floats = np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0)
    return means
