"""The parts of an event's delay, from the exchange's clock to where it was accounted for here, each between two stamps.

Only of events that the forwarder has sampled, for only of those does it know when the kernel sent them, and says so
after the event itself. Each event's parts add up to its total to the nanosecond, for they share their stamps; what is
not known is absent, and an event with an impossible part is counted and of no part a sample.
"""

from collections.abc import Callable, Hashable
from itertools import pairwise
from typing import Final

import msgspec

from daemons.measurement.histogram import BucketHistogram, QuantileHistogram
from daemons.measurement.judgement import ABSURD_NS

__all__ = ["SEGMENTS", "TOTAL", "Segments"]

SEGMENTS: Final = ("feed", "hold_user", "hold_kernel", "way", "host", "decode")
"""From the exchange's clock: arrived at the forwarder, left it, left its kernel, arrived here, read, accounted for."""
TOTAL: Final = "total"
MAX_AWAITED: Final = 1024
"""Events whose departure has not been told yet: a hundred seconds of samples."""


class Arrived(msgspec.Struct, frozen=True, gc=False):
    """A sampled event that has come: its stamps on the way, in nanoseconds by the wall clocks where they were taken."""

    event_time_ns: int | None
    receive_ns: int
    departure_ns: int
    arrival_ns: int
    handled_ns: int
    counted_ns: int | None


class Segments:
    """Collects what belongs together of sampled events, and measures their parts.

    Args:
        live: makes the histogram of a segment.
        keep: whether to keep fine-grained distributions for a run's results.

    Attributes:
        figures: fine-grained distributions by segment and in total; empty unless kept.
        measured: events of which all parts are known and possible.
        refused: events with an impossible part: a clock is wrong.
        unmatched: departures told of events that did not come, or whose stamps here were not exact.
    """

    def __init__(self, live: Callable[[str], BucketHistogram], *, keep: bool) -> None:
        self._live = {name: live(name) for name in SEGMENTS}
        self.figures = {name: QuantileHistogram() for name in (*SEGMENTS, TOTAL)} if keep else {}
        self._awaited: dict[tuple[Hashable, int], Arrived] = {}
        self.measured = 0
        self.refused = 0
        self.unmatched = 0

    def arrived(self, session: Hashable, sequence: int, event: Arrived) -> None:
        """Take in a sampled event; its departure is told later."""
        if len(self._awaited) >= MAX_AWAITED:
            del self._awaited[next(iter(self._awaited))]
        self._awaited[session, sequence] = event

    def departed(self, session: Hashable, sequence: int, kernel_ns: int) -> None:
        """Take in when the forwarder's kernel sent an event."""
        event = self._awaited.pop((session, sequence), None)
        if event is None:
            self.unmatched += 1
            return
        sent = (event.event_time_ns, event.receive_ns, event.departure_ns, kernel_ns)
        stamps = (*sent, event.arrival_ns, event.handled_ns, event.counted_ns)
        parts = {
            name: end - begin
            for name, (begin, end) in zip(SEGMENTS, pairwise(stamps), strict=True)
            if begin is not None and end is not None
        }
        if any(not 0 <= part <= ABSURD_NS for part in parts.values()):
            self.refused += 1
            return
        self.measured += 1
        for name, part in parts.items():
            self._live[name].observe(part)
        if self.figures:
            for name, part in parts.items():
                self.figures[name].record(part)
            self.figures[TOTAL].record(sum(parts.values()))
