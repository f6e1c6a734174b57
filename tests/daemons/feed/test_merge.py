"""Connections with a known truth: each brings what the exchange sent, at its own pace and with holes of its own."""

from hypothesis import given
from hypothesis import strategies as st

from daemons.feed import merge as merging
from daemons.feed.merge import Merge
from daemons.records import FeedEvent, Stamp, StampKind
from tests.daemons.made import feed_event

NAMES = ("a@trade", "b@bookTicker", "!ticker@arr")


def event(name: str, number: int) -> FeedEvent:
    if name.startswith("!"):
        return feed_event(name, payload=b"%d" % number)
    return feed_event(name, number, payload=b"%d" % number)


def stamp(at: int) -> Stamp:
    return Stamp(at, StampKind.KERNEL, at, at)


def take(merge: Merge, connection: int, events: list[FeedEvent], at: int = 1) -> list[int]:
    return [int(one.payload) for batch, _stamp in merge.take(connection, events, stamp(at)) for one in batch]


@given(st.data())
def test_each_event_is_delivered_once_by_the_first_that_brings_it(data: st.DataObject) -> None:
    """Whatever is sent in whatever interleaving, with connections cut and made anew in between."""
    connections = data.draw(st.integers(2, 4))
    sent = [(name, number) for number in range(60) for name in NAMES]
    merge, at = Merge(connections), [0] * connections
    delivered: list[tuple[str, int]] = []
    brought: set[tuple[str, int]] = set()
    wins = [0] * connections
    while any(position < len(sent) for position in at):
        who = data.draw(st.sampled_from([number for number, position in enumerate(at) if position < len(sent)]))
        if data.draw(st.integers(0, 9)) == 0:
            at[who] = min(len(sent), at[who] + data.draw(st.integers(0, 40)))
            merge.renew(who, alone=False)
        read = sent[at[who] : at[who] + data.draw(st.integers(1, 25))]
        at[who] += len(read)
        new = [one for one in read if one not in brought]
        for batch, its in merge.take(who, [event(*one) for one in read], stamp(1)):
            found = [(one.stream, int(one.payload)) for one in batch]
            assert found == new
            assert its.kind is (StampKind.KERNEL if new[-1] == read[-1] else StampKind.SHARED)
            delivered += found
            wins[who] += len(found)
        brought.update(read)
    assert len(delivered) == len(set(delivered)) == len(brought)
    assert [standing.wins for standing in merge.standings] == wins


def test_how_far_behind_a_copy_came_is_told() -> None:
    merge = Merge(2)
    take(merge, 0, [event("a@trade", 1), event("a@trade", 2)], 100)
    assert take(merge, 1, [event("a@trade", 1), event("a@trade", 2), event("a@trade", 3)], 150) == [3]
    second = merge.standings[1]
    assert (second.wins, second.copies, second.behind_ns) == (1, 2, 100)
    assert take(merge, 0, [event("a@trade", 3)], 180) == []
    assert (merge.standings[0].wins, merge.standings[0].behind_ns) == (2, 30)


def test_what_a_connection_itself_brings_twice_is_the_exchanges_doing() -> None:
    merge = Merge(2)
    assert take(merge, 0, [event("!ticker@arr", 1), event("!ticker@arr", 1)]) == [1, 1]
    assert take(merge, 0, [event("a@trade", 1), event("a@trade", 1)]) == [1, 1]
    assert take(merge, 1, [event("a@trade", 1)]) == []


def test_ids_that_begin_anew_are_new_events_and_the_old_ones_still_come_once() -> None:
    merge = Merge(3)
    for connection in range(3):
        take(merge, connection, [event("a@trade", number) for number in range(1000, 1006 - connection)])
    assert take(merge, 0, [event("a@trade", number) for number in (1, 2, 3)]) == [1, 2, 3]
    # The second is still at the end of the old ids, and has one that nobody brought.
    assert take(merge, 1, [event("a@trade", 1005), event("a@trade", 1006)]) == [1006]
    assert take(merge, 1, [event("a@trade", number) for number in (1, 2, 3, 4)]) == [4]
    # The third was cut meanwhile.
    merge.renew(2, alone=False)
    assert take(merge, 2, [event("a@trade", number) for number in (3, 4, 5)]) == [5]
    # And once more.
    assert take(merge, 2, [event("a@trade", 1)]) == [1]
    assert take(merge, 0, [event("a@trade", 4), event("a@trade", 6)]) == [6]
    assert take(merge, 0, [event("a@trade", 1), event("a@trade", 2)]) == [2]


def test_after_all_were_cut_nothing_is_a_copy() -> None:
    merge = Merge(2)
    take(merge, 0, [event("a@trade", 5)])
    merge.renew(1, alone=True)
    assert take(merge, 1, [event("a@trade", 5)]) == [5]


def test_memory_is_bounded_and_what_is_older_is_a_copy() -> None:
    merge = Merge(2)
    most = merging._MOST_EACH
    count = 3 * most
    assert take(merge, 0, [event("a@trade", number) for number in range(count)]) == list(range(count))
    assert len(merge._streams["a@trade", "a"].known.seen) == most
    assert take(merge, 1, [event("a@trade", number) for number in range(count + 1)]) == [count]
    assert merge.standings[1].copies == count
