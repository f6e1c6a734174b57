"""What the forwarder counts of its feed's delays beside the receiver's own judgement of the same events."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from daemons.forwarder.intake import Intake
from daemons.forwarder.metrics import feed_delay_family
from daemons.measurement.judgement import ABSURD_NS, DISRUPTED, end_to_end_of
from daemons.records import Stamp, StampKind, Validity
from tests.daemons.made import feed_event

NOW_NS = 1_700_000_000_000_000_000
DELAYS = st.one_of(st.none(), st.sampled_from((-1, 0, 1, ABSURD_NS, ABSURD_NS + 1)), st.integers(-10, 2 * ABSURD_NS))
Reads = list[tuple[list[int | None], StampKind, int, bool]]
READS = st.lists(
    st.tuples(st.lists(DELAYS, max_size=4), st.sampled_from(StampKind), st.sampled_from((0, -3)), st.booleans()),
    max_size=12,
)


@given(READS)
def test_a_delay_is_judged_as_the_receiver_judges_it(
    reads: Reads,
) -> None:
    delays = feed_delay_family()
    intake = Intake(delays)
    intake.expect(("btcusdt@trade",))
    wanted: Counter[Validity] = Counter()
    for taken, kind, step_ns, disrupted in reads:
        stamp = Stamp(NOW_NS, kind, NOW_NS, 1, step_ns)
        intake.disrupted = disrupted
        times = [None if delay_ns is None else NOW_NS - delay_ns for delay_ns in taken]
        intake.observe([feed_event("btcusdt@trade", 1, time_ns=time) for time in times], stamp)
        for time in times:
            judged = DISRUPTED if disrupted else end_to_end_of(time, stamp, kind)
            wanted[Validity.WITHOUT_EVENT_TIME if time is None else judged[1]] += 1
    counts = intake.streams["btcusdt@trade"]
    assert counts.received == wanted.total()
    assert counts.without_event_time == wanted[Validity.WITHOUT_EVENT_TIME]
    assert counts.delay.count == wanted[Validity.OK]
    told = {why: count for why, count in intake.invalid_delays.items() if count}
    assert told == {why: n for why, n in wanted.items() if why not in (Validity.OK, Validity.WITHOUT_EVENT_TIME)}
