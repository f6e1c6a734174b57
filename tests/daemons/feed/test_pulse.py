"""Pings and their answers: only an answer to the last ping is a round trip."""

from hypothesis import given
from hypothesis import strategies as st

from daemons.feed.pulse import Pulse


@given(st.lists(st.tuples(st.sampled_from(["ping", "answer", "repeat", "earlier", "unasked"]), st.integers(0, 10**9))))
def test_a_round_trip_is_from_the_last_ping_to_the_first_answer_to_it(story: list[tuple[str, int]]) -> None:
    pulse, now, sent = Pulse(), 0, list[bytes]()
    waiting_since = None
    for what, later in story:
        now += later
        if what == "ping":
            sent.append(pulse.ping(now))
            waiting_since = now
        elif what in ("answer", "repeat") and sent:
            expected = None if waiting_since is None else now - waiting_since
            assert pulse.pong(sent[-1], now) == expected
            waiting_since = None
        elif what == "earlier" and len(sent) > 1:
            assert pulse.pong(sent[-2], now) is None
        elif what == "unasked":
            assert pulse.pong(b"hello", now) is None
        assert pulse.outstanding == (waiting_since is not None)
    assert len(set(sent)) == len(sent)
    assert all(len(payload) <= 125 for payload in sent)
