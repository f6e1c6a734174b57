"""Descriptive figures of one series.

Percentiles interpolate linearly between the two neighbouring order statistics (type 7 of Hyndman and Fan, "Sample
quantiles in statistical packages", The American Statistician 50, 1996): percentile p of n sorted samples lies at
position (n - 1) p. A percentile that the sample is too small for is None.
"""

import msgspec
import numpy as np

from experiments.results.series import Floats
from experiments.statistics.sample_size import PERCENTILES, minimum_samples

__all__ = ["Description", "describe", "interarrival_jitter", "percentile"]


class Description(msgspec.Struct, frozen=True):
    """Figures of one series in its own unit; None where the sample is too small for the figure."""

    count: int
    mean: float | None = None
    median: float | None = None
    p95: float | None = None
    p99: float | None = None
    p999: float | None = None
    min: float | None = None
    max: float | None = None
    stddev: float | None = None
    jitter: float | None = None


def percentile(values: Floats, p: float) -> float | None:
    """Give percentile ``p`` (0 to 1) of unsorted values, or None when they are too few for it."""
    if len(values) < minimum_samples(p):
        return None
    return float(np.quantile(values, p, method="linear"))


def interarrival_jitter(values: Floats) -> float | None:
    """Give the run's mean of |D|, the transit difference of consecutive samples.

    RFC 3550 section 6.4.1 estimates it live as J += (|D| - J) / 16. Its expectation is the mean of |D|; the mean
    over the run is that figure without the noise of the estimator's last sixteen samples.
    """
    if len(values) < 2:
        return None
    return float(np.abs(np.diff(values)).mean())


def describe(values: Floats) -> Description:
    """Describe a series given in arrival order."""
    count = len(values)
    if not count:
        return Description(0)
    # One partial sort serves all percentiles.
    levels = [p for p in PERCENTILES.values() if count >= minimum_samples(p)]
    quantiles = dict(zip(levels, np.quantile(values, levels, method="linear").tolist(), strict=True))
    return Description(
        count=count,
        mean=float(values.mean()),
        min=float(values.min()),
        max=float(values.max()),
        stddev=float(values.std(ddof=1)) if count > 1 else None,
        jitter=interarrival_jitter(values),
        **{name: quantiles.get(p) for name, p in PERCENTILES.items()},
    )
