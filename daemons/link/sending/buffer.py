"""What one destination has not got yet: a bounded queue in which every event ends up delivered or counted.

At every moment ``offered == forwarded + dropped + buffered``.
"""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

import msgspec

from daemons.link.messages import DropReason
from daemons.link.sending.given_up import GivenUp

__all__ = ["BufferLimits", "EventCounts", "Pending", "SendBuffer"]


@dataclass(slots=True)
class EventCounts:
    """What became of a destination's events, whichever buffer had them.

    Attributes:
        offered: events put in.
        forwarded: events acknowledged, or sent where nothing acknowledges.
        dropped: events given up, by reason.
    """

    offered: int = 0
    forwarded: int = 0
    dropped: dict[DropReason, int] = field(default_factory=lambda: dict.fromkeys(DropReason, 0))

    @property
    def buffered(self) -> int:
        """Events neither delivered nor given up."""
        return self.offered - self.forwarded - sum(self.dropped.values())


@dataclass(frozen=True, slots=True)
class BufferLimits:
    """What may wait at most while the link is down.

    Attributes:
        events: how many.
        size: bytes of memory; what was sent but not acknowledged may take as much again.
        age_ns: since the event was offered.
    """

    events: int = 100_000
    size: int = 64 << 20
    age_ns: int = 60_000_000_000


EVENT_BYTES = 200
"""What an event takes in memory beside its frame: the object, its numbers, its place in a queue."""


class Pending(msgspec.Struct, gc=False):
    """An event in the buffer.

    Attributes:
        sequence: its number.
        frame: its bytes on the wire.
        receive_ns: its arrival at the forwarder, by the wall clock.
        steady_ns: the same on the monotonic scale.
    """

    sequence: int
    frame: bytes
    receive_ns: int
    steady_ns: int


class SendBuffer:
    """Events waiting to be sent, and events sent that the peer has not acknowledged.

    What was sent but not acknowledged is in doubt after a lost connection: only the next receiver can say whether it
    has it. Such events are therefore never dropped for age or room; ``window_full`` tells the sender to keep them few.

    Args:
        limits: bounds for what waits.
        keep: keep events until acknowledged (a link that acknowledges); otherwise sending is delivery.
        begin: the highest number used before this destination was there: nothing up to it is its business.
        counts: where to go on counting; of an earlier link to the same destination, or new.

    Attributes:
        counts: what became of the events.
        given_up: their numbers, where the receiver could take them for lost: nothing acknowledges.
        acknowledged: highest sequence that a receiver said it has processed.
    """

    def __init__(self, limits: BufferLimits, *, keep: bool, begin: int = 0, counts: EventCounts | None = None) -> None:
        self._limits = limits
        self._keep = keep
        self._waiting: deque[Pending] = deque()
        self._in_doubt: deque[Pending] = deque()
        self._unacknowledged: deque[Pending] = deque()
        self._size = 0
        self.counts = EventCounts() if counts is None else counts
        self.given_up = GivenUp()
        self.acknowledged = begin
        self._highest_sent = begin

    @property
    def buffered(self) -> int:
        """Events held: sent and not acknowledged, or still to be sent."""
        return len(self._waiting) + len(self._in_doubt) + len(self._unacknowledged)

    @property
    def waiting(self) -> int:
        """Events to be sent, for the first time or again."""
        return len(self._in_doubt) + len(self._waiting)

    @property
    def size(self) -> int:
        """Bytes of memory that the events held take."""
        return self._size

    @property
    def sent_through(self) -> int:
        """The number up to which everything was sent on the present connection, or given up.

        What is still in doubt was sent on an earlier one; to announce it would make the receiver believe it lost.
        """
        return self._in_doubt[0].sequence - 1 if self._in_doubt else self._highest_sent

    @property
    def window_full(self) -> bool:
        """Whether so much is unacknowledged that nothing more should be sent."""
        return len(self._unacknowledged) >= self._limits.events or self._size > 2 * self._limits.size

    @property
    def is_clear(self) -> bool:
        """Whether nothing stands before the next event: it may be sent as soon as it is offered."""
        return not (self._waiting or self._in_doubt or self.window_full)

    def sent_now(self, pending: Pending) -> None:
        """Account for an event that was sent as soon as it was offered."""
        self.counts.offered += 1
        self._highest_sent = pending.sequence
        if self._keep:
            self._unacknowledged.append(pending)
            self._size += _size_of(pending)
        else:
            self.counts.forwarded += 1

    def wait(self, pending: Pending) -> None:
        """Put in an event that cannot be sent now; the oldest waiting ones give way when there is no room."""
        self.counts.offered += 1
        self._waiting.append(pending)
        self._size += _size_of(pending)
        self._make_room()

    def limit(self, limits: BufferLimits) -> None:
        """Go on with other bounds; the oldest waiting events give way where there is no room any more."""
        self._limits = limits
        self._make_room()

    def _make_room(self) -> None:
        while len(self._waiting) > self._limits.events:
            self._drop_oldest(DropReason.COUNT)
        while self._size > self._limits.size and self._waiting:
            self._drop_oldest(DropReason.BYTES)

    def refuse(self, sequence: int, reason: DropReason) -> None:
        """Account for an event that can never be sent; as the last one of all it is announced all the same."""
        self.counts.offered += 1
        self._give_up(sequence, reason)
        if not self.waiting:
            self._highest_sent = max(self._highest_sent, sequence)

    def take(self) -> tuple[Pending, bool] | None:
        """Take the next event for sending, those in doubt first; it counts as sent.

        Returns:
            The event, and whether it was sent before; None when nothing waits.
        """
        again = bool(self._in_doubt)
        queue = self._in_doubt or self._waiting
        if not queue:
            return None
        pending = queue.popleft()
        self._highest_sent = max(self._highest_sent, pending.sequence)
        if self._keep:
            self._unacknowledged.append(pending)
        else:
            self._size -= _size_of(pending)
            self.counts.forwarded += 1
        return pending, again

    def untake(self, pending: Pending) -> None:
        """Put back an event just taken: the transport did not accept it. Only where nothing acknowledges."""
        assert not self._keep
        self._waiting.appendleft(pending)
        self._size += _size_of(pending)
        self._highest_sent = pending.sequence - 1
        self.counts.forwarded -= 1

    def lost(self, pendings: Iterable[Pending]) -> None:
        """Account for events that were handed over, and that the transport then could not send. As ``untake``."""
        assert not self._keep
        for pending in pendings:
            self.counts.forwarded -= 1
            self._give_up(pending.sequence, DropReason.SEND)

    def acknowledge(self, highest: int, at_most: int | None = None) -> bool:
        """Take in that the receiver has processed everything sent up to ``highest``; account for it, and release it.

        Args:
            highest: its number.
            at_most: how many events to release of those sent on this connection; None for all of them.

        Returns:
            Whether more can be released, by calling again.
        """
        if self._keep:
            # Nobody can have what was not sent: a receiver that says so must not make deliveries of what still waits.
            highest = min(highest, self._highest_sent)
        highest = self.acknowledged = max(self.acknowledged, highest)
        sent = self._unacknowledged
        for queue, most in ((self._in_doubt, None), (sent, at_most)):
            for _turn in range(len(queue))[:most]:
                if queue[0].sequence > highest:
                    break
                self._size -= _size_of(queue.popleft())
                self.counts.forwarded += 1
        return bool(sent) and sent[0].sequence <= highest

    def connection_lost(self) -> None:
        """Note that only the next receiver can say what became of the unacknowledged."""
        self.acknowledge(self.acknowledged)
        self._in_doubt.extendleft(reversed(self._unacknowledged))
        self._unacknowledged.clear()

    def expire(self, now_ns: int) -> None:
        """Give up what has waited too long without ever being sent."""
        oldest_ns = now_ns - self._limits.age_ns
        while self._waiting and self._waiting[0].steady_ns <= oldest_ns:
            self._drop_oldest(DropReason.AGE)

    def abandon(self, reason: DropReason) -> None:
        """Give up everything: the daemon ends."""
        self.counts.dropped[reason] += self.buffered
        for queue in (self._waiting, self._in_doubt, self._unacknowledged):
            queue.clear()
        self._size = 0

    def _drop_oldest(self, reason: DropReason) -> None:
        pending = self._waiting.popleft()
        self._size -= _size_of(pending)
        self._give_up(pending.sequence, reason)

    def _give_up(self, sequence: int, reason: DropReason) -> None:
        self.counts.dropped[reason] += 1
        if not self._keep:
            self.given_up.add(sequence)


def _size_of(pending: Pending) -> int:
    return EVENT_BYTES + len(pending.frame)
