"""What a feed's keys become."""

import pytest

from daemons.configuration.feed import feed_settings
from daemons.configuration.receiver import load_receiver
from daemons.errors import ConfigError
from daemons.feed.settings import FeedFields


def test_a_feeds_class_is_that_of_all_its_connections_and_another_needs_other_connections() -> None:
    plain, marked = (
        feed_settings("feed", "feed", FeedFields(url="ws://127.0.0.1:1", dscp=dscp))[0] for dscp in (None, 46)
    )
    assert (plain.local.dscp, marked.local.dscp) == (None, 46)
    assert plain.origin != marked.origin


@pytest.mark.parametrize("wrong", [-1, 64, "ef"])
def test_what_is_no_class_is_refused(wrong: object) -> None:
    path = {"name": "direct", "kind": "feed", "url": "ws://127.0.0.1:1", "dscp": wrong}
    with pytest.raises(ConfigError, match="dscp"):
        load_receiver(None, {"path": [path]}, None, {}, {})
