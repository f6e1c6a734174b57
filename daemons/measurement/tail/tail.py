"""A path's tail: which events are in it, and how many for which cause."""

from collections import deque
from collections.abc import Callable, Sequence
from statistics import median_low
from typing import Final

from daemons.measurement.tail.causes import Cause, TailEvidence, judge
from daemons.measurement.tail.recent import Recent
from daemons.records import KERNEL, LATE_NS, SHARED, FeedEvent, LinkEvent, Stamp, StampKind, exact

__all__ = ["Explanation", "Tail", "Tcp"]

REFRESH_NS: Final = 5_000_000_000
RENEWED_NS: Final = 1_000_000_000
"""A connection is new for so long: what is sent waits for no more than TCP's first time-out (RFC 6298, section 2.1)."""
TIMEOUT_NS: Final = 200_000_000
"""And no less: for want of an answer Linux sends nothing again sooner (TCP_RTO_MIN of its include/net/tcp.h)."""
MANY: Final = 1_000
"""Events a second from which on not each is a sample of what is usual."""
STRIDE: Final = 13
"""Then each of so many is: a prime, so that no beat of a stream hides behind it."""

QUEUE_NS: Final = 5_000_000
"""Packets that came together can have queued on the way, but hardly for longer (RFC 8289, section 4.2)."""

Tcp = tuple[int | None, int | None, int | None]
"""Round trip in nanoseconds, segments sent again, packets that came out of order; None where nobody knows."""
NO_TCP: Final[Tcp] = (None, None, None)
Explanation = tuple[str | None, int | None, int | None, int | None]
"""Cause, and the same."""


class Tail:
    """Judges the events of a path that are above the 99th percentile of its last minutes.

    Attributes:
        timed: of the end-to-end latency.
        untimed: of the backbone latency, of events without event time.
        stride: each of so many events is to be recorded with one of these.
        events: in the tail, by cause.
        excess_ns: by how much they were above the usual delay, in sum.
        worst_ns: and at most.
        suspect: whether the clocks are not to be believed now.
        out_of_order: asks how many packets of the path came out of order so far (TCP).
        tcp: asks what TCP says of the path now: round trip, segments sent again, packets out of order.
    """

    def __init__(self) -> None:
        self.timed = Recent()
        self.untimed = Recent()
        self.stride = 1
        self.events = dict.fromkeys(Cause, 0)
        self.excess_ns = dict.fromkeys(Cause, 0)
        self.worst_ns = dict.fromkeys(Cause, 0)
        self.suspect = False
        self.out_of_order: Callable[[], int] = lambda: 0
        self.tcp: Callable[[], Tcp] = lambda: NO_TCP
        self._judged: tuple[FeedEvent | LinkEvent | None, Cause] = (None, Cause.NETWORK)
        self._asked: tuple[int, Tcp] = (0, NO_TCP)
        self._disorder = self._disorder_at_tick = 0
        self._disordered: tuple[int, bool] = (0, False)
        self._holds: deque[int] = deque(maxlen=255)
        self._feeds: deque[int] = deque(maxlen=255)
        self._usual_hold_ns = 0
        self._usual_feed_ns: int | None = None
        self._renewed = False
        self._renewed_ns: int | None = None
        self._refreshed_ns: int | None = None
        self._events_then = 0
        self._feed_read: _FeedRead | None = None
        self._link_read: _LinkRead | None = None

    # What happens beside events

    def renew(self) -> None:
        """Note that a connection is new."""
        self._renewed, self._renewed_ns = True, None

    def forget(self) -> None:
        """Note that a clock was stepped."""
        self.timed.forget()
        self.untimed.forget()

    def told(self, hold_ns: int, feed_ns: int | None) -> None:
        """Take in how long the forwarder held an event, and how long that took to come there, of some of them."""
        self._holds.append(hold_ns)
        if feed_ns is not None:
            self._feeds.append(feed_ns)

    def tend(self, now_ns: int, events: int) -> None:
        """Let time pass; to be called a few times a second.

        Args:
            now_ns: by the monotonic clock.
            events: of the path so far.
        """
        if self._renewed and self._renewed_ns is None:
            self._renewed_ns = now_ns
        elif self._renewed_ns is not None and now_ns - self._renewed_ns >= RENEWED_NS:
            self._renewed, self._renewed_ns = False, None
        # What was out of order in the tick before still explains an event that waited over its end.
        self._disorder, self._disorder_at_tick = self._disorder_at_tick, self.out_of_order()
        since_ns = REFRESH_NS if self._refreshed_ns is None else now_ns - self._refreshed_ns
        if since_ns < REFRESH_NS:
            return
        self.stride = STRIDE if (events - self._events_then) * 1e9 > MANY * since_ns else 1
        self._refreshed_ns, self._events_then = now_ns, events
        self._usual_hold_ns = median_low(self._holds) if self._holds else 0
        self._usual_feed_ns = median_low(self._feeds) if self._feeds else None
        self.timed.refresh(now_ns)
        self.untimed.refresh(now_ns)

    # Events in the tail

    def judge_feed(
        self, delay_ns: int, events: Sequence[FeedEvent], index: int, stamp: Stamp, kind: StampKind
    ) -> Cause:
        """Judge an event of a feed in the tail; arguments as for :meth:`take_link`."""
        event = events[index]
        late_ns = held_ns = 0
        if not exact(kind):
            if self._feed_read is None or self._feed_read.events is not events:
                self._feed_read = _FeedRead(events)
            lead_ns = _newer_by(event.event_time_ns, self._feed_read.newest_ns)
            late_ns, held_ns = self._late_or_held(lead_ns, stamp, renewed=self._renewed)
        return self._count(
            event,
            TailEvidence(
                delay_ns - self.timed.usual_ns,
                far=delay_ns > self.timed.far_ns,
                suspect=self.suspect or self.timed.stale,
                renewed=self._renewed,
                receiver_late_ns=late_ns,
                held_ns=held_ns,
                first=not index,
            ),
        )

    def explanation(self, event: FeedEvent | LinkEvent, stamp: Stamp) -> Explanation:
        """Return the cause of the event that was taken in last, and what TCP says, for its row; None of others.

        Args:
            event: it.
            stamp: of its read, at which TCP is asked once.
        """
        judged, cause = self._judged
        if judged is not event:
            return None, *NO_TCP
        if self._asked[0] != stamp.handled_ns:
            self._asked = (stamp.handled_ns, self.tcp())
        return cause.value, *self._asked[1]

    def take_link(
        self,
        recent: Recent,
        delay_ns: int,
        events: Sequence[LinkEvent],
        index: int,
        stamp: Stamp,
        kind: StampKind,
        *,
        sample: bool,
        left_ns: int = 0,
    ) -> Cause | None:
        """Take in an event of a link that is in the tail, or a sample of what is usual, or both; return its cause.

        Args:
            recent: that of the latency that ``delay_ns`` is.
            delay_ns: the latency.
            events: those of the read.
            index: of this one among them.
            stamp: the read's.
            kind: of the stamp, as far as this event goes.
            sample: whether it is a sample.
            left_ns: when what the read brought after these events left the forwarder, by its clock; 0 for nothing.
        """
        if sample:
            recent.record(delay_ns)
        if delay_ns <= recent.above_ns:
            return None
        return self._judge_link(recent, delay_ns, events, index, stamp, kind, left_ns)

    def _judge_link(
        self,
        recent: Recent,
        delay_ns: int,
        events: Sequence[LinkEvent],
        index: int,
        stamp: Stamp,
        kind: StampKind,
        left_ns: int,
    ) -> Cause:
        event = events[index]
        if self._link_read is None or self._link_read.events is not events:
            self._link_read = _LinkRead(events)
        read = self._link_read
        late_ns = held_ns = 0
        if not exact(kind):
            lead_ns = max(read.newest_left_ns, left_ns) - event.left_ns
            late_ns, held_ns = self._late_or_held(lead_ns, stamp, renewed=False)
        hold_ns = 0 if event.departure_ns is None else event.departure_ns - event.receive_ns - self._usual_hold_ns
        forwarder_late_ns = feed_ns = 0
        if recent is self.timed and (event.feed_held or event.feed_renewed):
            feed_ns = self._feed_excess_ns(event)
        if event.receive_kind is SHARED and recent is self.timed and not (event.feed_held or event.feed_renewed):
            forwarder_late_ns = _believed(self._forwarder_late_ns(event, read), hold_ns)
        return self._count(
            event,
            TailEvidence(
                delay_ns - recent.usual_ns,
                far=delay_ns > recent.far_ns,
                suspect=self.suspect or recent.stale,
                unconnected=event.delayed,
                renewed=self._renewed and delay_ns - recent.usual_ns >= TIMEOUT_NS,
                queued=event.waited,
                hold_ns=max(0, hold_ns),
                forwarder_late_ns=forwarder_late_ns,
                receiver_late_ns=late_ns,
                held_ns=held_ns,
                first=not index,
                feed_ns=feed_ns,
                feed_held=event.feed_held,
                feed_renewed=event.feed_renewed,
            ),
        )

    def _feed_excess_ns(self, event: LinkEvent) -> int:
        """Return how much longer than usual an event took to come to the forwarder; 0 while that is not known."""
        if self._usual_feed_ns is None or event.event_time_ns is None:
            return 0
        return max(0, event.receive_ns - event.event_time_ns - self._usual_feed_ns)

    def _forwarder_late_ns(self, event: LinkEvent, read: "_LinkRead") -> int:
        """Return how much earlier than its stamp there an event may have come to the forwarder, by the same reasoning.

        A long read there comes here in several: without its last event, what an event usually takes to come there says.
        """
        newest_ns, last_kind = read.there[event.receive_ns]
        if exact(last_kind) or self._usual_feed_ns is None:
            return _newer_by(event.event_time_ns, newest_ns)
        return self._feed_excess_ns(event)

    def _late_or_held(self, lead_ns: int, stamp: Stamp, *, renewed: bool) -> tuple[int, int]:
        """Return how much earlier than its stamp an event may have come, and how long it may have lain behind a hole.

        The last event of the read has the stamp: this one left as much earlier as it came earlier, if the way
        was alike; and no earlier than the last packet of that socket's read before. Where packets overtook, TCP waited:
        a process that is late as well hides that from the stamp, and not from the count.

        Args:
            lead_ns: how much later than this event the last one of the read left.
            stamp: the read's.
            renewed: the read may begin with what had waited at the other end of a new connection.
        """
        if stamp.held_ns:
            self._came_out_of_order(stamp)
            return 0, stamp.held_ns + lead_ns
        if self._came_out_of_order(stamp):
            # A read before it need not have brought it: there may be several holes.
            return 0, lead_ns
        late_ns = max(0, min(lead_ns, stamp.ns - stamp.before_ns))
        return 0 if renewed else _believed(late_ns, stamp.handled_ns - stamp.ns), 0

    def _came_out_of_order(self, stamp: Stamp) -> bool:
        """Say whether packets did since the last look; what explains this read explains no later one."""
        if self._disordered[0] != stamp.handled_ns:
            before, self._disorder = self._disorder, self.out_of_order()
            self._disorder_at_tick = self._disorder
            self._disordered = (stamp.handled_ns, self._disorder > before)
        return self._disordered[1]

    def _count(self, event: FeedEvent | LinkEvent, evidence: TailEvidence) -> Cause:
        cause = judge(evidence)
        self._judged = (event, cause)
        self.events[cause] += 1
        self.excess_ns[cause] += evidence.excess_ns
        self.worst_ns[cause] = max(self.worst_ns[cause], evidence.excess_ns)
        return cause


class _FeedRead:
    """What the events of one read of a feed have in common: reckoned once for all of them that are in the tail.

    Attributes:
        events: of the read.
        newest_ns: the newest of their event times; None without any.
    """

    __slots__ = ("events", "newest_ns")

    def __init__(self, events: Sequence[FeedEvent]) -> None:
        self.events = events
        self.newest_ns = max((one.event_time_ns for one in events if one.event_time_ns is not None), default=None)


class _LinkRead:
    """The same of a read of a link.

    Attributes:
        events: of the read.
        newest_left_ns: when the last of them left the forwarder.
        there: of those that one read of the forwarder brought, by that read's stamp: the newest of their event times,
            and the kind of the stamp of its last event.
    """

    __slots__ = ("events", "newest_left_ns", "there")

    def __init__(self, events: Sequence[LinkEvent]) -> None:
        self.events = events
        self.newest_left_ns = max(event.left_ns for event in events)
        self.there: dict[int, tuple[int | None, StampKind]] = {}
        for event in events:
            newest_ns, _kind = self.there.get(event.receive_ns, (None, KERNEL))
            if event.event_time_ns is not None and (newest_ns is None or event.event_time_ns > newest_ns):
                newest_ns = event.event_time_ns
            self.there[event.receive_ns] = newest_ns, event.receive_kind


def _believed(late_ns: int, delay_ns: int) -> int:
    """Return by how much a process was late, if it was.

    Args:
        late_ns: how much later the last packet of a read left than this event.
        delay_ns: how late the process was with the last packet, which is known for certain.
    """
    return late_ns if delay_ns > LATE_NS or late_ns > QUEUE_NS else 0


def _newer_by(own_ns: int | None, newest_ns: int | None) -> int:
    """Return how much newer than an event the newest of those read with it is."""
    return 0 if own_ns is None or newest_ns is None else newest_ns - own_ns
