"""Several connections that bring the same streams: each event once, as soon as the first of them brings it.

What one connection misses, because it was cut or never got it, the others make good: an event counts as new when none
has brought it before, in whatever order. So after a connection that is ahead has come anew, events can follow one with
a higher id; sequence accounting calls those late, as it does on any path.

Within one connection ids fall only when the exchange begins them anew. The others then still bring the end of the old
ids, which are judged by what was known before.

No input or output, and no clock.
"""

from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Final

from daemons.feed.overlap import Batch
from daemons.records import FeedEvent, Stamp, inexact

__all__ = ["Merge", "Standing"]

_MOST: Final = 400_000
"""Events that are remembered, of all streams together."""
_LEAST_EACH, _MOST_EACH = 256, 4096
"""Of one stream: how many events a connection may be behind another before its copies are taken for new events. What is
older than everything remembered is a copy."""


@dataclass(slots=True)
class Standing:
    """How one connection did against the others.

    Attributes:
        wins: events that it brought first.
        copies: events that another had brought before.
        behind_ns: by how much those came later, added up.
    """

    wins: int = 0
    copies: int = 0
    behind_ns: int = 0


@dataclass(slots=True)
class _Known:
    """Events of one stream since its ids began, by id or, where they have none, by text; who brought each, and when."""

    seen: dict[Hashable, tuple[int, int]] = field(default_factory=dict)
    floor: int = -1

    def forget(self, keep: int) -> None:
        while len(self.seen) > keep:
            oldest = next(iter(self.seen))
            del self.seen[oldest]
            if isinstance(oldest, int):
                self.floor = max(self.floor, oldest)


@dataclass(slots=True)
class _Stream:
    """One stream.

    Attributes:
        known: since its ids began.
        before: what was known when they began anew; for the connections that have not come so far.
        newest: the newest id of each connection.
        passed: the connections that have come to the new ids.
    """

    known: _Known = field(default_factory=_Known)
    before: _Known | None = None
    newest: dict[int, int] = field(default_factory=dict)
    passed: set[int] = field(default_factory=set)


class Merge:
    """Decides which events of several connections are delivered.

    Args:
        connections: how many there are; they are numbered from 0.

    Attributes:
        standings: of each connection.
    """

    def __init__(self, connections: int) -> None:
        self.standings = [Standing() for _ in range(connections)]
        self._streams: dict[tuple[str, str], _Stream] = {}

    def take(self, connection: int, events: list[FeedEvent], stamp: Stamp) -> list[Batch]:
        """Take in a read of a connection; return what of it is new."""
        kept = [event for event in events if self._is_new(connection, event, stamp.steady_ns)]
        if not kept:
            return []
        return [(kept, stamp if kept[-1] is events[-1] else inexact(stamp))]

    def renew(self, connection: int, *, alone: bool) -> None:
        """Note that a connection was made anew: it may begin at any id.

        Args:
            connection: its number.
            alone: no other stands, so that nothing that comes can be a copy.
        """
        if alone:
            self._streams.clear()
        for stream in self._streams.values():
            stream.newest.pop(connection, None)
            stream.passed.add(connection)

    def _is_new(self, connection: int, event: FeedEvent, at_ns: int) -> bool:
        key = (event.stream, event.symbol)
        stream = self._streams.get(key)
        if stream is None:
            stream = self._streams[key] = _Stream()
        number = event.event_id
        known = stream.known
        if number is not None:
            if number < stream.newest.get(connection, -1) and (stream.before is None or connection in stream.passed):
                stream.before, stream.known, stream.passed = known, _Known(), set()
            if stream.before is not None:
                known = self._epoch(stream, stream.before, connection, number)
            stream.newest[connection] = number
        return self._judge(known, connection, event.payload if number is None else number, at_ns)

    def _epoch(self, stream: _Stream, before: _Known, connection: int, number: int) -> _Known:
        """Say to which of both sequences of ids an event belongs."""
        if connection not in stream.passed and number > stream.newest.get(connection, number):
            return before
        stream.passed.add(connection)
        if len(stream.passed) == len(self.standings):
            stream.before = None
        return stream.known

    def _judge(self, known: _Known, connection: int, key: Hashable, at_ns: int) -> bool:
        standing = self.standings[connection]
        first = known.seen.get(key)
        # What a connection itself brings twice is the exchange's doing, and not for us to hide.
        if first is not None and first[0] != connection:
            standing.copies += 1
            standing.behind_ns += max(0, at_ns - first[1])
            return False
        if first is None and isinstance(key, int) and key <= known.floor:
            standing.copies += 1
            return False
        standing.wins += first is None
        known.seen[key] = (connection, at_ns)
        if len(known.seen) > _LEAST_EACH:
            known.forget(max(_LEAST_EACH, min(_MOST_EACH, _MOST // len(self._streams))))
        return True
