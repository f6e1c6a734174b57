"""What the feed has brought the forwarder, by stream: counts, and how long it took from the exchange's clock."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from daemons.measurement.histogram import BucketHistogram
from daemons.records import WARMUP, FeedEvent, Stamp
from daemons.service.metrics import HistogramFamily

__all__ = ["Intake"]

ABSURD_NS: Final = 3_600_000_000_000
OTHER_STREAM: Final = "other"


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
    """

    def __init__(self, delays: HistogramFamily) -> None:
        self._delays = delays
        self.streams: dict[str, StreamCounts] = {}
        self.expect((OTHER_STREAM,))
        self.invalid_delays = {"negative": 0, "absurd": 0, "clock_step": 0, "warmup": 0}

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
        for event in events:
            counts = streams.get(event.stream) or streams[OTHER_STREAM]
            counts.received += 1
            if event.event_time_ns is None:
                counts.without_event_time += 1
                continue
            delay_ns = stamp.ns - event.event_time_ns
            if stamp.step_ns:
                self.invalid_delays["clock_step"] += 1
            elif stamp.kind is WARMUP:
                self.invalid_delays["warmup"] += 1
            elif 0 <= delay_ns < ABSURD_NS:
                counts.delay.observe(delay_ns)
            else:
                self.invalid_delays["negative" if delay_ns < 0 else "absurd"] += 1
