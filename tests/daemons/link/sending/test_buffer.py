"""The buffer's one promise, offered == forwarded + dropped + buffered, at every moment of any life."""

import tracemalloc

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from daemons.link.messages import DropReason
from daemons.link.sending.buffer import EVENT_BYTES, BufferLimits, Pending, SendBuffer

EVENTS, SIZE, AGE_NS = 8, 5 * (EVENT_BYTES + 40), 50


class Life(RuleBasedStateMachine):
    """A link's life in random order, with what the peer has got beside it."""

    @initialize(keep=st.booleans())
    def begin(self, keep: bool) -> None:
        self.keep = keep
        self.buffer = SendBuffer(BufferLimits(EVENTS, SIZE, AGE_NS), keep=keep)
        self.now_ns = 0
        self.sequence = 0
        # What was handed to the transport on this connection, what the peer processed of it, and ever.
        self.on_wire: list[int] = []
        self.processed: set[int] = set()
        self.given_up: set[int] = set()

    def pending(self, size: int) -> Pending:
        self.sequence += 1
        return Pending(self.sequence, bytes(size), self.now_ns, self.now_ns)

    def dropped(self) -> int:
        return sum(self.buffer.counts.dropped.values())

    @rule(size=st.integers(1, 60))
    def offer(self, size: int) -> None:
        if self.buffer.waiting or self.buffer.window_full:
            self.wait(size)
        else:
            pending = self.pending(size)
            self.buffer.sent_now(pending)
            self.on_wire.append(pending.sequence)

    @rule(size=st.integers(1, 60))
    def wait(self, size: int) -> None:
        before = self.dropped()
        waiting = [pending.sequence for pending in self.buffer._waiting]
        self.buffer.wait(self.pending(size))
        count = self.dropped() - before
        # The oldest gave way, and no more than had to.
        assert [pending.sequence for pending in self.buffer._waiting] == [*waiting, self.sequence][count:]

    @rule()
    def refuse(self) -> None:
        self.sequence += 1
        self.buffer.refuse(self.sequence, DropReason.TOO_LARGE)

    @rule(count=st.integers(1, 5))
    def send(self, count: int) -> None:
        for _ in range(count):
            if self.buffer.window_full or (taken := self.buffer.take()) is None:
                break
            pending, again = taken
            assert again == (pending.sequence <= self.ever_sent)
            self.on_wire.append(pending.sequence)
            self.ever_sent = max(self.ever_sent, pending.sequence)

    @property
    def ever_sent(self) -> int:
        return max([self._ever_sent, *self.on_wire], default=0)

    @ever_sent.setter
    def ever_sent(self, value: int) -> None:
        self._ever_sent = value

    _ever_sent = 0

    @precondition(lambda self: not self.keep)
    @rule()
    def the_kernel_has_no_room(self) -> None:
        if (taken := self.buffer.take()) is not None:
            self.buffer.untake(taken[0])

    @precondition(lambda self: not self.keep and self.on_wire)
    @rule()
    def there_is_no_route(self) -> None:
        number = self.on_wire.pop()
        self.buffer.lost([Pending(number, b"", 0, 0)])
        self.given_up.add(number)

    @rule(data=st.data())
    def acknowledge(self, data: st.DataObject) -> None:
        """The peer processes what came, in order, and takes as lost what was announced and did not come."""
        highest = data.draw(st.sampled_from([0, *self.on_wire]))
        announced = self.buffer.sent_through
        self.processed |= {number for number in self.on_wire if number <= highest}
        if data.draw(st.booleans()):
            self.processed |= set(self.on_wire)
            highest = max(highest, announced)
        at_most = data.draw(st.none() | st.integers(1, 3))
        released = self.buffer.counts.forwarded
        more = self.buffer.acknowledge(highest, at_most)
        if at_most is None:
            assert not more
        elif more:
            assert self.buffer.counts.forwarded >= released + at_most

    @rule()
    def lose_the_connection(self) -> None:
        self._ever_sent = self.ever_sent
        self.buffer.connection_lost()
        self.on_wire = []

    @rule(ns=st.integers(1, 2 * AGE_NS))
    def let_time_pass(self, ns: int) -> None:
        self.now_ns += ns
        self.buffer.expire(self.now_ns)
        assert all(pending.steady_ns > self.now_ns - AGE_NS for pending in self.buffer._waiting)

    @invariant()
    def everything_is_accounted_for(self) -> None:
        buffer = self.buffer
        assert buffer.counts.offered == self.sequence
        assert buffer.counts.offered == buffer.counts.forwarded + self.dropped() + buffer.buffered

    @invariant()
    def memory_is_bounded_and_counted(self) -> None:
        buffer = self.buffer
        held = [*buffer._in_doubt, *buffer._waiting, *buffer._unacknowledged]
        assert buffer.buffered == len(held)
        assert buffer.size == sum(EVENT_BYTES + len(pending.frame) for pending in held)
        assert len(buffer._waiting) <= EVENTS
        assert len(buffer._unacknowledged) + len(buffer._in_doubt) <= EVENTS
        assert buffer.size <= 2 * SIZE + EVENT_BYTES + 60

    @invariant()
    def order_is_kept(self) -> None:
        if self.keep:
            buffer = self.buffer
            for_sending = [pending.sequence for pending in (*buffer._in_doubt, *buffer._waiting)]
            assert for_sending == sorted(for_sending)
            assert self.on_wire == sorted(self.on_wire)

    @invariant()
    def delivered_is_what_the_peer_has(self) -> None:
        """Nothing counts as delivered that the peer never got: not even what was announced."""
        if self.keep:
            buffer = self.buffer
            still_held = sum(pending.sequence <= buffer.acknowledged for pending in buffer._unacknowledged)
            assert buffer.counts.forwarded + still_held == len(self.processed)

    def teardown(self) -> None:
        if hasattr(self, "buffer"):
            self.buffer.abandon(DropReason.SHUTDOWN)
            assert self.buffer.buffered == self.buffer.size == 0
            self.everything_is_accounted_for()


Life.TestCase.settings = settings(stateful_step_count=30)
TestLife = Life.TestCase


def filled(limits: BufferLimits, count: int, *, keep: bool = True) -> SendBuffer:
    buffer = SendBuffer(limits, keep=keep)
    for number in range(1, count + 1):
        buffer.wait(Pending(number, bytes(10), 0, number))
    return buffer


@pytest.mark.parametrize(
    ("limits", "reason", "left"),
    [
        (BufferLimits(events=3), DropReason.COUNT, [3, 4, 5]),
        (BufferLimits(size=2 * EVENT_BYTES + 25), DropReason.BYTES, [4, 5]),
    ],
)
def test_the_oldest_gives_way(limits: BufferLimits, reason: DropReason, left: list[int]) -> None:
    buffer = filled(limits, 5)
    assert {why: count for why, count in buffer.counts.dropped.items() if count} == {reason: 5 - len(left)}
    sent = []
    while taken := buffer.take():
        sent.append(taken[0].sequence)
    assert sent == left


def test_age_is_counted_from_the_offer() -> None:
    buffer = filled(BufferLimits(age_ns=100), 5)
    buffer.expire(103)
    assert buffer.counts.dropped[DropReason.AGE] == 3
    assert buffer.waiting == 2


def test_what_is_in_doubt_is_not_dropped_and_goes_first() -> None:
    buffer = filled(BufferLimits(events=3, age_ns=100), 3)
    while buffer.take():
        pass
    buffer.connection_lost()
    for number in (4, 5, 6, 7):
        buffer.wait(Pending(number, b"x", 0, number))
    buffer.expire(10_000)
    assert sum(buffer.counts.dropped.values()) == 4
    assert [taken[0].sequence for taken in iter(buffer.take, None)] == [1, 2, 3]
    buffer.acknowledge(3)
    assert (buffer.counts.forwarded, buffer.buffered) == (3, 0)


def test_what_was_acknowledged_is_released_in_portions_and_never_sent_again() -> None:
    buffer = filled(BufferLimits(), 5)
    while buffer.take():
        pass
    assert buffer.acknowledge(4, at_most=2)
    assert (buffer.counts.forwarded, buffer.buffered) == (2, 3)
    buffer.connection_lost()
    assert [taken[0].sequence for taken in iter(buffer.take, None)] == [5]
    assert not buffer.acknowledge(5, at_most=2)
    assert (buffer.counts.forwarded, buffer.buffered, buffer.size) == (5, 0, 0)


def test_what_is_still_in_doubt_is_not_announced() -> None:
    buffer = filled(BufferLimits(), 5)
    while buffer.take():
        pass
    buffer.acknowledge(1)
    assert buffer.sent_through == 5
    buffer.connection_lost()
    assert buffer.sent_through == 1
    assert buffer.take() is not None
    assert buffer.sent_through == 2


def test_a_destination_that_joins_late_has_nothing_to_do_with_what_came_before() -> None:
    buffer = SendBuffer(BufferLimits(), keep=True, begin=15_068)
    assert (buffer.acknowledged, buffer.sent_through) == (15_068, 15_068)
    buffer.sent_now(Pending(15_069, b"x", 0, 0))
    buffer.acknowledge(15_069)
    assert (buffer.counts.offered, buffer.counts.forwarded) == (1, 1)


def test_a_last_event_that_is_too_large_is_announced() -> None:
    buffer = SendBuffer(BufferLimits(), keep=False)
    buffer.sent_now(Pending(1, b"x", 0, 0))
    buffer.refuse(2, DropReason.TOO_LARGE)
    assert buffer.sent_through == 2
    buffer.wait(Pending(3, b"x", 0, 0))
    buffer.refuse(4, DropReason.TOO_LARGE)
    assert buffer.sent_through == 2


@pytest.mark.parametrize("size", [2, 100, 3000])
def test_what_a_buffer_says_to_hold_is_what_it_takes(size: int) -> None:
    tracemalloc.start()
    try:
        buffer = SendBuffer(BufferLimits(), keep=True)
        before, _peak = tracemalloc.get_traced_memory()
        for number in range(1000, 11_000):
            buffer.wait(Pending(number, number.to_bytes(size, "little"), 10**18 + number, 10**12 + number))
        after, _peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert 0.8 * buffer.size < after - before < 1.05 * buffer.size


@pytest.mark.parametrize("said", [4, 1_000, 2**64 - 1])
def test_an_acknowledgement_of_more_than_was_sent_makes_no_deliveries(said: int) -> None:
    buffer = SendBuffer(BufferLimits(), keep=True)
    for number in range(1, 4):
        buffer.sent_now(Pending(number, b"x", 0, 0))
    for number in range(4, 7):
        buffer.wait(Pending(number, b"x", 0, 0))
    buffer.acknowledge(said)
    assert (buffer.counts.forwarded, buffer.buffered, buffer.acknowledged) == (3, 3, 3)
    while buffer.take() is not None:
        pass
    buffer.connection_lost()
    assert (buffer.counts.forwarded, buffer.buffered) == (3, 3)
    buffer.acknowledge(6)
    assert (buffer.counts.forwarded, buffer.buffered) == (6, 0)
