"""Descriptive figures of one series.

Percentiles are those of :mod:`daemons.measurement.percentile`. One that the sample is too small for is None.
"""

import math

import msgspec

from daemons.measurement.percentile import PERCENTILES, minimum_samples
from experiments.results.columns import Floats
from experiments.statistics.sample import Sample

__all__ = ["Description", "describe", "percentile"]


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


def percentile(values: Floats | Sample, p: float) -> float | None:
    """Give percentile ``p`` (0 to 1) of unsorted values, or None when they are too few for it."""
    if len(values) < minimum_samples(p):
        return None
    return Sample.of(values).quantile(p)


def describe(values: Floats | Sample) -> Description:
    """Describe a series given in arrival order."""
    count = len(values)
    if not count:
        return Description(0)
    sample = Sample.of(values)
    levels = {name: p for name, p in PERCENTILES.items() if count >= minimum_samples(p)}
    least, largest, *quantiles = sample.quantiles([0.0, 1.0, *levels.values()])
    return Description(
        count=count,
        mean=sample.mean,
        min=least,
        max=largest,
        stddev=math.sqrt(sample.variance(ddof=1)) if count > 1 else None,
        jitter=sample.mean_change(),
        **dict(zip(levels, quantiles, strict=True)),
    )
