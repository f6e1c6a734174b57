import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemons.measurement.jitter import InterarrivalJitter

TRANSITS = st.lists(st.integers(-(10**12), 10**12), max_size=100)


def reference(transits: list[int]) -> float | None:
    """RFC 3550, appendix A.8, in floating point: ``s->jitter += (1./16.) * ((double)d - s->jitter)``."""
    jitter, last = 0.0, None
    for transit in transits:
        if last is not None:
            jitter += (1.0 / 16.0) * (abs(transit - last) - jitter)
        last = transit
    return jitter if len(transits) > 1 else None


@given(TRANSITS)
def test_it_is_the_estimator_of_the_rfc(transits: list[int]) -> None:
    jitter = InterarrivalJitter()
    for transit in transits:
        jitter.observe(transit)
    expected = reference(transits)
    if expected is None:
        assert jitter.value_ns is None
    else:
        assert jitter.value_ns is not None
        assert math.isclose(jitter.value_ns, expected, rel_tol=1e-12)
    assert jitter.total_ns == sum(abs(two - one) for one, two in pairwise(transits))
    assert jitter.changes == max(0, len(transits) - 1)


@given(TRANSITS, st.integers(-(10**15), 10**15))
def test_a_constant_clock_error_cancels(transits: list[int], error_ns: int) -> None:
    plain, shifted = InterarrivalJitter(), InterarrivalJitter()
    for transit in transits:
        plain.observe(transit)
        shifted.observe(transit + error_ns)
    assert plain.value_ns == shifted.value_ns


def test_an_interruption_starts_no_difference_across_it() -> None:
    jitter = InterarrivalJitter()
    jitter.observe(1000)
    jitter.observe(1160)
    assert jitter.value_ns == pytest.approx(10.0)
    jitter.interrupt()
    jitter.observe(10**12)
    assert jitter.value_ns == pytest.approx(10.0)
    jitter.observe(10**12 + 170)
    assert jitter.value_ns == pytest.approx(20.0)
    assert (jitter.total_ns, jitter.changes) == (160 + 170, 2)
