"""What befell events on their way to the forwarder: TCP waited for a missing packet, or the connection was a new one.

A receiver cannot see either, and is told with the events. That TCP waited shows in the read's own stamp, if it did for
long; if the last packet of the read is a fresh one, in how far apart its events were emitted, and that packets came out
of order since the last look.
"""

from collections.abc import Callable, Sequence
from typing import Final

from daemons.records import FeedEvent, Stamp

__all__ = ["FeedWay"]

RENEWED_NS: Final = 1_000_000_000
"""A connection is new for so long: as for a path's own (``daemons/measurement/tail``)."""
APART_NS: Final = 5_000_000
"""Events that queued together on the way were hardly emitted so far apart (RFC 8289, section 4.2)."""


class FeedWay:
    """Says it of each read.

    Args:
        out_of_order: asks how many packets of the feed came out of order so far; some microseconds.
    """

    def __init__(self, out_of_order: Callable[[], int]) -> None:
        self._out_of_order = out_of_order
        self._disorder = self._disorder_at_tick = 0
        self._renewed_until_ns = 0

    def renew(self, now_ns: int) -> None:
        """Note that a connection of the feed is new; by the monotonic clock."""
        self._renewed_until_ns = now_ns + RENEWED_NS

    def tend(self) -> None:
        """Look how many packets came out of order; to be called a few times a second."""
        # What did so in the tick before still explains a read that waited over its end.
        self._disorder, self._disorder_at_tick = self._disorder_at_tick, self._out_of_order()

    def renewed(self, stamp: Stamp) -> bool:
        """Say whether a read came while a connection of the feed was new."""
        return stamp.steady_ns < self._renewed_until_ns

    def held(self, events: Sequence[FeedEvent], stamp: Stamp) -> bool:
        """Say whether TCP had waited for a packet before a read."""
        if stamp.held_ns:
            self._look()
            return True
        if len(events) == 1:
            return False
        first_ns, last_ns = events[0].event_time_ns, events[-1].event_time_ns
        if first_ns is None or last_ns is None or last_ns - first_ns < APART_NS:
            return False
        return self._look()

    def _look(self) -> bool:
        """Say whether packets came out of order since the last look; what explains this read explains no later one."""
        before, self._disorder = self._disorder, self._out_of_order()
        self._disorder_at_tick = self._disorder
        return self._disorder > before
