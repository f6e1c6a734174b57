"""Each figure of an event beside a table of what its stamps can say."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemons.measurement.judgement import ABSURD_NS, backbone_of, end_to_end_of, possible
from daemons.records import LinkEvent, Stamp, StampKind, Validity

NOW_NS = 1_700_000_000_000_000_000


def arrival(ns: int = NOW_NS, *, step_ns: int = 0) -> Stamp:
    return Stamp(ns, StampKind.KERNEL, ns, 1, step_ns)


def forwarded(receive_ns: int, kind: StampKind = StampKind.KERNEL) -> LinkEvent:
    return LinkEvent(1, receive_ns, kind, None, None, 1, "btcusdt@trade", False, b"")


@given(st.integers(-2 * ABSURD_NS, 2 * ABSURD_NS))
def test_both_figures_are_differences_and_judged_alike(delay_ns: int) -> None:
    verdict = possible(delay_ns)
    assert (verdict is Validity.OK) == (0 <= delay_ns <= ABSURD_NS)
    assert (verdict is Validity.NEGATIVE) == (delay_ns < 0)
    figure_ns, judged = end_to_end_of(NOW_NS - delay_ns, arrival(), StampKind.KERNEL)
    assert (figure_ns, judged) == (None if delay_ns < 0 else delay_ns, verdict)
    assert backbone_of(forwarded(NOW_NS - delay_ns), arrival(), StampKind.KERNEL) == (delay_ns, verdict)


@pytest.mark.parametrize("event_time_ns", [None, NOW_NS - 5])
def test_what_the_clock_or_the_stamp_spoils_gives_no_figure(event_time_ns: int | None) -> None:
    stepped = arrival(step_ns=-3)
    assert end_to_end_of(event_time_ns, stepped, StampKind.WARMUP) == (None, Validity.CLOCK_STEP)
    assert backbone_of(forwarded(1), stepped, StampKind.WARMUP) == (None, Validity.CLOCK_STEP)
    assert end_to_end_of(event_time_ns, arrival(), StampKind.WARMUP) == (None, Validity.WARMUP)
    missing = end_to_end_of(event_time_ns, arrival(), StampKind.NO_HARDWARE)
    assert missing == (None, Validity.NO_HARDWARE_STAMP)


@pytest.mark.parametrize("ours", StampKind)
@pytest.mark.parametrize("theirs", StampKind)
def test_a_backbone_figure_needs_both_stamps(ours: StampKind, theirs: StampKind) -> None:
    unfit = {StampKind.WARMUP: Validity.WARMUP, StampKind.NO_HARDWARE: Validity.NO_HARDWARE_STAMP}
    spoilt = [unfit[kind] for kind in (ours, theirs) if kind in unfit]
    expected = (None, spoilt[0]) if spoilt else (7, Validity.OK)
    assert backbone_of(forwarded(NOW_NS - 7, theirs), arrival(), ours) == expected


def test_a_stream_without_event_time_has_no_end_to_end_figure() -> None:
    assert end_to_end_of(None, arrival(), StampKind.USER) == (None, Validity.WITHOUT_EVENT_TIME)
