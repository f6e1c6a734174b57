"""What a percentile is, and how many samples one needs to be shown: the one definition of everything that tells any."""

import math
from typing import Final, NamedTuple

__all__ = ["PERCENTILES", "Place", "between", "minimum_samples", "place"]

PERCENTILES: Final = {"median": 0.5, "p95": 0.95, "p99": 0.99, "p999": 0.999}
"""Those of every table, file and page, by their names."""
_TAIL_RISK = 0.025


class Place(NamedTuple):
    """Where a percentile lies among the samples in order, which are counted from 0.

    Attributes:
        below: the sample below it.
        above: the one above; the same at the end.
        share: of the way from the one to the other.
    """

    below: int
    above: int
    share: float


def place(level: float, count: int) -> Place:
    """Find percentile ``level`` (0 to 1) of so many samples, at least one: it lies at position (count - 1) level.

    This is type 7 of Hyndman and Fan, "Sample quantiles in statistical packages", The American Statistician 50 (1996),
    and what numpy, R and spreadsheets do unless told otherwise. The percentile of differences taken the other way
    round is then the same figure with the other sign, at ``1 - level``; by a rank alone it would be another sample.

    >>> place(0.5, 4)
    Place(below=1, above=2, share=0.5)
    """
    position = (count - 1) * level
    below = min(int(position), count - 1)
    return Place(below, min(below + 1, count - 1), position - below)


def between(low: float, high: float, share: float) -> float:
    """Return what lies so far from one sample to the next, from the nearer of both, so that it never leaves them."""
    return low + (high - low) * share if share < 0.5 else high - (high - low) * (1 - share)


def minimum_samples(level: float) -> int:
    """Give the smallest sample for which percentile ``level`` is shown.

    It is the smallest n whose largest value exceeds the percentile with 97.5 % probability (level^n <= 0.025), that
    is, for which a two-sided 95 % confidence interval between order statistics exists (David and Nagaraja, Order
    Statistics, section 7.1): 72 for p95, 368 for p99, 3,688 for p99.9. Below it the figure would be the
    largest sample under another name.

    >>> [minimum_samples(level) for level in PERCENTILES.values()]
    [6, 72, 368, 3688]
    """
    return math.ceil(math.log(_TAIL_RISK) / math.log(max(level, 1 - level)))
