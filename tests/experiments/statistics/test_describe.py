import numpy as np
import pytest

from daemons.measurement.percentile import minimum_samples
from experiments.statistics.describe import describe, percentile


def test_percentiles_interpolate_between_neighbours() -> None:
    values = np.arange(1.0, 101.0)[::-1]
    assert percentile(values, 0.5) == 50.5
    assert percentile(values, 0.95) == pytest.approx(1 + 99 * 0.95)


@pytest.mark.parametrize(("p", "fewest"), [(0.5, 6), (0.95, 72), (0.99, 368), (0.999, 3688)])
def test_a_percentile_needs_a_sample_whose_largest_value_lies_beyond_it(p: float, fewest: int) -> None:
    assert minimum_samples(p) == fewest
    assert 1 - p**fewest >= 0.975 > 1 - p ** (fewest - 1)
    assert percentile(np.zeros(fewest - 1), p) is None
    assert percentile(np.zeros(fewest), p) == 0


def test_the_maximum_is_never_sold_as_p99() -> None:
    described = describe(np.append(np.full(99, 5.0), 64.58))
    assert described.p99 is None
    assert described.p95 == 5.0
    assert described.max == 64.58


def test_no_sample_gives_no_figure() -> None:
    described = describe(np.zeros(0))
    assert described.count == 0
    assert {getattr(described, name) for name in ("mean", "median", "min", "max", "stddev", "jitter")} == {None}


def test_one_sample_has_no_spread() -> None:
    described = describe(np.array([7.0]))
    assert (described.mean, described.stddev, described.jitter, described.median) == (7.0, None, None, None)


def test_jitter_is_what_the_estimator_of_rfc_3550_tends_to() -> None:
    values = np.random.default_rng(1).normal(size=200_000)
    estimates, estimate = [], 0.0
    for step in np.abs(np.diff(values)).tolist():
        estimate += (step - estimate) / 16
        estimates.append(estimate)
    assert describe(values).jitter == pytest.approx(np.mean(estimates[1000:]), rel=0.01)
    assert describe(values).jitter == pytest.approx(2 / np.sqrt(np.pi), rel=0.01)
