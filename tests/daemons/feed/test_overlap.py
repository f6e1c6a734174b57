"""Two connections with a known truth: each brings an unbroken piece of what the exchange sent, at its own pace."""

from hypothesis import given
from hypothesis import strategies as st

from daemons.feed.overlap import Batch, Overlap
from daemons.records import FeedEvent, Stamp, StampKind
from tests.daemons.made import feed_event


def event(symbol: str, number: int, *, contiguous: bool = True) -> FeedEvent:
    return feed_event(f"{symbol}@{'trade' if contiguous else 'bookTicker'}", number, payload=b"%d" % number)


def depth(previous: int, last: int) -> FeedEvent:
    return feed_event("d@depth", last, previous)


def timeless(text: str) -> FeedEvent:
    return feed_event("!ticker@arr", payload=text.encode())


def stamp(at: int, kind: StampKind = StampKind.KERNEL) -> Stamp:
    return Stamp(at, kind, at, at)


def ids(batches: list[Batch]) -> list[int | None]:
    return [one.event_id for batch, _stamp in batches for one in batch]


def test_what_the_new_one_brings_ahead_waits_for_what_the_old_one_has_on_the_way() -> None:
    overlap = Overlap()
    assert ids(overlap.from_old([event("a", 100)], stamp(1))) == [100]
    assert ids(overlap.from_new([event("a", 105), event("a", 106)], stamp(2))) == []
    held = overlap.ready
    assert not held
    assert ids(overlap.from_old([event("a", number) for number in (101, 102, 103)], stamp(3))) == [101, 102, 103]
    # With 104 the old one has come as far: 105 and 106 are due, with the stamps of their own arrival.
    batches = overlap.from_old([event("a", 104)], stamp(4))
    assert ids(batches) == [104, 105, 106]
    assert [(its.ns, its.kind) for _batch, its in batches[1:]] == [(2, StampKind.SHARED), (2, StampKind.KERNEL)]
    assert overlap.ready
    assert ids(overlap.from_new([event("a", 107)], stamp(5))) == [107]
    assert ids(overlap.from_old([event("a", 105), event("a", 108)], stamp(6))) == [108]
    assert ids(overlap.from_new([event("a", 108), event("a", 109)], stamp(7))) == [109]
    assert overlap.copies == 2
    assert overlap.finish() == []


def test_a_read_without_its_last_event_has_no_exact_stamp() -> None:
    overlap = Overlap()
    overlap.from_old([event("a", 1)], stamp(1))
    overlap.from_new([event("a", 2)], stamp(2))
    ((kept, its),) = overlap.from_old([event("b", 1), event("a", 2)], stamp(3))
    assert ([one.symbol for one in kept], its.kind) == (["b"], StampKind.SHARED)


def test_when_the_old_one_is_gone_what_waits_is_delivered_by_arrival() -> None:
    overlap = Overlap()
    overlap.from_old([event("a", 5), event("b", 7)], stamp(1))
    overlap.from_new([event("b", 9)], stamp(2))
    overlap.from_new([event("a", 8)], stamp(3))
    assert ids(overlap.finish()) == [9, 8]


def test_events_without_ids_are_known_by_their_text() -> None:
    overlap = Overlap()
    assert len(overlap.from_old([timeless("one")], stamp(1))) == 1
    assert overlap.from_new([timeless("one"), timeless("two")], stamp(2)) == []
    ((late, _stamp),) = overlap.finish()
    assert [one.payload for one in late] == [b"two"]


def test_ids_that_begin_anew_in_the_overlap_are_not_taken_for_copies() -> None:
    overlap = Overlap()
    assert ids(overlap.from_old([event("a", 1000)], stamp(1))) == [1000]
    overlap.from_new([event("a", 1000)], stamp(2))
    assert ids(overlap.from_old([event("a", 1), event("a", 2)], stamp(3))) == [1, 2]
    assert ids(overlap.from_new([event("a", 1), event("a", 2), event("a", 3)], stamp(4))) == []
    assert ids(overlap.from_old([event("a", 3)], stamp(5))) == [3]
    assert ids(overlap.from_new([event("a", 4)], stamp(6))) == [4]


@given(st.data())
def test_every_event_comes_once_and_in_order_whatever_the_pace_of_the_two(data: st.DataObject) -> None:
    """The exchange numbers each stream; the old connection is cut anywhere, the new one has joined anywhere before."""
    contiguous = data.draw(st.booleans(), label="contiguous")
    steps = data.draw(st.lists(st.integers(1, 1 if contiguous else 9), min_size=20, max_size=60), label="steps")
    streams = data.draw(st.lists(st.sampled_from("ab"), min_size=len(steps), max_size=len(steps)), label="streams")
    number, sent = {"a": 0, "b": 50}, []
    for name, step in zip(streams, steps, strict=True):
        number[name] += step
        sent.append(event(name, number[name], contiguous=contiguous))
    joined = data.draw(st.integers(1, len(sent) - 1), label="joined")
    queues = [sent, sent[joined:]]
    at = [joined - data.draw(st.integers(0, joined), label="behind"), 0]
    overlap, delivered, now = Overlap(), sent[: at[0]], 0
    # What came before the overlap was delivered; of the old one's the overlap sees only what follows.
    while at[0] < len(queues[0]) or at[1] < len(queues[1]):
        ends = at[0] >= joined and overlap.ready and data.draw(st.booleans(), label="end")
        if ends or at[0] == len(queues[0]):
            break
        which = data.draw(st.integers(0, 1), label="which")
        size = data.draw(st.integers(1, 6), label="size")
        read = queues[which][at[which] : at[which] + size]
        if not read:
            continue
        at[which] += len(read)
        now += 1
        take = overlap.from_new if which else overlap.from_old
        delivered = [*delivered, *(one for batch, _stamp in take(read, stamp(now)) for one in batch)]
    delivered += [one for batch, _stamp in overlap.finish() for one in batch]
    # What is left of the new one still passes the filter: a stream that it has not brought yet is not settled.
    delivered += [one for batch, _stamp in overlap.from_new(queues[1][at[1] :], stamp(now + 1)) for one in batch]
    for name in "ab":
        mine = [one.event_id for one in delivered if one.symbol == name]
        assert mine == [one.event_id for one in sent if one.symbol == name]


def test_ranges_cut_differently_on_the_new_connection_do_not_come_twice_after_the_old_one_is_gone() -> None:
    overlap = Overlap()
    overlap.from_old([depth(0, 10)], stamp(1))
    assert ids(overlap.from_new([depth(4, 12)], stamp(2))) == [12]
    assert ids(overlap.from_old([depth(10, 20)], stamp(3))) == [20]
    assert overlap.finish() == []
    before = overlap.settled
    assert ids(overlap.from_new([depth(12, 18)], stamp(4))) == []
    assert ids(overlap.from_new([depth(18, 25)], stamp(5))) == [25]
    assert (before, overlap.settled) == (False, True)


def test_a_replacement_right_after_another_knows_what_was_delivered() -> None:
    overlap = Overlap()
    overlap.from_old([depth(0, 20)], stamp(1))
    overlap.from_new([depth(4, 12)], stamp(2))
    overlap.finish()
    following = overlap.successor()
    assert ids(following.from_old([depth(12, 18)], stamp(3))) == []
    assert ids(following.from_old([depth(18, 25)], stamp(4))) == [25]


def test_a_stream_that_the_old_one_does_not_have_waits_for_nothing() -> None:
    overlap = Overlap()
    overlap.begin({"b@trade", "!ticker@arr"})
    assert ids(overlap.from_old([event("a", 5)], stamp(1))) == [5]
    brought = [event("b", 8), event("a", 7), event("b", 9), timeless("x")]
    assert ids(overlap.from_new(brought, stamp(2))) == [8, 9, None]
    assert ids(overlap.from_old([event("a", 6)], stamp(3))) == [6, 7]
    assert overlap.finish() == []
    assert overlap.copies == 0
