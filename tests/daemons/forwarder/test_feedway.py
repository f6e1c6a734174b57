"""What is told of an event's way to the forwarder, rule by rule."""

from collections.abc import Sequence

import pytest

from daemons.forwarder.feedway import APART_NS, RENEWED_NS, FeedWay
from daemons.records import FeedEvent, Stamp, StampKind
from tests.daemons.made import feed_event

NOW_NS = 1_700_000_000_000_000_000
MS = 1_000_000


class Tcp:
    """Counts what came out of order, and how often it was asked."""

    def __init__(self) -> None:
        self.total = 0
        self.asked = 0

    def out_of_order(self) -> int:
        self.asked += 1
        return self.total


def read(*times_ns: int | None) -> Sequence[FeedEvent]:
    return [
        feed_event("btcusdt@trade", number, time_ns=None if time_ns is None else NOW_NS + time_ns)
        for number, time_ns in enumerate(times_ns)
    ]


def stamp(*, held_ns: int = 0, steady_ns: int = 0) -> Stamp:
    return Stamp(NOW_NS, StampKind.KERNEL, NOW_NS, steady_ns, held_ns=held_ns)


def test_a_read_that_waited_says_so_itself_and_a_lone_event_has_nobody_asked() -> None:
    tcp = Tcp()
    way = FeedWay(tcp.out_of_order)
    assert not way.held(read(0), stamp())
    assert tcp.asked == 0
    assert way.held(read(0), stamp(held_ns=1))
    assert not way.held(read(0), stamp())


@pytest.mark.parametrize(
    ("times_ns", "asked"),
    [
        ((0, APART_NS), True),
        ((0, 1, APART_NS + 1), True),
        ((0, APART_NS - 1), False),
        ((APART_NS, 0), False),
        ((None, APART_NS), False),
        ((0, None), False),
    ],
)
def test_whether_packets_came_out_of_order_is_asked_of_events_far_apart(
    times_ns: Sequence[int | None], asked: bool
) -> None:
    tcp = Tcp()
    way = FeedWay(tcp.out_of_order)
    tcp.total = 3
    assert way.held(read(*times_ns), stamp()) == asked
    assert tcp.asked == asked


def test_what_came_out_of_order_explains_one_read_and_those_within_a_tick() -> None:
    tcp = Tcp()
    way = FeedWay(tcp.out_of_order)
    late = read(0, 20 * MS)
    tcp.total = 1
    assert way.held(late, stamp())
    # A process that was away reads events as far apart, and nothing was missing.
    assert not way.held(late, stamp())
    tcp.total = 2
    way.tend()
    assert way.held(late, stamp())
    tcp.total = 3
    way.tend()
    way.tend()
    assert not way.held(late, stamp())
    tcp.total = 4
    # The stamp shows that it waited: what came out of order was for this.
    assert way.held(late, stamp(held_ns=MS))
    assert not way.held(late, stamp())


def test_a_connection_is_new_for_a_second() -> None:
    way = FeedWay(lambda: 0)
    assert not way.renewed(stamp(steady_ns=5))
    way.renew(5)
    assert [way.renewed(stamp(steady_ns=5 + passed_ns)) for passed_ns in (0, RENEWED_NS - 1, RENEWED_NS)] == [
        True,
        True,
        False,
    ]
