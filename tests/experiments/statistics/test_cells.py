import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments.results.series import Floats
from experiments.statistics.cells import CELLS, Cells, boundaries


@given(st.integers(1, 20_000))
def test_cells_cover_all_samples_and_differ_by_one_at_most(count: int) -> None:
    edges = boundaries(count)
    assert (edges[0], edges[-1]) == (0, count)
    assert len(edges) - 1 == min(count, CELLS)
    assert np.ptp(np.diff(edges)) <= 1


def spelled_out(values: Floats, weights: Floats) -> Floats:
    """Write a resample out sample by sample."""
    edges = boundaries(len(values))
    return np.concatenate([np.tile(values[edges[i] : edges[i + 1]], int(weight)) for i, weight in enumerate(weights)])


@pytest.mark.parametrize("count", [10, 500, CELLS, 5_000, 60_000])
@pytest.mark.parametrize("shape", ["smooth", "steps"])
def test_figures_of_resamples_equal_those_of_resamples_written_out(count: int, shape: str) -> None:
    random = np.random.default_rng(count)
    values = 200 + np.exp(random.normal(size=count))
    if shape == "steps":
        values = np.round(values)
    cells = Cells(values)
    weights = random.multinomial(len(cells), np.full(len(cells), 1 / len(cells)), size=5).astype(float)
    levels = [0.05, 0.5, 0.95, 0.99]
    found = cells.quantiles(weights, levels)
    for row in range(len(weights)):
        written = spelled_out(values, weights[row])
        assert cells.mean(weights)[row] == pytest.approx(written.mean())
        assert cells.stddev(weights)[row] == pytest.approx(written.std())
        for p in levels:
            # Interpolation within a bin differs from that between two samples: by no more than their distance in the
            # exact case, else by less than a tenth of the percentile's own standard error.
            ordered = np.sort(written)
            at = (len(ordered) - 1) * p
            low, high = ordered[max(0, int(at) - 2)], ordered[min(len(ordered) - 1, int(at) + 3)]
            slack = 0.002 * (high - low) + (0.015 if count > CELLS else 0)
            assert low - slack <= found[p][row] <= high + slack


def test_the_whole_sample_is_reproduced_exactly() -> None:
    values = np.random.default_rng(3).normal(size=1000)
    cells = Cells(values)
    once = np.ones((1, len(cells)))
    for p, found in cells.quantiles(once, [0.01, 0.5, 0.999]).items():
        assert found[0] == pytest.approx(np.quantile(values, p), abs=1e-12)
    assert cells.jitter(once)[0] == pytest.approx(np.abs(np.diff(values)).mean())


def test_large_values_lose_no_digits_to_a_common_offset() -> None:
    values = 1e9 + np.random.default_rng(4).normal(size=3000)
    assert Cells(values).stddev(np.ones((1, CELLS)))[0] == pytest.approx(values.std(), rel=1e-6)
