"""How many samples a percentile needs to be shown at all."""

import math

__all__ = ["minimum_samples"]

_TAIL_RISK = 0.025


def minimum_samples(p: float) -> int:
    """Give the smallest sample for which percentile ``p`` is reported.

    It is the smallest n whose largest value exceeds the percentile with 97.5 % probability (p^n <= 0.025), that
    is, for which a two-sided 95 % confidence interval between order statistics exists (David and Nagaraja, Order
    Statistics, section 7.1): 72 for p95, 368 for p99, 3,688 for p99.9. Below it the figure would be the
    largest sample under another name.

    >>> [minimum_samples(p) for p in (0.5, 0.95, 0.99, 0.999)]
    [6, 72, 368, 3688]
    """
    return math.ceil(math.log(_TAIL_RISK) / math.log(max(p, 1 - p)))
