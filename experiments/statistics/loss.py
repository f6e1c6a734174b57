"""Loss: how many events a path should have brought, how many it did not, and how sure that is.

Losses come in bursts. The interval of a difference is Newcombe's hybrid score interval (Statistics in Medicine 17,
1998, method 10), which also holds for zero losses, with the samples divided by the design effect: how much more the
loss varies from one stretch of the run to another than independent losses would.
"""

import math
from statistics import NormalDist
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from experiments.results.series import Integers, PathSeries
from experiments.statistics.bootstrap import Interval
from experiments.statistics.cells import boundaries
from experiments.statistics.dependence import dependence

__all__ = ["Loss", "difference_interval", "from_flags", "from_sequences", "wilson"]

# A sequence that falls back by more than this is a new session, not a late event (RFC 4737 reordering is local).
_RESTART_DISTANCE = 1024


class Loss(msgspec.Struct, frozen=True):
    """Lost events of a path.

    Attributes:
        expected: events the path should have brought.
        lost: how many of them it did not.
        design_effect: variance of the rate relative to independent losses; at least 1.
    """

    expected: int
    lost: int
    design_effect: float = 1.0

    @property
    def rate(self) -> float:
        """Give the share lost, 0 to 1."""
        return self.lost / self.expected if self.expected else 0.0

    @property
    def effective_count(self) -> float:
        """Give the number of independent events that would tell as much."""
        return self.expected / self.design_effect


def from_flags(missing: npt.NDArray[np.bool_]) -> Loss:
    """Count from one flag per expected event, in order."""
    return _from_counts(missing.astype(np.int64), np.ones(len(missing), np.int64))


def from_sequences(series: PathSeries) -> Loss | None:
    """Count from a forwarder's sequence numbers, or None when the path has none.

    A number beyond the highest seen adds the skipped ones as lost; one that arrives late takes one loss back; a
    repeated one counts as nothing; one that falls far back, or back to 1, begins a new session.
    """
    numbers = series.sequence[series.sequence > 0]
    if not len(numbers):
        return None
    lost, expected = [], []
    for session in np.split(numbers, _restarts(numbers)):
        highest = np.maximum.accumulate(session)
        before = np.concatenate([session[:1] - 1, highest[:-1]])
        skipped = np.maximum(session - before - 1, 0)
        _, first_seen = np.unique(session, return_index=True)
        fresh = np.zeros(len(session), bool)
        fresh[first_seen] = True
        late = fresh & (session < before)
        lost.append(skipped - late)
        expected.append(np.where(fresh & ~late, skipped + 1, 0))
    return _from_counts(np.concatenate(lost), np.concatenate(expected))


def _restarts(numbers: Integers) -> Integers:
    step = np.diff(numbers)
    return np.flatnonzero((step < -_RESTART_DISTANCE) | ((numbers[1:] == 1) & (step < 0))) + 1


def _from_counts(lost: Integers, expected: Integers) -> Loss:
    total_lost, total = int(lost.sum()), int(expected.sum())
    if not total or not total_lost:
        return Loss(total, total_lost)
    starts = boundaries(len(lost))[:-1]
    rate = total_lost / total
    residual: npt.NDArray[Any] = np.add.reduceat(lost, starts) - rate * np.add.reduceat(expected, starts)
    variance = dependence(residual).long_run_variance * len(starts)
    independent = total * rate * (1 - rate)
    return Loss(total, total_lost, max(1.0, variance / independent) if independent > 0 else 1.0)


def wilson(loss: Loss, confidence: float) -> Interval:
    """Give Wilson's score interval of the rate, for the effective number of events."""
    n = loss.effective_count
    if n <= 0:
        return Interval(0.0, 1.0, confidence)
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    rate = loss.rate
    middle = (rate + z * z / (2 * n)) / (1 + z * z / n)
    reach = z * math.sqrt(rate * (1 - rate) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    return Interval(max(0.0, middle - reach), min(1.0, middle + reach), confidence)


def difference_interval(first: Loss, second: Loss, confidence: float) -> Interval:
    """Give the interval of the second rate minus the first."""
    one, two = wilson(first, confidence), wilson(second, confidence)
    difference = second.rate - first.rate
    low = difference - math.hypot(second.rate - two.low, one.high - first.rate)
    high = difference + math.hypot(two.high - second.rate, first.rate - one.low)
    return Interval(low, high, confidence)
