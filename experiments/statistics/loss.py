"""Loss: how many events a path should have brought, how many it did not, and how sure that is.

Losses come in bursts. The interval of a difference is Newcombe's hybrid score interval (Statistics in Medicine 17,
1998, method 10), which also holds for zero losses, with the samples divided by the design effect: how much more the
loss varies than independent losses would, from one stretch of the run to another, and because several events in a
row go together (a compound Poisson process: the mean square of the burst lengths divided by their mean).
"""

import math
from statistics import NormalDist

import msgspec
import numpy as np

from experiments.results.series import Flags, Floats, Integers, PathSeries
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


def from_flags(missing: Flags) -> Loss:
    """Count from one flag per expected event, in order."""
    if not len(missing):
        return Loss(0, 0)
    edges = boundaries(len(missing))
    ends = np.flatnonzero(np.diff(np.concatenate([[False], missing, [False]]).view(np.int8)))
    bursts = ends[1::2] - ends[::2]
    return _from_cells(np.add.reduceat(missing, edges[:-1], dtype=np.int64), np.diff(edges), bursts)


def from_sequences(series: PathSeries) -> Loss | None:
    """Count from a forwarder's sequence numbers, or None when the path has none.

    A number beyond the highest seen adds the skipped ones as lost; one that arrives late takes one loss back; a
    repeated one counts as nothing; one that falls far back, or back to 1, begins a new session. What a forwarder
    numbered between two runs belongs to neither.
    """
    numbered = np.flatnonzero(series.sequence > 0)
    if not len(numbered):
        return None
    numbers = series.sequence[numbered]
    runs = np.searchsorted(numbered, series.parts[1:])
    lost, expected = [], []
    for session in np.split(numbers, np.union1d(_restarts(numbers), runs)):
        if not len(session):
            continue
        highest = np.maximum.accumulate(session)
        before = np.concatenate([session[:1] - 1, highest[:-1]])
        skipped = np.maximum(session - before - 1, 0)
        _, first_seen = np.unique(session, return_index=True)
        fresh = np.zeros(len(session), bool)
        fresh[first_seen] = True
        late = fresh & (session < before)
        lost.append(skipped - late)
        expected.append(np.where(fresh & ~late, skipped + 1, 0))
    starts = boundaries(len(numbers))[:-1]
    gaps = np.concatenate(lost)
    wanted = np.concatenate(expected)
    return _from_cells(np.add.reduceat(gaps, starts), np.add.reduceat(wanted, starts), gaps[gaps > 0])


def _restarts(numbers: Integers) -> Integers:
    step = np.diff(numbers)
    return np.flatnonzero((step < -_RESTART_DISTANCE) | ((numbers[1:] == 1) & (step < 0))) + 1


def _from_cells(lost: Integers, expected: Integers, bursts: Integers) -> Loss:
    """Sum up stretches of the run, and measure how unevenly the loss is spread over and within them."""
    total_lost, total = int(lost.sum()), int(expected.sum())
    if not total_lost:
        return Loss(total, 0)
    rate = total_lost / total
    residual: Floats = lost - rate * expected
    variance = dependence(residual).long_run_variance * len(residual)
    independent = total * rate * (1 - rate)
    within = float((bursts.astype(float) ** 2).mean() / bursts.mean())
    return Loss(total, total_lost, max(1.0, within, variance / independent) if independent > 0 else 1.0)


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
    """Give the interval of the second rate minus the first.

    The larger design effect counts for both: a side without loss shows nothing of how its losses would come.
    """
    effect = max(first.design_effect, second.design_effect)
    one, two = (wilson(Loss(side.expected, side.lost, effect), confidence) for side in (first, second))
    difference = second.rate - first.rate
    low = difference - math.hypot(second.rate - two.low, one.high - first.rate)
    high = difference + math.hypot(two.high - second.rate, first.rate - one.low)
    return Interval(low, high, confidence)
