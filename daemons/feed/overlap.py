"""Two connections of one feed while the second takes over from the first: every event once, in order, none missing.

Each connection by itself brings a stream's ids in order, but they do not bring them at the same time: what the new one
brings ahead of the old one waits until the old one has come as far, for otherwise what the old one has still on the way
would be taken for copies. From then on the first copy counts. Streams without ids come from the old connection until it
ends; of the new one's then those are delivered whose text the old one did not bring.

The classes here do no input or output, and know no time.
"""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

from daemons.records import FeedEvent, Stamp, inexact

__all__ = ["Batch", "Overlap"]

Batch = tuple[list[FeedEvent], Stamp]
"""Events of one read with its stamp; the last of them was completed by the stamped packet, if its kind says so."""

_REMEMBERED = 4096
"""Texts of events without ids that are remembered, to find the new connection's copies of them."""
_FILTERED_AFTER = 10_000
_MOST_WAITING = 100_000
"""Events that may wait for the old connection to catch up; then it is given up as hopelessly behind."""


@dataclass(slots=True)
class _Stream:
    """One stream in the overlap.

    Attributes:
        last: the id up to which everything was delivered; None until the old connection brought one.
        old, new: the newest id of each connection, in which alone a fall means that the exchange began anew.
        waiting: what the new connection has brought ahead.
        joined: the new connection has proven to continue what was delivered.
    """

    last: int | None = None
    old: int = -1
    new: int = -1
    waiting: deque[Batch] = field(default_factory=deque)
    joined: bool = False


class Overlap:
    """Decides which events of an old and a new connection are delivered.

    Attributes:
        copies: events that both brought.
    """

    def __init__(self) -> None:
        self._streams: dict[tuple[str, str], _Stream] = {}
        """By name and symbol: a stream of all symbols has ids of each."""
        self._timeless: deque[Batch] = deque(maxlen=_REMEMBERED)
        self._texts: deque[bytes] = deque(maxlen=_REMEMBERED)
        self._new_streams: set[str] = set()
        self._waiting = 0
        self._new_brought = False
        self._finished = False
        self._after = 0
        self.copies = 0

    @property
    def ready(self) -> bool:
        """Whether the old connection can go: the new one has brought something, and nothing waits for the old one."""
        return self._new_brought and (not self._waiting or self._waiting > _MOST_WAITING)

    def begin(self, streams: Iterable[str]) -> None:
        """Note streams that the old connection does not have: the new one's events of them wait for nothing."""
        self._new_streams.update(streams)

    def successor(self) -> "Overlap":
        """Make the overlap of the next replacement, should that begin before this one has settled."""
        made = Overlap()
        for name, stream in self._streams.items():
            made._streams[name] = _Stream(last=stream.last, old=stream.new if self._finished else stream.old)
        return made

    def from_old(self, events: list[FeedEvent], stamp: Stamp) -> list[Batch]:
        """Take in a read of the old connection; return what to deliver, in order."""
        kept: list[FeedEvent] = []
        batches: list[Batch] = []
        for event in events:
            if event.event_id is None:
                self._texts.append(event.payload)
                kept.append(event)
                continue
            stream = self._stream(event)
            anew, stream.old = event.event_id < stream.old, event.event_id
            if stream.last is not None and event.event_id <= stream.last and not anew:
                self.copies += 1
                continue
            if anew:
                self._forget(stream)
            kept.append(event)
            stream.last = event.event_id
            if due := self._join(stream):
                batches += [*_batch(kept, events, stamp), *due]
                kept = []
        return [*batches, *_batch(kept, events, stamp)]

    def from_new(self, events: list[FeedEvent], stamp: Stamp) -> list[Batch]:
        """Take in a read of the new connection; return what to deliver, in order."""
        self._new_brought = self._new_brought or bool(events)
        if self._finished:
            self._after += len(events)
        kept = [event for event in events if self._is_next(event, event is events[-1], stamp)]
        return _batch(kept, events, stamp)

    def finish(self) -> list[Batch]:
        """Deliver what still waits, by arrival: the old connection has ended."""
        waiting = [batch for stream in self._streams.values() for batch in stream.waiting if _is_after(batch, stream)]
        brought = set(self._texts)
        waiting += [batch for batch in self._timeless if batch[0][0].payload not in brought]
        for stream in self._streams.values():
            if stream.waiting:
                last = _last_id(stream.waiting[-1])
                stream.last = last if stream.last is None else max(stream.last, last)
            self._forget(stream)
            stream.joined = True
        self._timeless.clear()
        self._finished = True
        return sorted(waiting, key=lambda batch: batch[1].steady_ns)

    @property
    def settled(self) -> bool:
        """Whether after :meth:`finish` the new connection has passed all that was delivered, and needs no filter more.

        Ranges of ids (depth) may be cut differently on each connection, so that the new one's next range can end before
        the old one's last. A stream that has gone quiet does not hold the filter up for ever.
        """
        passed = all(stream.last is None or stream.new >= stream.last for stream in self._streams.values())
        return self._finished and (passed or self._after >= _FILTERED_AFTER)

    def _is_next(self, event: FeedEvent, is_last: bool, stamp: Stamp) -> bool:
        """Say whether an event of the new connection is to be delivered now; one that is ahead waits."""
        batch = ([event], stamp if is_last else inexact(stamp))
        if event.event_id is None:
            if self._finished or event.stream in self._new_streams:
                return True
            self._timeless.append(batch)
            return False
        stream = self._stream(event)
        anew, stream.new = event.event_id < stream.new, event.event_id
        if anew:
            self._forget(stream)
            stream.last = None
        if stream.last is not None and event.event_id <= stream.last:
            stream.joined = True
            self.copies += 1
            return False
        continues = stream.last is not None and event.previous_id is not None and event.previous_id <= stream.last
        if stream.joined or continues or self._finished:
            stream.joined = True
            stream.last = event.event_id
            return True
        stream.waiting.append(batch)
        self._waiting += 1
        return False

    def _join(self, stream: _Stream) -> list[Batch]:
        """See whether the old connection has come as far as what waits; then that is due."""
        assert stream.last is not None
        if not stream.waiting or _reached_by(stream.waiting[0]) > stream.last:
            return []
        stream.joined = True
        due = [batch for batch in stream.waiting if _is_after(batch, stream)]
        self.copies += len(stream.waiting) - len(due)
        if due:
            stream.last = _last_id(due[-1])
        self._forget(stream)
        stream.joined = True
        return due

    def _forget(self, stream: _Stream) -> None:
        self._waiting -= len(stream.waiting)
        stream.waiting.clear()
        stream.joined = False

    def _stream(self, event: FeedEvent) -> _Stream:
        key = (event.stream, event.symbol)
        stream = self._streams.get(key)
        if stream is None:
            stream = self._streams[key] = _Stream(joined=event.stream in self._new_streams)
        return stream


def _batch(kept: list[FeedEvent], events: list[FeedEvent], stamp: Stamp) -> list[Batch]:
    """Make a batch of what is kept of a read; without the read's last event no stamp in it is exact."""
    if not kept:
        return []
    return [(kept, stamp if kept[-1] is events[-1] else inexact(stamp))]


def _is_after(batch: Batch, stream: _Stream) -> bool:
    return stream.last is None or _last_id(batch) > stream.last


def _reached_by(batch: Batch) -> int:
    """Return the id with which the old connection has come as far as this event: its predecessor's, or its own."""
    event = batch[0][0]
    reached = event.event_id if event.previous_id is None else event.previous_id
    assert reached is not None
    return reached


def _last_id(batch: Batch) -> int:
    last = batch[0][0].event_id
    assert last is not None
    return last
