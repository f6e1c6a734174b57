"""Percentiles of the live account and of the experiments, each against numpy and so against each other."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemons.measurement.histogram import PRECISION_BITS, QuantileHistogram
from daemons.measurement.percentile import PERCENTILES, between, minimum_samples, place
from experiments.statistics.describe import percentile
from experiments.statistics.sample import Sample

LEVELS = st.one_of(st.sampled_from([0.0, 0.01, 0.05, *PERCENTILES.values(), 1.0]), st.floats(0, 1))
EXACT = 2**PRECISION_BITS - 1
"""Integers up to it, of either sign, have a cell each."""


def _account(values: list[int]) -> QuantileHistogram:
    histogram = QuantileHistogram()
    for value in values:
        histogram.record(value)
    return histogram


@given(st.lists(st.integers(-EXACT, EXACT), min_size=1, max_size=400), LEVELS)
def test_the_account_of_a_run_and_its_rows_give_the_same_figure(values: list[int], level: float) -> None:
    rows = np.array(values, np.float64)
    told = _account(values).quantile(level)
    assert told == Sample(rows).quantile(level) == np.quantile(rows, level)


@given(st.lists(st.integers(-(10**13), 10**13), min_size=1, max_size=400), LEVELS)
def test_of_larger_values_within_what_the_account_states(values: list[int], level: float) -> None:
    rows = np.array(values, np.float64)
    below, above, _share = place(level, len(values))
    resolution = np.abs(np.sort(rows)[[below, above]]).max() * 2.0**-PRECISION_BITS + 1
    told = _account(values).quantile(level)
    assert told is not None
    assert abs(told - Sample(rows).quantile(level)) <= resolution


@given(st.lists(st.integers(-EXACT, EXACT), min_size=1, max_size=200), LEVELS)
def test_a_lead_taken_the_other_way_round_is_the_same_with_the_other_sign(leads: list[int], level: float) -> None:
    other = _account([-lead for lead in leads]).quantile(1 - level)
    assert other is not None
    assert _account(leads).quantile(level) == pytest.approx(-other, rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("level", PERCENTILES.values())
@pytest.mark.parametrize("more", [-1, 0])
def test_both_leave_out_a_percentile_of_the_same_few(level: float, more: int) -> None:
    values = list(range(minimum_samples(level) + more))
    of_run, of_rows = _account(values).shown(level)[0], percentile(np.array(values, np.float64), level)
    assert (of_run is None, of_rows is None) == (more < 0, more < 0)
    assert of_run is None or of_run == pytest.approx(of_rows, rel=2.0**-PRECISION_BITS)


@given(st.floats(-1e12, 1e12), st.floats(-1e12, 1e12), st.floats(0, 1))
def test_what_is_between_two_samples_never_leaves_them(one: float, other: float, share: float) -> None:
    low, high = sorted((one, other))
    assert low <= between(low, high, share) <= high
