import builtins
import math
import statistics
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemons.measurement import histogram as histograms
from daemons.measurement.histogram import BucketHistogram, QuantileHistogram, octaves, signed

VALUES = st.lists(st.integers(min_value=-(10**13), max_value=10**13), min_size=1, max_size=200)


def test_octave_bounds_are_powers_of_two_to_the_eighth() -> None:
    bounds = octaves(-10, 2)
    assert len(bounds.ns) == 12 * 8 + 1
    assert float(bounds.le[0]) == 2**-10
    assert bounds.le[-1] == "4.0"
    assert all(math.isclose(float(b) / float(a), 2**0.125) for a, b in zip(bounds.le, bounds.le[1:], strict=False))
    assert list(bounds.ns) == sorted(set(bounds.ns))


def test_signed_bounds_mirror_about_zero() -> None:
    bounds = signed(octaves(-2, 0))
    assert [bounds.le[index] for index in (0, 8, 16, 17, 18, 26, 34)] == [
        *("-1.0", "-0.5", "-0.25"),
        "0.0",
        *("0.25", "0.5", "1.0"),
    ]
    assert [-float(le) for le in bounds.le] == [float(le) for le in reversed(bounds.le)]


@given(VALUES)
def test_every_value_is_in_the_bucket_prometheus_would_choose(values: list[int]) -> None:
    bounds = signed(octaves(-16, 4))
    histogram = BucketHistogram(bounds)
    for value in values:
        histogram.observe(value)
    assert histogram.count == len(values)
    assert histogram.sum_ns == sum(values)
    cumulative = 0
    for upper, count in zip(bounds.le, histogram.counts, strict=False):
        cumulative += count
        # The boundary is a binary fraction of a second; compare without rounding.
        numerator, denominator = float(upper).as_integer_ratio()
        assert cumulative == sum(value * denominator <= numerator * 10**9 for value in values)


@given(VALUES)
def test_moments_and_ends_are_exact(values: list[int]) -> None:
    histogram = QuantileHistogram()
    for value in values:
        histogram.record(value)
    assert histogram.minimum == min(values)
    assert histogram.maximum == max(values)
    assert histogram.mean is not None
    assert math.isclose(histogram.mean, statistics.fmean(values), rel_tol=1e-12, abs_tol=1e-6)
    if len(values) > 1:
        assert histogram.stddev is not None
        assert math.isclose(histogram.stddev, statistics.stdev(values), rel_tol=1e-9, abs_tol=1e-6)


def test_no_value_gives_none_and_never_zero() -> None:
    empty = QuantileHistogram()
    assert (empty.mean, empty.stddev, empty.quantile(0.5), empty.minimum, empty.maximum) == (None,) * 5


def test_no_value_has_none_for_each_level() -> None:
    assert QuantileHistogram().quantiles(0.5, 0.99) == QuantileHistogram().shown(0.5, 0.99) == [None, None]


@given(VALUES, st.lists(st.floats(0, 1), max_size=5))
def test_quantiles_of_several_levels_are_those_of_each_alone(values: list[int], levels: list[float]) -> None:
    histogram = QuantileHistogram()
    for value in values:
        histogram.record(value)
    assert histogram.quantiles(*levels) == [histogram.quantile(level) for level in levels]


def test_all_levels_take_one_pass_over_the_cells(monkeypatch: pytest.MonkeyPatch) -> None:
    histogram = QuantileHistogram()
    for value in range(10_000):
        histogram.record(value)
    passes = 0

    def counted(cells: Iterable[int]) -> list[int]:
        nonlocal passes
        passes += 1
        return builtins.sorted(cells)

    monkeypatch.setattr(histograms, "sorted", counted, raising=False)
    assert None not in [*histogram.quantiles(0.5, 0.75, 0.99), *histogram.shown(0.5, 0.95, 0.99, 0.999)]
    assert passes == 2


def test_memory_depends_on_the_range_and_not_on_the_number() -> None:
    histogram = QuantileHistogram()
    for value in range(50_000_000, 50_400_000, 7):
        histogram.record(value)
    assert histogram.count > 50_000
    assert histogram.cells < 20
