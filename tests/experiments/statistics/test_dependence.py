import numpy as np
import pytest

from experiments.statistics.dependence import dependence
from tests.experiments.random_series import autoregressive


def test_independent_samples_need_no_blocks() -> None:
    lengths = [dependence(np.random.default_rng(seed).normal(size=2000)).block_length for seed in range(20)]
    assert np.median(lengths) <= 2


def test_blocks_grow_with_dependence() -> None:
    lengths = [
        float(np.median([dependence(autoregressive(2000, rho, seed)).block_length for seed in range(20)]))
        for rho in (0.3, 0.6, 0.9)
    ]
    assert lengths[0] < lengths[1] < lengths[2]
    # The optimum for an autoregression with known rho: (2 g'^2 / D)^(1/3) n^(1/3) = (6 rho^2/(1-rho^2)^2 n)^(1/3)
    assert lengths[2] == pytest.approx((6 * 0.81 / 0.19**2 * 2000) ** (1 / 3), rel=0.35)


def test_the_long_run_variance_is_that_of_the_mean() -> None:
    found = [dependence(autoregressive(4000, 0.6, seed)).long_run_variance for seed in range(30)]
    assert np.median(found) == pytest.approx((1 + 0.6) / (1 - 0.6), rel=0.15)


@pytest.mark.parametrize("values", [[], [1.0], [1.0] * 50, [0.0, 1.0] * 100])
def test_degenerate_series_have_a_length(values: list[float]) -> None:
    found = dependence(np.array(values))
    assert 1 <= found.block_length <= max(1, len(values) // 2)
    assert found.long_run_variance >= 0
