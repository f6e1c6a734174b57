"""What the order of paths in a receiver's file does, and does not do."""

from itertools import permutations

from daemons.configuration.receiver import FeedPath, LinkPath, ReceiverConfig, race_order

URL = "wss://fstream.binance.com/ws/btcusdt@aggTrade"


def test_feeds_are_what_links_race_against_in_every_order_of_the_file() -> None:
    paths: list[FeedPath | LinkPath] = [
        FeedPath(name="a", url=URL),
        FeedPath(name="b", url=URL),
        LinkPath(name="x"),
        LinkPath(name="y"),
    ]
    for given in permutations(paths):
        ordered = [given[index] for index in race_order(ReceiverConfig(path=given))]
        assert [isinstance(path, LinkPath) for path in ordered] == [False, False, True, True]
        # Among their like the order of the file stands.
        assert ordered[:2] == [path for path in given if isinstance(path, FeedPath)]
        assert ordered[2:] == [path for path in given if isinstance(path, LinkPath)]
