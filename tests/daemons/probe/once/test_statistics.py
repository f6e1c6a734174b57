"""What --once says of a sample: each figure by an independent reckoning, and none that the sample cannot tell."""

import random

import numpy as np
import pytest

from daemons.measurement.histogram import QuantileHistogram
from daemons.measurement.percentile import minimum_samples
from daemons.probe.once.statistics import summary

QUANTILES = (("p95_ms", 0.95), ("p99_ms", 0.99), ("p999_ms", 0.999))


@pytest.mark.parametrize(
    "count", [1, 2, 3, 20, 100, *(minimum_samples(at) + more for _, at in QUANTILES for more in (-1, 0))]
)
def test_no_quantile_of_too_few_samples_and_the_right_one_of_enough(count: int) -> None:
    draw = random.Random(count)
    values_ns = [draw.randrange(1_000_000, 500_000_000) for _ in range(count)]
    histogram = QuantileHistogram()
    for value_ns in values_ns:
        histogram.record(value_ns)
    told = summary(histogram)
    ranked = sorted(values_ns)
    for name, at in QUANTILES:
        value_ms = told[name]  # type: ignore[literal-required]
        if count < minimum_samples(at):
            assert value_ms is None
        else:
            assert value_ms == pytest.approx(np.quantile(values_ns, at) / 1e6, rel=0.001)
    # Of however few: a measurement of three requests has nothing else to say.
    assert told["median_ms"] == pytest.approx(np.median(values_ns) / 1e6, rel=0.001)
    assert (told["min_ms"], told["max_ms"]) == pytest.approx((ranked[0] / 1e6, ranked[-1] / 1e6), rel=0.001)
    assert told["sample_count"] == count
    assert told["avg_ms"] == pytest.approx(sum(values_ns) / count / 1e6, rel=0.001)


def test_nothing_is_said_of_no_sample() -> None:
    told = summary(QuantileHistogram())
    assert told.pop("sample_count") == 0  # type: ignore[misc]
    assert set(told.values()) == {None}
