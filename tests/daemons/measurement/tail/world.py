"""A model of exchange, forwarder, way and receiver that knows why each event came when it did.

Packets queue in order, processes read all that waits when they are woken, and stamps are what the kernel would give: of
the last packet in the order of the stream. Times in nanoseconds.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass, field

from daemons.forwarder.feedway import APART_NS, RENEWED_NS
from daemons.measurement.tail.causes import Cause
from daemons.records import KERNEL, LATE_NS, SHARED, LinkEvent, Stamp, StampKind

__all__ = ["EPOCH_NS", "MS", "Sent", "World"]

EPOCH_NS = 1_700_000_000_000_000_000
MS = 1_000_000
PIECE_NS = 200_000
"""From a read to the next, of what waited."""
STREAM = "btcusdt@trade"


@dataclass(slots=True)
class Sent:
    """An event with its way: when it was emitted, came to the forwarder, was read there, left, came, could be read."""

    number: int
    emitted: int
    came: int = 0
    stamped: int = 0
    exact: bool = True
    left: int = 0
    waited: bool = False
    arrived: int = 0
    readable: int = 0
    reached: int = 0
    queued: int = 0
    unconnected: int = 0
    feed_held_ns: int = 0
    feed_slower: int = 0
    feed_held: bool = False
    feed_late: bool = False
    feed_renewed: bool = False

    def cause(self, stamp_ns: int, excess_ns: int) -> Cause:
        """Tell what most of the excess is: what it waited for where, or the network's share, which is the rest."""
        waits = {
            Cause.RECONNECT: self.unconnected,
            Cause.OWN_QUEUE: self.queued,
            Cause.FEED_RECONNECT: self.feed_slower if self.feed_renewed else 0,
            Cause.FEED_RETRANSMISSION: self.feed_held_ns,
            Cause.FORWARDER_BUSY: self.left - self.came - self.feed_held_ns - self.queued - self.unconnected,
            Cause.RECEIVER_BUSY: stamp_ns - EPOCH_NS - self.readable,
            Cause.RETRANSMISSION: self.readable - self.reached,
        }
        waits[Cause.NETWORK] = excess_ns - sum(waits.values())
        return max(waits, key=lambda cause: waits[cause])

    def event(self) -> LinkEvent:
        """As the link carries it."""
        kind = StampKind.USER if self.feed_late else KERNEL if self.exact else SHARED
        time_ns, stamp_ns = EPOCH_NS + self.emitted, EPOCH_NS + self.stamped
        left_ns = EPOCH_NS + self.left
        event = LinkEvent(self.number, stamp_ns, kind, time_ns, left_ns, self.number, STREAM, False, b"{}")
        event.waited, event.sampled = self.waited, not self.waited and self.number % 20 == 0
        event.delayed = self.unconnected > 0
        event.feed_held, event.feed_renewed = self.feed_held, self.feed_renewed
        return event


@dataclass(slots=True)
class World:
    """One path; what goes wrong is set before it runs, as intervals of time.

    Attributes:
        rng: all chance.
        events: how many.
        rate: events a second.
        forwarder_away, receiver_away: when the process did not run.
        no_room: when the forwarder's socket took nothing.
        unconnected: when there was no connection.
    slower: when packets took so much longer.
        losses: packets, by number, that are lost once.
        feed_losses: the same on the way to the forwarder, where each event has a packet.
        feed_renewed: when the feed had a new connection, until when its packets took longer, and by how much.
        way_ns, feed_ns: the ways' usual delays.
        out_of_order: how many packets have come so far while one before them was missing.
    """

    rng: random.Random
    events: int = 6_000
    rate: float = 400.0
    forwarder_away: list[tuple[int, int]] = field(default_factory=list)
    receiver_away: list[tuple[int, int]] = field(default_factory=list)
    no_room: list[tuple[int, int]] = field(default_factory=list)
    unconnected: list[tuple[int, int]] = field(default_factory=list)
    slower: list[tuple[int, int, int]] = field(default_factory=list)
    losses: set[int] = field(default_factory=set)
    feed_losses: set[int] = field(default_factory=set)
    feed_renewed: list[tuple[int, int, int]] = field(default_factory=list)
    feed_ns: int = 3 * MS
    way_ns: int = 70 * MS
    out_of_order: int = 0

    def length_ns(self) -> int:
        """About how long it all takes."""
        return round(self.events / self.rate * 1e9)

    def reads(self) -> Iterator[tuple[list[Sent], Stamp]]:
        """Give what the receiver reads, with the stamp that it gets."""
        before_ns, pieces = 0, random.Random(self.events)
        waits = [(one, one.arrived, one.readable) for one in self._sent()]
        for waiting, first in self._read(waits, self.receiver_away):
            for piece, batch in enumerate(_in_pieces(waiting, pieces)):
                woken = first + piece * PIECE_NS
                last = batch[-1]
                self.out_of_order += len({one.left for one in batch if one.readable > one.arrived})
                stamp = Stamp(EPOCH_NS + last.arrived, KERNEL, EPOCH_NS + woken, last.arrived, before_ns=before_ns)
                lay = woken - last.arrived
                if lay > LATE_NS and any(one.readable > one.arrived for one in batch):
                    stamp = Stamp(EPOCH_NS + woken, StampKind.USER, EPOCH_NS + woken, woken, held_ns=lay)
                before_ns = stamp.ns
                yield batch, stamp

    def _sent(self) -> list[Sent]:
        sent: list[Sent] = []
        now = came = feed_readable = 0
        for number in range(1, self.events + 1):
            now += round(self.rng.expovariate(self.rate) * 1e9)
            slower = sum(more for begin, end, more in self.feed_renewed if begin <= now < end)
            alone = now + self.feed_ns + self._jitter()
            came = max(came + 500, alone + slower)
            # One that is lost comes again once later ones have told of it.
            feed_readable = max(feed_readable, came + (10 * self.feed_ns if number in self.feed_losses else 0))
            one = Sent(number, now, came, feed_held_ns=feed_readable - came, feed_slower=came - alone)
            one.feed_renewed = any(begin <= now < begin + RENEWED_NS for begin, _end, _more in self.feed_renewed)
            sent.append(one)
        arrived = readable = left = 0
        reads = self._read([(one, one.came, one.came + one.feed_held_ns) for one in sent], self.forwarder_away)
        for packet, (batch, woken) in enumerate(reads):
            ready = woken + 30_000
            connected = max((end for begin, end in self.unconnected if begin <= ready < end), default=ready)
            until = max((end for begin, end in self.no_room if begin <= connected < end), default=connected)
            left = max(left + 500, until)
            extra = sum(more for begin, end, more in self.slower if begin <= left < end)
            reached = max(arrived + 500, left + self.way_ns + extra + self._jitter())
            if packet in self.losses:
                # It comes again when the next ones have told that it is missing.
                readable = max(readable, reached + 2 * self.way_ns)
            else:
                arrived = reached
                readable = max(readable, reached)
            for one in batch:
                one.stamped, one.exact = batch[-1].came, one is batch[-1]
                if any(held.feed_held_ns for held in batch):
                    # A read whose last packet is fresh shows it by how far apart its events were emitted.
                    late = one.feed_late = woken - batch[-1].came > LATE_NS
                    one.feed_held = late or batch[-1].emitted - batch[0].emitted >= APART_NS
                    one.stamped = woken if late else one.stamped
                one.left, one.waited, one.queued = left, until > ready, until - connected
                one.unconnected = connected - ready
                one.reached, one.readable = reached, readable
                one.arrived = readable if packet in self.losses else reached
        return sent

    def _read(
        self, packets: list[tuple[Sent, int, int]], away: list[tuple[int, int]]
    ) -> Iterator[tuple[list[Sent], int]]:
        """Wake a process when there is something to read, and let it take all that is there, in order."""
        at = 0
        while at < len(packets):
            woken = packets[at][2] + 15_000 + round(self.rng.expovariate(1 / 20_000))
            woken = max((end for begin, end in away if begin <= woken < end), default=woken)
            end = at + 1
            while end < len(packets) and packets[end][2] <= woken:
                end += 1
            yield [one for one, _arrived, _readable in packets[at:end]], woken
            at = end

    def _jitter(self) -> int:
        return round(self.rng.expovariate(1 / 80_000))


def _in_pieces(waiting: list[Sent], rng: random.Random) -> Iterator[list[Sent]]:
    """Give what waits as reads bring it, none of which need take all of it."""
    while waiting:
        taken = len(waiting) if len(waiting) < 8 else rng.choice((1, len(waiting) // 2, len(waiting)))
        # A packet is read whole.
        while taken < len(waiting) and waiting[taken].left == waiting[taken - 1].left:
            taken += 1
        yield waiting[:taken]
        waiting = waiting[taken:]
