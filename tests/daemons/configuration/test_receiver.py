"""What the order of paths in a receiver's file does, and does not do."""

from itertools import permutations

from daemons.configuration.receiver import FeedPathSection, LinkPathSection, ReceiverConfig, race_order

URL = "wss://fstream.binance.com/ws/btcusdt@aggTrade"


def test_feeds_are_what_links_race_against_in_every_order_of_the_file() -> None:
    paths: list[FeedPathSection | LinkPathSection] = [
        FeedPathSection(name="b", url=URL),
        FeedPathSection(name="x", url=URL),
        LinkPathSection(name="a"),
        LinkPathSection(name="y"),
    ]
    for given in permutations(paths):
        ordered = [given[index] for index in race_order(ReceiverConfig(path=given))]
        # Feeds before links, and among their like by name: no lead changes its sign with the order of the file.
        assert ordered == paths
