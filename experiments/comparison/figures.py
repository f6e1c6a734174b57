"""Figures of two sides with their differences, intervals and claims."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from daemons.measurement.percentile import PERCENTILES, minimum_samples
from experiments.comparison.model import Figure, Metric
from experiments.comparison.verdict import CLAIMS
from experiments.results.series import Floats
from experiments.statistics.bootstrap import REPETITIONS, Interval, Resamples, interval
from experiments.statistics.describe import Description
from experiments.statistics.loss import Loss, difference_interval

__all__ = ["BEYOND_PERCENTILE", "Evidence", "Options", "delay_figures", "loss_figure"]

# An interval for a percentile needs this many effective samples beyond it; with 10, p95 is covered only 9 times in 10.
BEYOND_PERCENTILE = 20
_NAMES = ("mean", "median", "p95", "p99", "p999", "min", "max", "stddev", "jitter")
_HAVE_RATIO = {"stddev", "jitter"}


@dataclass(frozen=True)
class Options:
    """How to compare.

    Attributes:
        metric: which latency.
        margin_ms: a smaller difference in delay is not worth naming.
        confidence: of the intervals.
        seed: of the resampling.
        repetitions: of the resampling.
        round_trip: the samples were measured with one clock, and of requests none was lost unnoticed.
    """

    metric: Metric = "end_to_end_ms"
    margin_ms: float = 0.05
    confidence: float = 0.95
    seed: int = 1
    repetitions: int = REPETITIONS
    round_trip: bool = False

    @property
    def joint_confidence(self) -> float:
        """Give the confidence of each claim for which all of them together have ``confidence``."""
        return 1 - (1 - self.confidence) / len(CLAIMS)


@dataclass(frozen=True)
class Evidence:
    """The resamples that intervals come from; none without the CSV files."""

    resamples: tuple[Resamples, ...] = ()

    @property
    def blocks(self) -> float:
        """Give the number of independent blocks of the poorer side."""
        return min((one.blocks for one in self.resamples), default=0.0)

    def why_no_interval(self, p: float) -> str:
        """Say why a figure at percentile ``p`` gets no interval, or ""."""
        if not self.resamples:
            return "no interval: needs the CSV files"
        effective = min(one.effective_count for one in self.resamples)
        needed = BEYOND_PERCENTILE / (1 - p)
        if effective < needed:
            return f"not enough samples: worth {effective:,.0f} independent ones, an interval needs {needed:,.0f}"
        return ""

    def interval(self, resampled: Floats, estimate: float, confidence: float) -> Interval:
        """Give the interval of a resampled figure."""
        return interval(resampled, estimate, self.resamples, confidence)


def delay_figures(one: Description, two: Description, evidence: Evidence, options: Options, note: str) -> list[Figure]:
    """Make all figures of delay and jitter.

    Args:
        one: the first side.
        two: the second side.
        evidence: what intervals come from.
        options: of the comparison.
        note: why there are no figures, when a side has no sample for a reason other than their number.
    """
    count = min(one.count, two.count)
    resampled = _resampled(evidence.resamples, count)
    figures = []
    for name in _NAMES:
        needed = minimum_samples(PERCENTILES.get(name, 0.5))
        why = note or f"not enough samples: {count:,}, needs {needed:,}"
        if not note and count >= needed:
            why = "a results file does not tell it, and there are no rows to compute it from"
        a, b = getattr(one, name), getattr(two, name)
        if a is None or b is None:
            figures.append(Figure(name=name, unit="ms", first=a, second=b, note=why))
        else:
            figures.append(_figure(name, (a, b), resampled.get(name), evidence, options))
    return figures


def _figure(
    name: str,
    values: tuple[float, float],
    resampled: Sequence[Floats] | None,
    evidence: Evidence,
    options: Options,
) -> Figure:
    a, b = values
    relative = b / a - 1 if name in _HAVE_RATIO and a > 0 else None
    # Extremes grow with the sample and have no interval.
    why = "" if name in {"min", "max"} else evidence.why_no_interval(PERCENTILES.get(name, 0.5))
    if resampled is None or why:
        return Figure(name=name, unit="ms", first=a, second=b, difference=b - a, relative=relative, note=why)
    of_difference = resampled[1] - resampled[0]
    of_ratio = None if relative is None else resampled[1] / np.maximum(resampled[0], np.finfo(float).tiny) - 1
    decisive, estimate = (of_difference, b - a) if of_ratio is None or relative is None else (of_ratio, relative)
    return Figure(
        name=name,
        unit="ms",
        first=a,
        second=b,
        difference=b - a,
        interval=evidence.interval(of_difference, b - a, options.confidence),
        relative=relative,
        relative_interval=(
            None if of_ratio is None or relative is None else evidence.interval(of_ratio, relative, options.confidence)
        ),
        claim=name in CLAIMS and evidence.interval(decisive, estimate, options.joint_confidence).excludes(0),
    )


def _resampled(resamples: Sequence[Resamples], count: int) -> dict[str, list[Floats]]:
    """Compute every figure that has an interval in every resample of each side."""
    if not resamples:
        return {}
    levels = {name: p for name, p in PERCENTILES.items() if count >= minimum_samples(p)}
    quantiles = [side.quantiles(list(levels.values())) for side in resamples]
    return {
        "mean": [side.mean() for side in resamples],
        "stddev": [side.stddev() for side in resamples],
        "jitter": [side.jitter() for side in resamples],
        **{name: [found[p] for found in quantiles] for name, p in levels.items()},
    }


def loss_figure(one: Loss | None, two: Loss | None, options: Options) -> Figure:
    """Make the figure of loss."""
    rates = [side.rate if side is not None and side.expected else None for side in (one, two)]
    if one is None or two is None or None in rates:
        note = "not known on both: a feed has no sequence numbers; race the paths to see what each loses"
        return Figure(name="loss", unit="share", first=rates[0], second=rates[1], note=note)
    return Figure(
        name="loss",
        unit="share",
        first=one.rate,
        second=two.rate,
        difference=two.rate - one.rate,
        interval=difference_interval(one, two, options.confidence),
        claim=difference_interval(one, two, options.joint_confidence).excludes(0),
    )
