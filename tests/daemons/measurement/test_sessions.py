"""Which sessions are remembered, and which numbers are believed."""

from daemons.measurement.identity import MAX_JUMP
from daemons.measurement.sessions import MAX_SESSIONS, Sessions


def made() -> tuple[Sessions, dict[str, int]]:
    invalid = {"absurd_sequence": 0, "absurd_announcement": 0}
    return Sessions(invalid), invalid


def test_a_session_is_opened_once_and_goes_on() -> None:
    sessions, _invalid = made()
    tracker = sessions.open(1, 10)
    assert tracker.highest == 10
    assert sessions.open(1, 10) is tracker
    assert sessions.open(1, 5) is tracker
    assert sessions.seen == 1


def test_what_was_used_before_a_link_was_there_is_not_its_business() -> None:
    sessions, _invalid = made()
    sessions.open(1, 10).observe(11, 0)
    again = sessions.open(1, 500)
    assert (again.highest, again.missing) == (500, 0)
    assert sessions.closed.unique == 1
    assert sessions.seen == 1


def test_another_transport_begins_where_the_last_one_ended() -> None:
    sessions, _invalid = made()
    sessions.open(1, 0).announce(20, 0)
    assert sessions.open(1, 3, lossless=True).highest == 20
    assert sessions.closed.missing == 20


def test_who_was_not_heard_of_for_longest_gives_way() -> None:
    sessions, _invalid = made()
    for key in range(MAX_SESSIONS):
        sessions.open(key, 0)
    sessions.hear(0)
    sessions.open("new", 0)
    assert set(sessions.trackers) == {0, *range(2, MAX_SESSIONS), "new"}


def test_a_number_out_of_reach_holds_when_it_is_confirmed() -> None:
    sessions, invalid = made()
    sessions.open(1, 0, lossless=True)
    far = 2 * MAX_JUMP
    assert sessions.follow(1, far) is None
    assert invalid == {"absurd_sequence": 1, "absurd_announcement": 0}
    followed = sessions.follow(1, far + 1)
    assert followed is sessions.trackers[1]
    assert followed is not None
    assert (followed.highest, followed.lossless, sessions.leaps) == (far, True, 1)


def test_an_announcement_out_of_reach_holds_when_it_is_said_again() -> None:
    sessions, invalid = made()
    sessions.open(1, 0)
    for _time in range(2):
        sessions.announce(1, 3 * MAX_JUMP, 0)
    assert invalid == {"absurd_sequence": 0, "absurd_announcement": 1}
    assert sessions.trackers[1].highest == 3 * MAX_JUMP


def test_of_sessions_that_are_not_open_nothing_is_taken() -> None:
    sessions, invalid = made()
    sessions.announce(1, 7, 0)
    sessions.give_up(1, 1, 7, 0)
    assert not sessions.trackers
    assert not sum(invalid.values())
