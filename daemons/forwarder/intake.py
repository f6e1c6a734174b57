"""What the feed has brought the forwarder, by stream: counts, and how long it took from the exchange's clock."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from daemons.measurement.histogram import BucketHistogram
from daemons.measurement.judgement import ABSURD_NS, DISRUPTED, end_to_end_of
from daemons.records import NO_HARDWARE, WARMUP, FeedEvent, Stamp, Validity
from daemons.service.metrics.page import HistogramFamily

__all__ = ["Intake"]

OTHER_STREAM: Final = "other"
_REFUSED: Final = (
    Validity.NEGATIVE,
    Validity.ABSURD,
    Validity.CLOCK_STEP,
    Validity.CLOCK_DISRUPTED,
    Validity.WARMUP,
    Validity.NO_HARDWARE_STAMP,
)
"""Why the delay of an event that has an event time is not measured."""


@dataclass(slots=True)
class StreamCounts:
    """What came of one stream."""

    received: int
    without_event_time: int
    delay: BucketHistogram


class Intake:
    """Counts and measures events.

    Args:
        delays: of events, by stream.

    Attributes:
        streams: what came, by the names of the streams subscribed to; all others share one.
        invalid_delays: figures refused, by reason.
        disrupted: this host's clock is not to be believed.
    """

    def __init__(self, delays: HistogramFamily) -> None:
        self._delays = delays
        self.streams: dict[str, StreamCounts] = {}
        self.expect((OTHER_STREAM,))
        self.invalid_delays = dict.fromkeys(_REFUSED, 0)
        self.disrupted = False

    def expect(self, names: Iterable[str]) -> None:
        """Show zeros for these streams before their first event."""
        for name in names:
            self.streams.setdefault(name, StreamCounts(0, 0, self._delays.labels(name)))

    def received(self, names: Iterable[str]) -> dict[str, int]:
        """Return how many events of each of these streams have come."""
        return {name: self.streams[name].received for name in names}

    def observe(self, events: Sequence[FeedEvent], stamp: Stamp) -> None:
        """Take in the events of one read."""
        streams = self.streams
        sound = not (stamp.step_ns or self.disrupted or stamp.kind is WARMUP or stamp.kind is NO_HARDWARE)
        for event in events:
            counts = streams.get(event.stream) or streams[OTHER_STREAM]
            counts.received += 1
            event_time_ns = event.event_time_ns
            if event_time_ns is None:
                counts.without_event_time += 1
            elif sound and 0 <= (delay_ns := stamp.ns - event_time_ns) <= ABSURD_NS:
                counts.delay.observe(delay_ns)
            else:
                _, why = DISRUPTED if self.disrupted else end_to_end_of(event_time_ns, stamp, stamp.kind)
                self.invalid_delays[why] += 1
