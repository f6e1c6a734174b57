from dataclasses import replace

import numpy as np
import pytest

from experiments.statistics.bootstrap import Resamples, block_weights, interval, resample, resample_paired, student_t
from tests.experiments.random_series import autoregressive


@pytest.mark.parametrize(("degrees", "table"), [(5, 2.571), (7, 2.365), (10, 2.228), (30, 2.042), (1000, 1.962)])
def test_student_t_agrees_with_tables(degrees: int, table: float) -> None:
    assert student_t(0.975, degrees) == pytest.approx(table, abs=0.003)


@pytest.mark.parametrize("length", [1, 2, 7, 50])
def test_a_resample_consists_of_whole_blocks_and_favours_no_cell(length: int) -> None:
    weights = block_weights(100, length, 4000, np.random.default_rng(1))
    assert (weights.sum(axis=1) == round(100 / length) * length).all()
    assert np.abs(weights.mean(axis=0) - weights.mean()).max() < 0.3
    edges = np.count_nonzero(np.diff(np.c_[weights[:, -1:], weights]), axis=1)
    assert edges.max() <= 2 * round(100 / length)


def test_the_same_seed_gives_the_same_interval() -> None:
    values = autoregressive(500, 0.5, 1)
    assert (resample(values, 7).mean() == resample(values, 7).mean()).all()
    assert (resample(values, 7).mean() != resample(values, 8).mean()).any()


@pytest.mark.soak
def test_the_spread_of_means_is_that_of_dependent_samples() -> None:
    found = [resample(autoregressive(2000, 0.7, seed), seed).mean().std() for seed in range(10)]
    truth = np.sqrt((1 + 0.7) / (1 - 0.7) / 2000)
    assert np.mean(found) == pytest.approx(truth, rel=0.15)


@pytest.mark.soak
def test_dependent_samples_are_worth_less() -> None:
    worth = [resample(autoregressive(2000, 0.8, seed), 1).effective_count for seed in range(10)]
    assert np.median(worth) == pytest.approx(2000 * 0.2 / 1.8, rel=0.3)
    assert resample(autoregressive(2000, 0.0, 1), 1).effective_count > 1500


def test_what_paired_series_share_cancels() -> None:
    shared = autoregressive(1000, 0.9, 1)
    one, two = resample_paired([shared, shared + 3], 1)
    assert (two.mean() - one.mean()) == pytest.approx(3)


def evidence(blocks: float, stretch: float = 1.0) -> list[Resamples]:
    return [replace(resample(np.zeros(100), 1), blocks=blocks, stretch=stretch)]


def test_few_blocks_widen_an_interval() -> None:
    resampled = np.random.default_rng(1).normal(size=20_000)
    widths = [interval(resampled, 0.0, evidence(blocks), 0.95).high for blocks in (10_000, 30, 8)]
    # Quantiles of Student's t at 97 %, the level that holds what 95 % promises.
    assert widths[0] == pytest.approx(2.170, abs=0.05)
    assert widths[1] == pytest.approx(np.sqrt(30 / 29) * 2.282, abs=0.1)
    assert widths[0] < widths[1] < widths[2]


def test_dependence_that_blocks_cut_off_widens_an_interval() -> None:
    resampled = np.random.default_rng(1).normal(size=20_000)
    plain, wider = (interval(resampled, 0.0, evidence(1000, stretch), 0.95) for stretch in (1.0, 1.2))
    assert wider.high / plain.high == pytest.approx(1.2)
    assert 1.0 < resample(autoregressive(2000, 0.9, 1), 1).stretch < 1.25


def test_the_longer_side_of_a_skewed_figure_counts_on_both_sides() -> None:
    resampled = np.random.default_rng(1).exponential(size=20_000)
    found = interval(resampled, 1.0, evidence(10_000), 0.95)
    assert found.high - 1 == pytest.approx(1 - found.low)
    assert found.high == pytest.approx(-np.log(0.015), rel=0.05)
