from hypothesis import given
from hypothesis import strategies as st

from daemons.timing.exchange import ClockFilter, ClockSample, exchange

TIMES = st.integers(0, 2**62)
DELAYS = st.integers(0, 10**12)


@given(TIMES, st.integers(-(10**15), 10**15), DELAYS, DELAYS, DELAYS)
def test_round_trip_is_exact_and_offset_true_to_half_of_it(
    t1_ns: int, offset_ns: int, out_ns: int, held_ns: int, back_ns: int
) -> None:
    t2_ns = t1_ns + out_ns + offset_ns
    t3_ns = t2_ns + held_ns
    t4_ns = t1_ns + out_ns + held_ns + back_ns
    sample = exchange(t1_ns, t2_ns, t3_ns, t4_ns)
    assert sample is not None
    assert sample.rtt_ns == out_ns + back_ns
    # RFC 5905, section 8: the error is half the path's asymmetry (rounding down costs at most a nanosecond).
    assert sample.offset_ns - offset_ns == (out_ns - back_ns) // 2
    assert abs(sample.offset_ns - offset_ns) <= sample.rtt_ns // 2 + 1


@given(TIMES, TIMES, TIMES, TIMES)
def test_impossible_times_are_no_sample(t1_ns: int, t2_ns: int, t3_ns: int, t4_ns: int) -> None:
    sample = exchange(t1_ns, t2_ns, t3_ns, t4_ns)
    possible = t3_ns >= t2_ns and t4_ns - t1_ns >= t3_ns - t2_ns
    assert (sample is not None) == possible


def test_a_step_of_either_clock_during_the_exchange_is_impossible() -> None:
    assert exchange(1000, 2000, 2010, 1100) == ClockSample(955, 90)
    assert exchange(1000, 2000, 2010, 1100 - 500) is None
    assert exchange(1000, 2000, 2010 - 500, 1100) is None


@given(st.lists(st.tuples(st.integers(-100, 100), st.integers(0, 100)), max_size=40), st.integers(1, 16))
def test_the_fastest_of_the_window_is_believed(values: list[tuple[int, int]], window: int) -> None:
    chosen = ClockFilter(window)
    for index, (offset_ns, rtt_ns) in enumerate(values):
        chosen.observe(ClockSample(offset_ns, rtt_ns))
        recent = values[max(0, index + 1 - window) : index + 1]
        assert chosen.best is not None
        assert chosen.best.rtt_ns == min(rtt for _offset, rtt in recent)
        assert (chosen.best.offset_ns, chosen.best.rtt_ns) in recent


def test_no_exchange_is_no_sample_and_not_zero() -> None:
    chosen = ClockFilter()
    before = chosen.best
    chosen.observe(ClockSample(5, 10))
    chosen.clear()
    assert (before, chosen.best) == (None, None)
