"""All pairs of a ranking: leads, wins and steadiness, with intervals that hold together for each figure."""

from collections.abc import Sequence
from itertools import combinations

import numpy as np

from daemons.measurement.percentile import PERCENTILES, minimum_samples
from experiments.comparison.figures import BEYOND_PERCENTILE, Options
from experiments.ranking.model import Gap, PathPair
from experiments.ranking.verdict import relation_of
from experiments.results.series import Floats, Integers
from experiments.statistics.bootstrap import Interval, Resamples, resample_paired
from experiments.statistics.simultaneous import Leads, all_pairs

__all__ = ["pairs_of"]

_TAILS = ("p95", "p99")


class _Differences:
    """One figure of every path's lags, and how far the differences between paths may be off together."""

    def __init__(self, values: Floats, half: Floats | None, confidence: float) -> None:
        self._values = values
        self._half = half
        self._confidence = confidence

    def gap(self, first: int, second: int) -> Gap:
        value = float(self._values[second] - self._values[first])
        if self._half is None:
            return Gap(value_ms=value)
        far = float(self._half[first, second])
        return Gap(value_ms=value, interval=Interval(value - far, value + far, self._confidence))


def pairs_of(
    names: Sequence[str], arrival_ns: Integers, leads: Leads, lags: Floats, options: Options, *, step_ms: float
) -> list[PathPair]:
    """Compare every path with every one after it.

    Args:
        names: in order of rank, as all that follows.
        arrival_ns: paths x events.
        leads: of all pairs.
        lags: paths x events, against the middle of the field.
        options: of the ranking.
        step_ms: in which arrivals were told; the intervals of leads are wider by it.
    """
    differences = _differences(lags, options)
    tails = [name for name in _TAILS if name in differences]
    found = []
    for first, second in combinations(range(len(names)), 2):
        lead = float(leads.median[first, second])
        low, high = float(leads.low[first, second]) - step_ms, float(leads.high[first, second]) + step_ms
        interval = None if np.isnan(low) else Interval(low, high, options.confidence)
        found.append(
            PathPair(
                first=names[first],
                second=names[second],
                lead=Gap(value_ms=lead, interval=interval),
                relation=relation_of(lead, interval, options.margin_ms),
                win_share=float((arrival_ns[first] < arrival_ns[second]).mean()),
                tie_share=float((arrival_ns[first] == arrival_ns[second]).mean()),
                steadiness=differences["stddev"].gap(first, second),
                **{name: differences[name].gap(first, second) for name in tails},
            )
        )
    return found


def _differences(lags: Floats, options: Options) -> dict[str, _Differences]:
    """Compute the figures of lags that the sample supports."""
    evidence = resample_paired(list(lags), options.seed, options.repetitions)
    worth = min(one.effective_count for one in evidence)
    levels = {name: PERCENTILES[name] for name in _TAILS if lags.shape[1] >= minimum_samples(PERCENTILES[name])}
    values = {"stddev": lags.std(axis=1, ddof=1), **{name: np.quantile(lags, p, axis=1) for name, p in levels.items()}}
    resampled = _resampled(evidence, levels)
    return {
        name: _Differences(
            one,
            all_pairs(resampled[name], one, evidence, options.confidence)
            if worth >= BEYOND_PERCENTILE / (1 - levels.get(name, 0.5))
            else None,
            options.confidence,
        )
        for name, one in values.items()
    }


def _resampled(evidence: Sequence[Resamples], levels: dict[str, float]) -> dict[str, Floats]:
    """Give resamples x paths for each figure."""
    quantiles = [path.quantiles(list(levels.values())) for path in evidence] if levels else []
    return {
        "stddev": np.stack([path.stddev() for path in evidence], axis=1),
        **{name: np.stack([path[p] for path in quantiles], axis=1) for name, p in levels.items()},
    }
