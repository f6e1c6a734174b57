"""Causes of the tail against a model that knows them; and each rule by itself."""

import random
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import groupby
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemons.formats.rows import Row
from daemons.measurement.account import PathAccount
from daemons.measurement.figures import Instruments
from daemons.measurement.histogram import BucketHistogram, octaves
from daemons.measurement.tail.causes import MEANINGS, Cause, TailEvidence, judge
from daemons.measurement.tail.recent import HALF_NS, LEAST, NEVER_NS, Recent
from daemons.measurement.tail.tail import Tail
from daemons.records import KERNEL, LinkEvent, Stamp, StampKind, exact, inexact
from tests.daemons.made import feed_event
from tests.daemons.measurement.tail.world import EPOCH_NS, MS, Sent, World

TICK_NS = 500 * MS
BEAT_NS = 50 * MS
"""Heartbeats, answers and departures are some twelve a second; here more of a standstill has one in it."""
Disturb = Callable[[World], None]


def account(*, link: bool = True) -> PathAccount:
    def made(*_labels: str) -> BucketHistogram:
        return BucketHistogram(octaves(-16, 4))

    return PathAccount("path", 0, link=link, instruments=Instruments(made, made, made(), made()))


def spread(world: World, count: int, length_ns: int) -> list[tuple[int, int]]:
    """Intervals of time over the later part of a run, for before that nothing can be judged."""
    whole = world.length_ns()
    begins = sorted(world.rng.randrange(whole // 3, whole - length_ns) for _ in range(count))
    return [(begin, begin + length_ns) for begin in begins]


class Watched(Tail):
    """Remembers what each event was judged to be, and what most of its excess was."""

    def __init__(self) -> None:
        super().__init__()
        self.batch: list[Sent] = []
        self.judged: list[tuple[Cause, Cause]] = []

    def judge_feed(self, delay_ns: int, events: Any, index: int, stamp: Stamp, kind: StampKind) -> Cause:
        cause = super().judge_feed(delay_ns, events, index, stamp, kind)
        truth = self.batch[index].cause(stamp.ns, delay_ns - self.timed.usual_ns)
        # How the forwarder held it is of no feed's knowledge.
        self.judged.append((cause, Cause.NETWORK if truth is Cause.FORWARDER_BUSY else truth))
        return cause

    def take_link(self, *taken: Any, **kept: Any) -> Cause | None:
        cause = super().take_link(*taken, **kept)
        if cause is not None:
            recent, delay_ns, _events, index, stamp, _kind = taken
            self.judged.append((cause, self.batch[index].cause(stamp.ns, delay_ns - recent.usual_ns)))
        return cause


def cut(batch: list[Sent]) -> list[list[Sent]]:
    """Part a read where the forwarder has said something between its events."""
    return [list(part) for _beat, part in groupby(batch, lambda one: one.left // BEAT_NS)]


def run(world: World, *, link: bool) -> list[tuple[Cause, Cause]]:
    """Run a world into an account, which is tended as a receiver does; return what was judged, and the truth."""
    path = account(link=link)
    path.tail = tail = Watched()
    tail.out_of_order = lambda: world.out_of_order
    next_ns = 0
    connected = sorted(end for _begin, end in world.unconnected)
    for batch, stamp in world.reads():
        while stamp.steady_ns >= next_ns:
            path.expire(next_ns)
            next_ns += TICK_NS
        while connected and batch[-1].left >= connected[0]:
            # A receiver has introduced itself before the first event.
            connected.pop(0)
            path.interrupt()
        tail.batch = batch
        if link:
            *early, last = cut(batch)
            for tail.batch in early:
                left_ns = EPOCH_NS + batch[-1].left
                path.observe_link(
                    1, [one.event() for one in tail.batch], inexact(stamp), together=False, left_ns=left_ns
                )
            tail.batch = last
            path.observe_link(1, [one.event() for one in last], stamp, together=False)
        else:
            times = [(one.number, EPOCH_NS + one.emitted) for one in batch]
            path.observe_feed([feed_event("btcusdt@trade", number, time_ns=time) for number, time in times], stamp)
    assert sum(path.tail.events.values()) == len(tail.judged)
    return tail.judged


def stall_receiver(world: World) -> None:
    world.receiver_away = spread(world, 15, 40 * MS)


def stall_forwarder(world: World) -> None:
    world.forwarder_away = spread(world, 15, 40 * MS)


def leave_no_room(world: World) -> None:
    world.no_room = spread(world, 15, 40 * MS)


def connect_anew(world: World) -> None:
    world.unconnected = spread(world, 4, 500 * MS)


def slow_down(world: World) -> None:
    world.slower = [(begin, end, 30 * MS) for begin, end in spread(world, 4, 200 * MS)]


def lose(world: World) -> None:
    first = world.events // 3
    world.losses = set(world.rng.sample(range(first, world.events * 9 // 10), 12))


def lose_before_the_forwarder(world: World) -> None:
    first = world.events // 3
    world.feed_losses = set(world.rng.sample(range(first, world.events * 9 // 10), 12))


def renew_the_feed(world: World) -> None:
    world.feed_renewed = [(begin, end, 15 * MS) for begin, end in spread(world, 4, 200 * MS)]


def disturb_all(world: World) -> None:
    for _link, one in DISTURBED[:8]:
        one(world)
    for name, count in (("receiver_away", 4), ("forwarder_away", 4), ("no_room", 4), ("slower", 1)):
        setattr(world, name, getattr(world, name)[:count])
    for name in ("unconnected", "feed_renewed"):
        setattr(world, name, getattr(world, name)[:2])


DISTURBED = [
    *((True, one) for one in (stall_receiver, stall_forwarder, leave_no_room, connect_anew, slow_down, lose)),
    *((True, one) for one in (lose_before_the_forwarder, renew_the_feed)),
    *((False, one) for one in (stall_receiver, slow_down, lose)),
]
SEEDS = [pytest.param(seed, marks=() if seed < 2 else pytest.mark.exhaustive) for seed in range(20)]


def right(judged: Cause, truth: Cause) -> bool:
    return (Cause.RETRANSMISSION if judged is Cause.BEHIND_RETRANSMISSION else judged) is truth


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(("link", "disturb"), DISTURBED)
def test_nearly_all_of_the_tail_gets_the_cause_that_it_has(link: bool, disturb: Disturb, seed: int) -> None:
    world = World(random.Random(seed))
    disturb(world)
    judged = run(world, link=link)
    assert len(judged) > 40
    wrong = Counter(pair for pair in judged if not right(*pair))
    assert wrong.total() <= 0.05 * len(judged), (wrong, len(judged))
    assert len({truth for _cause, truth in judged}) > 1 or disturb is slow_down, "the disturbance shows"


@pytest.mark.parametrize("seed", SEEDS)
def test_where_all_goes_wrong_at_once_nearly_all_still_get_theirs(seed: int) -> None:
    """In one read a hole and a standstill can't be told apart, for it has one stamp; that is seldom so."""
    world = World(random.Random(seed), events=12_000)
    disturb_all(world)
    judged = run(world, link=True)
    truths = Counter(truth for _cause, truth in judged)
    wrong = Counter(pair for pair in judged if not right(*pair))
    # Of eight: not each world's half a minute has all of them in its tail.
    assert len(truths) >= 6
    assert wrong.total() <= 0.05 * len(judged), (wrong, len(judged))


@pytest.mark.exhaustive
def test_of_each_cause_nearly_all_are_found_where_all_goes_wrong() -> None:
    truths: Counter[Cause] = Counter()
    wrong: Counter[Cause] = Counter()
    for seed in range(20):
        world = World(random.Random(seed), events=12_000)
        disturb_all(world)
        judged = run(world, link=True)
        truths.update(truth for _cause, truth in judged)
        wrong.update(truth for cause, truth in judged if not right(cause, truth))
    assert len(truths) == 8
    for truth, count in truths.items():
        # While its feed's connection is new, what arrives late at once is taken for that, and not for a standstill.
        most = 0.3 if truth is Cause.FORWARDER_BUSY else 0.05
        assert wrong[truth] <= most * count, (truth, wrong, truths)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("link", [True, False])
def test_where_nothing_of_ours_went_wrong_little_is_blamed_on_us(link: bool, seed: int) -> None:
    judged = run(World(random.Random(seed), events=12_000), link=link)
    assert len(judged) > 40
    assert sum(cause is not Cause.NETWORK for cause, _truth in judged) <= 0.01 * len(judged), Counter(judged)


COUNTED = st.integers(0, 10**9)
EVIDENCE = st.builds(
    TailEvidence,
    COUNTED,
    *(st.booleans(),) * 5,
    *(COUNTED,) * 4,
    st.booleans(),
    COUNTED,
    st.booleans(),
    st.booleans(),
)


@given(EVIDENCE)
def test_the_cause_is_what_no_other_part_and_no_rest_is_larger_than(evidence: TailEvidence) -> None:
    cause = judge(evidence)
    parts = dict.fromkeys(Cause, 0)
    whose_hold = (
        Cause.RECONNECT if evidence.unconnected else Cause.OWN_QUEUE if evidence.queued else Cause.FORWARDER_BUSY
    )
    parts[Cause.FORWARDER_BUSY] = evidence.forwarder_late_ns
    parts[whose_hold] += evidence.hold_ns
    parts[Cause.RECEIVER_BUSY] = evidence.receiver_late_ns
    parts[Cause.RETRANSMISSION if evidence.first else Cause.BEHIND_RETRANSMISSION] = evidence.held_ns
    if evidence.feed_held:
        parts[Cause.FEED_RETRANSMISSION] = evidence.feed_ns
    elif evidence.feed_renewed and evidence.far:
        parts[Cause.FEED_RECONNECT] = evidence.feed_ns
    parts[Cause.NETWORK] = evidence.excess_ns - sum(parts.values())
    assert list(parts) == list(MEANINGS)
    if evidence.suspect:
        assert cause is Cause.CLOCK
    elif cause is Cause.NETWORK or (cause is Cause.RECONNECT and not parts[Cause.RECONNECT]):
        assert all(part <= max(0, parts[Cause.NETWORK]) for part in parts.values())
        assert (cause is Cause.RECONNECT) == (evidence.renewed and evidence.far)
    elif cause is Cause.RECONNECT and evidence.renewed and evidence.far:
        assert max(parts[Cause.RECONNECT], parts[Cause.NETWORK]) == max(parts.values())
    else:
        assert parts[cause] == max(parts.values()) > 0


def test_a_tie_is_the_processes_and_not_the_networks() -> None:
    assert judge(TailEvidence(10, receiver_late_ns=5)) is Cause.RECEIVER_BUSY
    assert judge(TailEvidence(10, receiver_late_ns=4)) is Cause.NETWORK
    assert judge(TailEvidence(10, receiver_late_ns=4, hold_ns=3)) is Cause.RECEIVER_BUSY


def test_a_new_connection_is_blamed_for_what_nothing_else_explains_and_not_for_the_usual_tail() -> None:
    for far, cause in ((True, Cause.RECONNECT), (False, Cause.NETWORK)):
        assert judge(TailEvidence(20, far=far, renewed=True)) is cause
    assert judge(TailEvidence(20, far=True)) is Cause.NETWORK
    assert judge(TailEvidence(20, far=True, renewed=True, held_ns=15)) is Cause.BEHIND_RETRANSMISSION
    for far, held, cause in (
        (True, False, Cause.FEED_RECONNECT),
        (False, False, Cause.NETWORK),
        (True, True, Cause.FEED_RETRANSMISSION),
    ):
        assert judge(TailEvidence(20, far=far, feed_renewed=True, feed_held=held, feed_ns=15)) is cause


def test_the_percentile_is_that_of_the_last_minutes() -> None:
    recent = Recent()
    rng = random.Random(5)
    for minute in range(20):
        level = 70 * MS if minute < 10 else 90 * MS
        for _event in range(600):
            recent.record(level + rng.randrange(2 * MS))
        recent.refresh(minute * 60 * 1000 * MS)
        if 5 < minute < 10 or minute > 15:
            assert recent.above_ns == pytest.approx(level + 0.99 * 2 * MS, abs=0.1 * MS)
            assert recent.usual_ns == pytest.approx(level + MS, abs=0.1 * MS)
            assert recent.far_ns == pytest.approx(level + 7 * MS, abs=MS)


def test_nothing_is_in_the_tail_before_there_is_a_percentile() -> None:
    recent = Recent()
    for number in range(LEAST - 1):
        recent.record(number)
        recent.refresh(number)
    assert recent.above_ns == NEVER_NS
    recent.record(LEAST)
    recent.refresh(HALF_NS)
    assert recent.above_ns == pytest.approx(LEAST * 0.99, abs=2)


def test_after_a_step_of_a_clock_its_events_are_the_clocks_until_the_percentile_is_of_the_new_scale() -> None:
    tail = Tail()
    events = [feed_event("btcusdt@trade", 1, time_ns=EPOCH_NS)]
    stamp = Stamp(EPOCH_NS, KERNEL, EPOCH_NS, 0)
    for _event in range(2 * LEAST):
        tail.timed.record(10 * MS)
    tail.tend(0, 0)
    assert tail.timed.above_ns == 10 * MS
    assert tail.judge_feed(11 * MS, events, 0, stamp, KERNEL) is Cause.NETWORK
    tail.forget()
    assert tail.judge_feed(90 * MS, events, 0, stamp, KERNEL) is Cause.CLOCK
    for _event in range(LEAST):
        tail.timed.record(90 * MS)
    tail.tend(10_000 * MS, 0)
    assert tail.timed.above_ns == 90 * MS
    assert tail.judge_feed(91 * MS, events, 0, stamp, KERNEL) is Cause.NETWORK
    tail.suspect = True
    assert tail.judge_feed(91 * MS, events, 0, stamp, KERNEL) is Cause.CLOCK


def test_after_a_standstill_each_connection_is_late_from_its_own_last_read() -> None:
    """The reads of others on the same path say nothing of when this one's events came."""
    tail = Tail()
    for _sample in range(2 * LEAST):
        tail.timed.record(MS)
    tail.tend(1, 0)
    for connection in range(3):
        events = [feed_event("btcusdt@trade", one, time_ns=EPOCH_NS + one * MS) for one in (0, 150)]
        came_ns, read_ns = EPOCH_NS + 151 * MS, EPOCH_NS + 152 * MS + connection
        stamp = Stamp(came_ns, KERNEL, read_ns, 0, before_ns=EPOCH_NS - MS)
        assert tail.judge_feed(151 * MS, events, 0, stamp, StampKind.SHARED) is Cause.RECEIVER_BUSY
        # Had it been read just before, it would have come with that.
        fresh = Stamp(came_ns, KERNEL, read_ns, 0, before_ns=EPOCH_NS + 120 * MS)
        assert tail.judge_feed(151 * MS, events, 0, fresh, StampKind.SHARED) is Cause.NETWORK


@pytest.mark.parametrize("kind", [kind for kind in StampKind if not exact(kind)])
def test_a_standstill_shows_whatever_the_stamp_is(kind: StampKind) -> None:
    tail = Tail()
    for _sample in range(2 * LEAST):
        tail.timed.record(MS)
    tail.tend(1, 0)
    events = [feed_event("btcusdt@trade", one, time_ns=EPOCH_NS + one * MS) for one in (0, 150)]
    stamp = Stamp(EPOCH_NS + 151 * MS, kind, EPOCH_NS + 151 * MS, 0, before_ns=EPOCH_NS - MS)
    assert tail.judge_feed(151 * MS, events, 0, stamp, kind) is Cause.RECEIVER_BUSY
    left_ns = EPOCH_NS - 10 * MS
    sent = [
        LinkEvent(one, left_ns, KERNEL, left_ns, left_ns + one * MS, one, "btcusdt@trade", False, b"{}")
        for one in (0, 150)
    ]
    assert tail.take_link(tail.timed, 151 * MS, sent, 0, stamp, kind, sample=False) is Cause.RECEIVER_BUSY


def test_what_came_out_of_order_explains_one_read_and_no_later_one() -> None:
    """A receiver that stands still right after a lost packet is told apart from that."""
    tail = Tail()
    for _sample in range(2 * LEAST):
        tail.timed.record(MS)
    tail.tend(1, 0)
    disorder = [0]
    tail.out_of_order = lambda: disorder[0]
    tail.tend(2, 0)

    def judged(at: int, held_ns: int) -> Cause:
        came_ns = EPOCH_NS + at * MS
        kind = StampKind.USER if held_ns else StampKind.SHARED
        events = [feed_event("btcusdt@trade", at + one, time_ns=came_ns - (40 - one) * MS) for one in (0, 40)]
        return tail.judge_feed(41 * MS, events, 0, Stamp(came_ns, kind, came_ns + MS, at * MS, held_ns=held_ns), kind)

    disorder[0] = 9
    assert judged(1_000, 30 * MS) is Cause.RETRANSMISSION
    assert judged(2_000, 0) is Cause.RECEIVER_BUSY
    disorder[0] = 10
    assert judged(3_000, 0) is Cause.RETRANSMISSION
    assert judged(4_000, 0) is Cause.RECEIVER_BUSY


def test_a_long_read_of_the_forwarder_that_comes_in_pieces_is_told_by_what_its_feed_usually_takes() -> None:
    """As much as TCP lets go at once comes first, without the read's last event, whose stamp all of it has."""
    path = account()
    for number in range(1, 2 * LEAST):
        at = number * MS
        one = Sent(number, at, at + 3 * MS, at + 3 * MS, left=at + 3 * MS + 40_000)
        arrived_ns = EPOCH_NS + at + 70 * MS
        path.observe_link(1, [one.event()], Stamp(arrived_ns, KERNEL, arrived_ns, at), together=False)
    path.expire(0)
    number, stood_ns = 3 * LEAST, 3 * LEAST * MS
    stamped_ns = stood_ns + 150 * MS
    for begin, end in ((0, 60), (60, 100), (100, 150)):
        part = [
            Sent(number + at, stood_ns + at * MS, 0, stamped_ns, at == 149, stamped_ns + MS).event()
            for at in range(begin, end)
        ]
        arrived_ns = EPOCH_NS + stamped_ns + MS + 67 * MS
        path.observe_link(1, part, Stamp(arrived_ns, KERNEL, arrived_ns, stamped_ns), together=True)
    counts = path.tail.events
    assert counts[Cause.FORWARDER_BUSY] > 100
    assert counts[Cause.FORWARDER_BUSY] >= 0.95 * sum(counts.values()), counts


def late_by_90_ms(*, delayed: bool = False, renewed: bool = False, more: int = 20 * MS) -> Cause:
    """Judge an event of a link on whose way nothing was lost."""
    path = account()
    for number in range(2 * LEAST):
        came = Sent(number + 1, number * MS, number * MS, number * MS, left=number * MS)
        arrived_ns = EPOCH_NS + number * MS + 70 * MS
        path.observe_link(1, [came.event()], Stamp(arrived_ns, KERNEL, arrived_ns, number * MS), together=False)
    path.expire(0)
    number = 3 * LEAST
    left = number * MS + (more if delayed else 0)
    event = Sent(number, number * MS, number * MS, number * MS, left=left).event()
    event.delayed = delayed
    if renewed:
        path.interrupt()
    arrived_ns = EPOCH_NS + number * MS + 70 * MS + more
    path.observe_link(1, [event], Stamp(arrived_ns, KERNEL, arrived_ns, number * MS), together=False)
    (cause,) = (cause for cause, count in path.tail.events.items() if count)
    assert path.tail.worst_ns[cause] == pytest.approx(more, rel=0.01)
    return cause


def test_what_waited_for_its_connection_is_the_reconnects_and_so_is_a_first_time_out_on_a_new_one() -> None:
    """What TCP repeats after a time-out, it repeats after 200 ms at the earliest; what is less late is the way's."""
    assert late_by_90_ms(delayed=True) is Cause.RECONNECT
    assert late_by_90_ms(renewed=True, more=210 * MS) is Cause.RECONNECT
    assert late_by_90_ms(renewed=True, more=190 * MS) is Cause.NETWORK
    assert late_by_90_ms(more=210 * MS) is Cause.NETWORK


@pytest.mark.parametrize("link", [True, False])
def test_rows_of_events_in_the_tail_have_the_cause_and_what_tcp_says_and_no_others(*, link: bool) -> None:
    path = account(link=link)
    rows: list[Row] = []
    path._row = rows.append
    asked: list[int] = []

    def tcp() -> tuple[int, int, int]:
        asked.append(len(rows))
        return 70 * MS, 1, len(asked)

    path.tail.tcp = tcp
    number = 0

    def read(count: int, delay_ns: int) -> None:
        nonlocal number
        first, number = number + 1, number + count
        at = [EPOCH_NS + one * MS for one in range(first, number + 1)]
        stamp = Stamp(at[-1] + delay_ns, KERNEL, at[-1] + delay_ns, number * MS)
        if link:
            passed = [time - EPOCH_NS for time in at]
            sent = [Sent(first + index, ns, ns, ns, left=ns) for index, ns in enumerate(passed)]
            path.observe_link(1, [one.event() for one in sent], stamp, together=True)
        else:
            events = [feed_event("btcusdt@trade", first + index, time_ns=time) for index, time in enumerate(at)]
            path.observe_feed(events, stamp)

    for _read in range(2 * LEAST):
        read(1, 10 * MS)
    path.expire(0)
    read(3, 90 * MS)
    read(1, 10 * MS)
    read(2, 50 * MS)
    *before, first, second, third, usual, fourth, fifth = rows
    assert {(row.cause, row.tcp_rtt_ns, row.tcp_retransmitted, row.tcp_out_of_order) for row in (*before, usual)} == {
        (None, None, None, None)
    }
    # TCP is asked once a read, and only of reads with such events.
    assert [row.tcp_out_of_order for row in (first, second, third, fourth, fifth)] == [1, 1, 1, 2, 2]
    assert {(row.cause, row.tcp_rtt_ns, row.tcp_retransmitted) for row in (first, second, third, fourth, fifth)} == {
        ("network", 70 * MS, 1)
    }
    assert path.tail.events[Cause.NETWORK] == 5


class Read(list[Any]):
    """The events of a read, which notes how often somebody goes through all of them."""

    passes = 0

    def __iter__(self) -> Iterator[Any]:
        self.passes += 1
        return super().__iter__()


@pytest.mark.parametrize("link", [True, False])
def test_a_read_that_is_all_tail_is_gone_through_once_and_not_for_each_of_its_events(*, link: bool) -> None:
    tail = Tail()
    for _sample in range(2 * LEAST):
        tail.timed.record(MS)
    tail.tend(1, 0)
    stamp = Stamp(EPOCH_NS, StampKind.SHARED, EPOCH_NS + MS, MS)
    left_ns = EPOCH_NS - 10 * MS
    events = Read(
        LinkEvent(number, left_ns, StampKind.SHARED, left_ns - MS, left_ns, number, "btcusdt@trade", False, b"{}")
        if link
        else feed_event("btcusdt@trade", number)
        for number in range(500)
    )
    for index in range(len(events)):
        if link:
            assert tail.take_link(tail.timed, 50 * MS, events, index, stamp, StampKind.SHARED, sample=False) is not None
        else:
            tail.judge_feed(50 * MS, events, index, stamp, StampKind.SHARED)
    assert sum(tail.events.values()) == len(events)
    assert 0 < events.passes <= 2
