from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments.results.series import PathSeries
from experiments.statistics.loss import Loss, difference_interval, from_flags, from_sequences, wilson


def series(numbers: list[int]) -> PathSeries:
    count = len(numbers)
    return PathSeries(
        name="link",
        sequence=np.array(numbers, np.int64),
        arrival_ns=np.arange(1, count + 1),
        end_to_end_ms=np.zeros(count),
        backbone_ms=np.zeros(count),
        event_fraction_ns=np.zeros(count, np.int32),
        forwarder_fraction_ns=np.zeros(count, np.int32),
        event_id=np.zeros(count, np.int64),
        stream=np.zeros(count, np.uint16),
        live=np.ones(count, bool),
    )


@pytest.mark.parametrize(
    ("numbers", "expected", "lost"),
    [
        ([1, 2, 3, 4], 4, 0),
        ([1, 2, 5, 6], 6, 2),
        ([1, 2, 5, 3, 4, 6], 6, 0),
        ([1, 2, 2, 2, 3], 3, 0),
        ([1, 2, 5, 3, 3, 6], 6, 1),
        ([7, 8, 10], 4, 1),
        ([1, 2, 3, 1, 2, 4], 7, 1),
        ([5000, 5001, 3, 4, 6], 6, 1),
        ([0, 0, 0], 0, 0),
    ],
)
def test_counts_gaps_late_events_duplicates_and_sessions(numbers: list[int], expected: int, lost: int) -> None:
    found = from_sequences(series(numbers))
    assert (found.expected, found.lost) == (expected, lost) if found is not None else expected == 0


@given(st.sets(st.integers(1, 300), min_size=1), st.randoms(use_true_random=False))
def test_whatever_the_order_the_count_is_that_of_the_missing_numbers(present: set[int], random: object) -> None:
    numbers = sorted(present)
    lowest = numbers[0]
    shuffled = [lowest, *numbers[1:]]
    random.shuffle(tail := shuffled[1:])  # type: ignore[attr-defined]
    found = from_sequences(series([lowest, *tail]))
    assert found is not None
    assert found.expected == max(numbers) - lowest + 1
    assert found.lost == found.expected - len(numbers)


def test_bursts_make_the_rate_less_certain() -> None:
    scattered = np.zeros(20_000, bool)
    scattered[np.random.default_rng(1).choice(20_000, 200, replace=False)] = True
    bursts = np.zeros(20_000, bool)
    for start in range(500, 20_000, 5000):
        bursts[start : start + 50] = True
    one, many = from_flags(scattered), from_flags(bursts)
    assert one.rate == many.rate == 0.01
    assert one.design_effect < 2
    assert many.design_effect > 5
    assert wilson(many, 0.95).high > wilson(one, 0.95).high


def test_no_loss_in_few_events_does_not_prove_a_lossless_path() -> None:
    upper = wilson(Loss(100, 0), 0.95)
    assert upper.low == 0
    assert 0.03 < upper.high < 0.04


def test_agrees_with_newcombes_published_example() -> None:
    # Newcombe 1998, table II, example (a): 56/70 - 48/80, method 10: 0.0524 to 0.3339
    found = difference_interval(Loss(80, 48), Loss(70, 56), 0.95)
    assert found.low == pytest.approx(0.0524, abs=1e-4)
    assert found.high == pytest.approx(0.3339, abs=1e-4)


def test_what_was_numbered_between_two_runs_is_not_lost() -> None:
    together = replace(series([1, 2, 4, 900, 901, 903]), parts=(0, 3))
    found = from_sequences(together)
    assert found is not None
    assert (found.expected, found.lost) == (8, 2)
