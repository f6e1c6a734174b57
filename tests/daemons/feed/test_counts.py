"""What is counted of a feed."""

import pytest

from daemons.feed.counts import Door, FeedCounts
from daemons.reasons import FeedReason, StreamReason


@pytest.mark.parametrize("reason", [*StreamReason, *FeedReason])
def test_every_reason_that_an_error_can_have_shows_zero_before_its_first_time(
    reason: StreamReason | FeedReason,
) -> None:
    assert FeedCounts().reconnects[reason] == 0


def test_a_feed_is_connected_when_each_of_its_streams_comes_by_some_connection() -> None:
    counts = FeedCounts(needed=2, each=2)
    door = Door("192.0.2.1", tls=True, encoding="json")
    counts.doors = {0: door, 1: door}
    assert not counts.connected
    counts.doors = {1: door, 2: door}
    assert counts.connected
