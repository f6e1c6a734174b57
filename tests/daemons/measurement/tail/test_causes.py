"""Causes of the tail against a model that knows them; and each rule by itself."""

import random
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemons.measurement.account import PathAccount
from daemons.measurement.figures import Instruments
from daemons.measurement.histogram import BucketHistogram, octaves
from daemons.measurement.tail.causes import MEANINGS, Cause, TailEvidence, judge
from daemons.measurement.tail.recent import HALF_NS, LEAST, NEVER_NS, Recent
from daemons.measurement.tail.tail import Tail
from daemons.records import KERNEL, LinkEvent, Stamp, StampKind
from tests.daemons.made import feed_event
from tests.daemons.measurement.tail.world import EPOCH_NS, MS, Sent, World

TICK_NS = 500 * MS
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


def run(world: World, *, link: bool) -> list[tuple[Cause, Cause]]:
    """Run a world into an account, which is tended as a receiver does; return what was judged, and the truth."""
    path = account(link=link)
    path.tail = tail = Watched()
    tail.out_of_order = lambda: world.out_of_order
    next_ns = 0
    for batch, stamp in world.reads():
        while stamp.steady_ns >= next_ns:
            path.expire(next_ns)
            next_ns += TICK_NS
        tail.batch = batch
        if link:
            path.observe_link(1, [one.event() for one in batch], stamp, together=False)
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


def slow_down(world: World) -> None:
    world.slower = [(begin, end, 30 * MS) for begin, end in spread(world, 4, 200 * MS)]


def lose(world: World) -> None:
    first = world.events // 3
    world.losses = set(world.rng.sample(range(first, world.events * 9 // 10), 12))


DISTURBED = [
    *((True, one) for one in (stall_receiver, stall_forwarder, leave_no_room, slow_down, lose)),
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
@pytest.mark.parametrize("link", [True, False])
def test_where_nothing_of_ours_went_wrong_little_is_blamed_on_us(link: bool, seed: int) -> None:
    judged = run(World(random.Random(seed), events=12_000), link=link)
    assert len(judged) > 40
    assert sum(cause is not Cause.NETWORK for cause, _truth in judged) <= 0.01 * len(judged), Counter(judged)


COUNTED = st.integers(0, 10**9)


@given(
    st.builds(
        TailEvidence,
        COUNTED,
        st.booleans(),
        st.booleans(),
        st.booleans(),
        COUNTED,
        COUNTED,
        COUNTED,
        COUNTED,
        st.booleans(),
    )
)
def test_a_cause_explains_at_least_half_and_none_before_it_does(evidence: TailEvidence) -> None:
    cause = judge(evidence)
    half_ns = evidence.excess_ns / 2
    holds = {
        Cause.CLOCK: evidence.suspect,
        Cause.RECONNECT: evidence.renewed,
        Cause.OWN_QUEUE: evidence.queued and evidence.hold_ns >= half_ns,
        Cause.FORWARDER_BUSY: evidence.hold_ns + evidence.forwarder_late_ns >= half_ns,
        Cause.RECEIVER_BUSY: evidence.receiver_late_ns >= half_ns,
        Cause.RETRANSMISSION: bool(evidence.held_ns) and evidence.held_ns >= half_ns and evidence.first,
        Cause.BEHIND_RETRANSMISSION: bool(evidence.held_ns) and evidence.held_ns >= half_ns and not evidence.first,
        Cause.NETWORK: True,
    }
    assert list(holds) == list(Cause) == list(MEANINGS)
    assert cause is next(one for one, it_does in holds.items() if it_does)


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


def test_what_waited_for_its_connection_or_comes_with_a_new_one_is_the_reconnects() -> None:
    path = account()
    for number in range(2 * LEAST):
        came = Sent(number + 1, number * MS, number * MS, number * MS, left=number * MS)
        arrived_ns = EPOCH_NS + number * MS + 70 * MS
        path.observe_link(1, [came.event()], Stamp(arrived_ns, KERNEL, arrived_ns, number * MS), together=False)
    path.expire(0)
    number = 3 * LEAST
    for delayed, renewed in ((True, False), (False, True), (False, False)):
        number += 1
        event = Sent(number, number * MS, number * MS, number * MS, left=number * MS).event()
        event.delayed = delayed
        if renewed:
            path.interrupt()
        arrived_ns = EPOCH_NS + number * MS + 90 * MS
        path.observe_link(1, [event], Stamp(arrived_ns, KERNEL, arrived_ns, number * MS), together=False)
        for later in (1, 2, 3):
            path.expire(later * 10**9)
    assert {cause: count for cause, count in path.tail.events.items() if count} == {
        Cause.RECONNECT: 2,
        Cause.NETWORK: 1,
    }
    assert path.tail.worst_ns[Cause.NETWORK] == pytest.approx(20 * MS, rel=0.01)


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
