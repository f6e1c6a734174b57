import itertools
import statistics

from hypothesis import given
from hypothesis import strategies as st

from daemons.simulator.schedule import Jitter, grid, poisson

seeds = st.integers(0, 2**64)


@given(st.floats(0.01, 100_000), st.integers(0, 1000))
def test_the_grid_is_even_and_does_not_drift(rate: float, number: int) -> None:
    offset = next(itertools.islice(grid(rate), number, None))
    exact = number * 1_000_000_000 / rate
    assert abs(offset - exact) <= max(1.0, exact * 1e-15)


def test_poisson_has_the_rate_and_the_seed_s_instants() -> None:
    offsets = list(itertools.islice(poisson(1000.0, 7), 20_000))
    assert offsets == list(itertools.islice(poisson(1000.0, 7), 20_000))
    assert offsets == sorted(offsets)
    gaps = [after - before for before, after in itertools.pairwise(offsets)]
    assert abs(statistics.mean(gaps) - 1e6) < 5e4
    # The deviation of exponential gaps equals their mean; an even grid has none.
    assert abs(statistics.stdev(gaps) - 1e6) < 5e4


@given(seeds, st.integers(0, 10**9), st.integers(0, 10**12), st.integers(0, 10**9))
def test_jitter_never_makes_a_later_event_overtake(seed: int, deviation_ns: int, offset: int, gap: int) -> None:
    jitter = Jitter(deviation_ns, seed)
    assert offset + gap + jitter.at(offset + gap) >= offset + jitter.at(offset) - 2


@given(seeds, st.integers(0, 10**9), st.integers(0, 10**13))
def test_jitter_is_bounded_and_repeatable(seed: int, deviation_ns: int, offset: int) -> None:
    assert abs(Jitter(deviation_ns, seed).at(offset)) <= 4 * deviation_ns + 1
    assert Jitter(deviation_ns, seed).at(offset) == Jitter(deviation_ns, seed).at(offset)


def test_jitter_has_mean_zero_and_the_deviation_asked_for() -> None:
    for seed in range(3):
        jitter = Jitter(5_000_000, seed)
        values = [jitter.at(offset) for offset in range(0, 600_000_000_000, 30_000_003)]
        assert abs(statistics.mean(values)) < 100_000
        assert abs(statistics.median(values)) < 400_000
        assert abs(statistics.pstdev(values) - 5_000_000) < 250_000


def test_no_deviation_is_no_jitter() -> None:
    assert {Jitter(0, 1).at(offset) for offset in range(0, 10**9, 10**6)} == {0}
