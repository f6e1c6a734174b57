import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemons.records import UNKNOWN_CLOCK, ClockState
from daemons.timing.exchange import ClockSample, exchange
from daemons.timing.plausibility import SLACK_NS, WINDOW, ClockJudge

MS = 1_000_000
RTT_NS = 230 * MS


def bound(error_ns: int | None) -> ClockState:
    return ClockState(synchronized=error_ns is not None, offset_ns=0, error_bound_ns=error_ns, source="chrony")


def judge_one(sample: ClockSample, least_ns: int | None, ours: ClockState, theirs: ClockState) -> str:
    return ClockJudge().judge(sample, least_ns, ours, theirs)


@given(
    out_ns=st.integers(0, 10**9),
    back_ns=st.integers(0, 10**9),
    ours=st.integers(-MS, MS),
    theirs=st.integers(-MS, MS),
    queue_ns=st.integers(0, 10**9),
)
def test_clocks_within_their_bounds_on_any_path_are_not_suspected_of_disagreeing(
    out_ns: int, back_ns: int, ours: int, theirs: int, queue_ns: int
) -> None:
    sample = exchange(ours, out_ns + theirs, out_ns + theirs, out_ns + back_ns + ours)
    assert sample is not None
    least_ns = back_ns + queue_ns + ours - theirs
    verdict = judge_one(sample, least_ns, bound(abs(ours) + 1), bound(abs(theirs) + 1))
    assert verdict != "clock exchange and clock bounds disagree"
    assert (verdict == "one-way delay is negative") == (least_ns < 0)


def test_a_negative_delay_is_suspect_at_once_and_no_longer_than_it_lasts() -> None:
    judge = ClockJudge()
    assert judge.judge(ClockSample(0, RTT_NS), 100 * MS, UNKNOWN_CLOCK, UNKNOWN_CLOCK) == ""
    assert judge.judge(ClockSample(0, RTT_NS), -1, UNKNOWN_CLOCK, UNKNOWN_CLOCK) == "one-way delay is negative"
    assert judge.judge(ClockSample(0, RTT_NS), 0, UNKNOWN_CLOCK, UNKNOWN_CLOCK) == ""


@pytest.mark.parametrize(("least_ns", "suspect"), [(RTT_NS + SLACK_NS, False), (RTT_NS + SLACK_NS + 1, True)])
def test_no_direction_takes_longer_than_the_round_trip(least_ns: int, suspect: bool) -> None:
    verdict = judge_one(ClockSample(0, RTT_NS), least_ns, UNKNOWN_CLOCK, UNKNOWN_CLOCK)
    assert verdict == ("one-way delay exceeds the round-trip time" if suspect else "")


def test_a_queue_that_lasts_a_while_is_not_a_clock() -> None:
    judge = ClockJudge()
    assert judge.judge(ClockSample(0, RTT_NS), 115 * MS, UNKNOWN_CLOCK, UNKNOWN_CLOCK) == ""
    for _ in range(WINDOW - 1):
        assert judge.judge(ClockSample(0, RTT_NS * 3), 500 * MS, UNKNOWN_CLOCK, UNKNOWN_CLOCK) == ""


def test_after_a_step_the_old_figures_do_not_count() -> None:
    judge = ClockJudge()
    for _ in range(WINDOW):
        judge.judge(ClockSample(0, RTT_NS), 115 * MS, bound(MS), bound(MS))
    judge.clear()
    assert judge.best is None
    stepped = ClockSample(-5_000 * MS, RTT_NS + MS)
    assert judge.judge(stepped, 5_115 * MS, bound(MS), bound(MS)) == "one-way delay exceeds the round-trip time"
    assert judge.best == stepped


def test_two_statements_about_one_offset_have_to_overlap() -> None:
    limit_ns = RTT_NS // 2 + 2 * MS + 3 * MS
    for offset_ns, verdict in ((limit_ns, ""), (limit_ns + 1, "clock exchange and clock bounds disagree")):
        for sign in (1, -1):
            assert judge_one(ClockSample(sign * offset_ns, RTT_NS), 115 * MS, bound(2 * MS), bound(3 * MS)) == verdict


@pytest.mark.parametrize(("ours", "theirs"), [(None, 1), (1, None), (None, None)])
def test_a_clock_without_a_bound_contradicts_nothing(ours: int | None, theirs: int | None) -> None:
    assert judge_one(ClockSample(10**12, RTT_NS), None, bound(ours), bound(theirs)) == ""
