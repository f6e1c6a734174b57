"""How strongly a series depends on its own past, and hence how long the blocks of a block bootstrap must be."""

import math
from typing import NamedTuple

import numpy as np

from experiments.results.series import Floats

__all__ = ["Dependence", "dependence"]


class Dependence(NamedTuple):
    """Dependence within a series.

    Attributes:
        block_length: the length that minimises the mean squared error of the circular block bootstrap's variance.
        long_run_variance: n times the variance of the mean of n values.
        slope: sum of |k| R(k): blocks of length b see a variance too small by slope / b, because they cut off the
            dependence across their ends.
    """

    block_length: int
    long_run_variance: float
    slope: float = 0.0


def dependence(series: Floats) -> Dependence:
    """Measure dependence by the flat-top spectral estimate at frequency zero.

    Politis and White, "Automatic block-length selection for the dependent bootstrap", Econometric Reviews 23
    (2004), with the correction of Patton, Politis and White (2009): b = (2 G^2 / D)^(1/3) n^(1/3) where
    G = sum lambda(k/M) |k| R(k), D = 4/3 g(0)^2, g(0) = sum lambda(k/M) R(k); M is twice the lag after which
    K autocorrelations in a row are within 2 sqrt(log10(n)/n). At most 3 sqrt(n) and n/3.
    """
    n = len(series)
    centred = series - series.mean() if n else series
    variance = float(np.dot(centred, centred)) / n if n else 0.0
    if n < 8 or variance <= 0:
        return Dependence(1, variance)
    run = max(5, math.ceil(math.sqrt(math.log10(n))))
    lags = min(n - 1, math.ceil(math.sqrt(n)) + run)
    covariance = np.array([float(np.dot(centred[: n - k], centred[k:])) / n for k in range(lags + 1)])
    small = np.abs(covariance[1:] / variance) < 2 * math.sqrt(math.log10(n) / n)
    cutoff = _last_correlated_lag(small, run)
    width = max(1, min(2 * cutoff, lags))
    k = np.arange(1, width + 1)
    weight = np.clip(2 * (1 - k / width), 0, 1)
    tapered = weight * covariance[1 : width + 1]
    spectrum = variance + 2 * float(tapered.sum())
    slope = 2 * float((tapered * k).sum())
    longest = math.ceil(min(3 * math.sqrt(n), n / 3))
    if spectrum <= 0:
        # The flat-top window is not positive definite; a negative estimate means strong anti-correlation.
        return Dependence(min(longest, max(1, cutoff)), variance)
    best = (2 * slope**2 / (4 / 3 * spectrum**2)) ** (1 / 3) * n ** (1 / 3)
    return Dependence(max(1, min(longest, math.ceil(best))), spectrum, slope)


def _last_correlated_lag(small: np.ndarray[tuple[int], np.dtype[np.bool_]], run: int) -> int:
    """Give the lag before the first ``run`` insignificant ones in a row, or else the last significant one."""
    for lag in range(len(small) - run + 1):
        if small[lag : lag + run].all():
            return lag
    significant = np.flatnonzero(~small)
    return int(significant[-1]) + 1 if len(significant) else 0
