"""Several connections of one feed, without a network: what the first brings is delivered before anything else."""

import random
from typing import cast

import pytest

from daemons.feed.connection import FeedConnection
from daemons.feed.counts import Door
from daemons.feed.feed import Feed
from daemons.feed.merge import Merge
from daemons.feed.settings import FeedSettings
from daemons.records import FeedEvent, Stamp, StampKind
from daemons.stream.stamping import Stamper
from tests.daemons.made import feed_event
from tests.fakes import ManualClock

URL = "ws://192.0.2.1/ws/btcusdt@trade/btcusdt@bookTicker"
NOBODY = cast("FeedConnection", None)
"""Who brings it is asked for during a replacement alone."""


@pytest.fixture
def delivered() -> list[tuple[list[FeedEvent], Stamp]]:
    return []


@pytest.fixture
def feed(delivered: list[tuple[list[FeedEvent], Stamp]]) -> Feed:
    stamper = Stamper(ManualClock())
    stamper.close()
    settings = FeedSettings("direct", URL, None)

    def take(events: list[FeedEvent], stamp: Stamp) -> None:
        delivered.append((list(events), stamp))

    made = Feed([settings], stamper, random.Random(1), take, connections=3)
    made.counts.doors = {number: Door(f"192.0.2.{number}", tls=False, encoding="json") for number in range(3)}
    return made


def read(stream: str, ids: list[int], at_ns: int) -> tuple[list[FeedEvent], Stamp]:
    return [feed_event(stream, number) for number in ids], Stamp(at_ns, StampKind.KERNEL, at_ns + 40_000, at_ns)


def test_the_first_copy_is_delivered_within_its_own_read_with_its_own_stamp(
    feed: Feed, delivered: list[tuple[list[FeedEvent], Stamp]]
) -> None:
    """Whatever the others do: each brings everything, in an order of its own, and one is killed again and again."""
    rng = random.Random(7)
    at, position = 1_000_000_000, [0, 0, 0]
    seen: set[int] = set()
    least: dict[int, int] = {}
    while min(position) < 3000:
        who = rng.choice([number for number in range(3) if position[number] < 3000])
        if who == 2 and rng.random() < 0.1:
            # Killed, and made anew further on: what came meanwhile it never brings.
            position[2] += rng.randrange(50)
            feed._stood(*_place(feed, 2), feed._clients[2].settings.streams)
        ids = list(range(position[who] + 1, position[who] + 1 + rng.randrange(1, 6)))
        position[who] = ids[-1]
        at += rng.randrange(1, 100_000)
        events, stamp = read("btcusdt@trade", ids, at)
        before = len(delivered)
        feed._clients[who].deliver(NOBODY, events, stamp)
        # When deliver has returned all that is new has been handed on: nothing waits for a turn of the loop.
        handed = [event.event_id for batch, _stamp in delivered[before:] for event in batch]
        assert handed == [number for number in ids if number not in seen]
        for batch, its in delivered[before:]:
            assert (its.ns, its.steady_ns, its.handled_ns) == (stamp.ns, stamp.steady_ns, stamp.handled_ns)
            for event in batch:
                assert event.event_id is not None
                least[event.event_id] = its.steady_ns
        for number in ids:
            # By the stamps of all that brought it, none was earlier than the delivered one.
            assert least[number] <= at
        seen.update(ids)
    assert seen >= set(range(1, 3000))


def _place(feed: Feed, number: int) -> tuple[Merge, int, int]:
    merge: Merge = feed._clients[number]._on_events.args[0]  # type: ignore[attr-defined]
    return merge, number, number


def test_streams_do_not_wait_for_each_other(feed: Feed, delivered: list[tuple[list[FeedEvent], Stamp]]) -> None:
    feed._clients[0].deliver(NOBODY, *read("btcusdt@trade", [5, 6], 100))
    feed._clients[1].deliver(NOBODY, *read("btcusdt@bookTicker", [9], 90))
    feed._clients[2].deliver(NOBODY, *read("btcusdt@trade", [5, 6, 7], 110))
    assert [[event.event_id for event in batch] for batch, _stamp in delivered] == [[5, 6], [9], [7]]
    assert delivered[2][1].kind is StampKind.KERNEL
