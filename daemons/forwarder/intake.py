"""What the feed has brought the forwarder, by stream: counts, and how long it took from the exchange's clock."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from daemons.measurement.histogram import BucketHistogram
from daemons.records import NO_HARDWARE, WARMUP, FeedEvent, Stamp
from daemons.service.metrics.page import HistogramFamily

__all__ = ["Intake"]

ABSURD_NS: Final = 3_600_000_000_000
OTHER_STREAM: Final = "other"


@dataclass(slots=True)
class StreamCounts:
    """What came of one stream."""

    received: int
    without_event_time: int
    delay: BucketHistogram


class InvalidDelay(StrEnum):
    """Why the delay of an event was refused."""

    NEGATIVE = "negative"
    ABSURD = "absurd"
    CLOCK_STEP = "clock_step"
    CLOCK_DISRUPTED = "clock_disrupted"
    WARMUP = "warmup"
    NO_HARDWARE_STAMP = "no_hardware_stamp"


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
        self.invalid_delays = dict.fromkeys(InvalidDelay, 0)
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
        for event in events:
            counts = streams.get(event.stream) or streams[OTHER_STREAM]
            counts.received += 1
            if event.event_time_ns is None:
                counts.without_event_time += 1
                continue
            delay_ns = stamp.ns - event.event_time_ns
            if stamp.step_ns:
                self.invalid_delays[InvalidDelay.CLOCK_STEP] += 1
            elif self.disrupted:
                self.invalid_delays[InvalidDelay.CLOCK_DISRUPTED] += 1
            elif stamp.kind is WARMUP:
                self.invalid_delays[InvalidDelay.WARMUP] += 1
            elif stamp.kind is NO_HARDWARE:
                self.invalid_delays[InvalidDelay.NO_HARDWARE_STAMP] += 1
            elif 0 <= delay_ns < ABSURD_NS:
                counts.delay.observe(delay_ns)
            else:
                self.invalid_delays[InvalidDelay.NEGATIVE if delay_ns < 0 else InvalidDelay.ABSURD] += 1
