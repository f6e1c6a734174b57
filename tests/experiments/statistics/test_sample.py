"""Figures of a series that is gone through in pieces, held against numpy's of all of it at once."""

import numpy as np
import pytest

from experiments.results import columns
from experiments.statistics.sample import Sample


def _series(random: np.random.Generator) -> np.ndarray:
    count = int(random.integers(1, 400))
    kind = random.integers(0, 5)
    values = random.normal(100, 5, count)
    if kind == 1:
        values = np.round(values)
    if kind == 2:
        values = np.full(count, 7.25)
    if kind == 3:
        values[random.random(count) < 0.9] = 100.0
    if kind == 4:
        values = random.standard_cauchy(count)
    return values


@pytest.mark.parametrize("at_once", [1, 8, 10**6])
def test_order_statistics_are_numpys_to_the_last_bit(at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(columns, "_IN_MEMORY", 128)
    monkeypatch.setattr("experiments.statistics.sample._LOOK_AT", 3)
    random = np.random.default_rng(at_once)
    for _ in range(60):
        monkeypatch.setattr(columns, "PIECE", int(random.integers(1, 200)))
        values = _series(random)
        levels = [0.0, 1.0, *random.random(20), 0.5, 0.95, 0.99, 0.999]
        sample = Sample(values, at_once)
        assert sample.quantiles(levels) == np.quantile(values, levels).tolist()
        assert sample.count(values[0]) == (values == values[0]).sum()
        limits = np.sort(random.normal(100, 5, 9))
        assert sample.counts_between(limits).tolist() == np.histogram(values, limits)[0].tolist()


@pytest.mark.parametrize("at_once", [1, 8, 10**6])
def test_the_opposites_are_those_of_a_series_that_is_sorted_anew(at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(columns, "_IN_MEMORY", 128)
    random = np.random.default_rng(at_once)
    for _ in range(60):
        monkeypatch.setattr(columns, "PIECE", int(random.integers(1, 200)))
        values = _series(random)
        levels, limits = random.random(20).tolist(), np.sort(random.normal(-100, 5, 9))
        turned, anew = Sample(values, at_once).negated(), Sample(-values)
        assert turned.values.tolist() == anew.values.tolist()
        assert turned.quantiles(levels) == anew.quantiles(levels)
        assert turned.counts_between(limits).tolist() == anew.counts_between(limits).tolist()
        assert turned.count(-values[0]) == anew.count(-values[0])


@pytest.mark.parametrize("at_once", [1, 8, 10**6])
def test_moments_are_numpys(at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(at_once)
    for _ in range(60):
        monkeypatch.setattr(columns, "PIECE", int(random.integers(1, 200)))
        values = np.append(_series(random), 3.5)
        sample = Sample(values, at_once)
        assert sample.mean == pytest.approx(values.mean(), rel=1e-12)
        assert sample.variance(1) == pytest.approx(values.var(ddof=1), rel=1e-12)
        assert sample.mean_change() == pytest.approx(np.abs(np.diff(values)).mean(), rel=1e-12)
