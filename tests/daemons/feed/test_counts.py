"""Under which reason an ended connection is counted."""

import pytest

from daemons.feed.counts import Door, FeedCounts, ReconnectReason


@pytest.mark.parametrize(
    ("reason", "counted"),
    [
        ("http_403", "http_4xx"),
        ("http_503", "http_5xx"),
        ("http_301", "http_other"),
        ("dns", "dns"),
        ("unread", "unread"),
    ],
)
def test_answers_are_counted_by_their_class_and_all_else_by_name(reason: str, counted: str) -> None:
    assert ReconnectReason.of(reason) == counted


def test_every_reason_shows_zero_before_its_first_time() -> None:
    assert FeedCounts().reconnects == dict.fromkeys(ReconnectReason, 0)


def test_a_feed_is_connected_when_each_of_its_streams_comes_by_some_connection() -> None:
    counts = FeedCounts(needed=2, each=2)
    door = Door("192.0.2.1", tls=True, encoding="json")
    counts.doors = {0: door, 1: door}
    assert not counts.connected
    counts.doors = {1: door, 2: door}
    assert counts.connected
