"""The forwarder's metric names: daemon, quantity, unit."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from daemons.configuration.forwarder import ForwarderConfig
from daemons.feed.counts import FeedCounts
from daemons.feed_metrics import feed_families
from daemons.forwarder.intake import Intake
from daemons.hardware_stamps import hardware_families
from daemons.link.sending.sender import LinkSender
from daemons.measurement.histogram import octaves
from daemons.records import ClockReport
from daemons.service.metrics.clock_metrics import clock_families
from daemons.service.metrics.families import Rows, counter, each, each_of, gauge
from daemons.service.metrics.page import HistogramFamily
from daemons.service.settings.reload import Reloader
from daemons.stream.hardware import HardwareStamps
from daemons.tcp_metrics import tcp_families

__all__ = ["ForwarderCollector", "feed_delay_family", "hold_family", "kernel_hold_family"]

PREFIX = "latency_forwarder"


def feed_delay_family() -> HistogramFamily:
    """Event time to arrival at the forwarder."""
    return HistogramFamily(
        f"{PREFIX}_feed_delay_seconds",
        "Exchange's event time to arrival stamp at the forwarder; trust it within the clock error bound.",
        ["stream"],
        octaves(-16, 4),
    )


def hold_family() -> HistogramFamily:
    """Arrival at the forwarder to hand-over to the kernel."""
    return HistogramFamily(
        f"{PREFIX}_hold_seconds",
        "Arrival stamp at the forwarder to hand-over to the link's socket: the forwarder's own delay.",
        ["link"],
        octaves(-18, 2),
    )


def kernel_hold_family() -> HistogramFamily:
    """Arrival at the forwarder to hand-over to the device."""
    return HistogramFamily(
        f"{PREFIX}_hold_kernel_seconds",
        "Arrival stamp at the forwarder to the kernel's transmit stamp: its own delay, of sampled events.",
        ["link"],
        octaves(-18, 2),
    )


@dataclass(eq=False)
class ForwarderCollector(Collector):
    """Reads the forwarder's plain counters at scrape time.

    Args:
        intake: what the feed has brought.
        feed: the feed's connections.
        senders: the links, as they are now.
        clock: tells what is known of this host's clock.
        reloader: whose success to show.
        hardware: tells of the interface's stamps, where they are used.
    """

    intake: Intake
    feed: FeedCounts
    senders: Callable[[], Sequence[LinkSender]]
    clock: Callable[[], ClockReport]
    reloader: Reloader[ForwarderConfig]
    hardware: Callable[[], HardwareStamps | None] = lambda: None

    def collect(self) -> Iterator[Metric]:
        senders = self.senders()
        # Read in the same moment as what became of them, for the page gives way to events between its families.
        yield from (*self._received(), *_delivered(senders))
        yield from self._feeds()
        yield from _links(senders)
        yield self._reconnects(senders)
        yield from tcp_families({"feed": self.feed.tcp} | {one.settings.label: one.counts.tcp for one in senders})
        yield from clock_families(PREFIX, self.clock())
        yield from hardware_families(PREFIX, self.hardware())
        yield from self.reloader.families()

    def _received(self) -> Iterator[Metric]:
        streams = self.intake.streams.items()
        yield counter(
            f"{PREFIX}_events_received",
            "Events from the feed; each is offered to every link.",
            ["stream"],
            (([name], stream.received) for name, stream in streams),
        )
        yield counter(
            f"{PREFIX}_events_without_event_time",
            "Events of streams that carry no event time.",
            ["stream"],
            (([name], stream.without_event_time) for name, stream in streams),
        )
        yield counter(
            f"{PREFIX}_invalid_delays",
            "Feed delays kept out of the histogram because no path can have them.",
            ["reason"],
            each(self.intake.invalid_delays),
        )

    def _feeds(self) -> Iterator[Metric]:
        feed = self.feed
        yield counter(f"{PREFIX}_events_invalid", "Feed messages that were no events.", ["reason"], each(feed.invalid))
        yield gauge(f"{PREFIX}_feed_connected", "1 while the feed is connected.", [], [([], int(feed.connected))])
        yield gauge(
            "latency_last_event_timestamp_seconds",
            "Arrival of the newest event; 0 before the first.",
            ["path"],
            [(["feed"], feed.last_event_ns / 1e9)],
        )
        yield from feed_families({"feed": feed})

    def _reconnects(self, senders: Sequence[LinkSender]) -> Metric:
        return counter(
            f"{PREFIX}_reconnects",
            "Connections that ended or could not be made; side is feed or the link.",
            ["side", "reason"],
            chain(
                each_of({"feed": self.feed.reconnects}),
                each_of({one.settings.label: one.counts.reconnects for one in senders}),
            ),
        )


def _delivered(senders: Sequence[LinkSender]) -> Iterator[Metric]:
    """Give what became of the events offered to the links."""
    yield counter(
        f"{PREFIX}_events_forwarded",
        "Events delivered: acknowledged by the receiver (binary over TCP), else handed to the kernel.",
        ["link"],
        _each(senders, lambda one: one.counts.events.forwarded),
    )
    yield counter(
        f"{PREFIX}_events_dropped",
        "Events given up.",
        ["link", "reason"],
        each_of(
            {
                one.settings.label: {why.name.lower(): n for why, n in one.counts.events.dropped.items()}
                for one in senders
            }
        ),
    )
    # Those that an earlier link of other settings is still about to deliver are among them.
    yield gauge(
        f"{PREFIX}_buffer_events",
        "Events waiting to be sent or acknowledged.",
        ["link"],
        _each(senders, lambda one: one.counts.events.buffered),
    )


def _links(senders: Sequence[LinkSender]) -> Iterator[Metric]:
    yield gauge(
        f"{PREFIX}_buffer_bytes",
        "Memory that the events in the buffer take.",
        ["link"],
        _each(senders, lambda one: one.buffer.size),
    )
    yield gauge(
        f"{PREFIX}_buffer_capacity_events",
        "Events the buffer holds before it drops the oldest.",
        ["link"],
        _each(senders, lambda one: one.settings.limits.events),
    )
    yield gauge(
        f"{PREFIX}_link_connected", "1 while the link is up.", ["link"], _each(senders, lambda one: one.connected)
    )
    yield counter(
        f"{PREFIX}_datagrams_refused",
        "Times that the receiver's host said that nothing listens (ICMP port unreachable).",
        ["link"],
        _each(senders, lambda one: one.counts.refused_datagrams),
    )
    yield counter(
        f"{PREFIX}_link_shared",
        "Times that the receiver said that other forwarders serve the path, too.",
        ["link"],
        _each(senders, lambda one: one.counts.shared),
    )
    yield counter(
        f"{PREFIX}_departure_samples",
        "Events for whose transmit stamp the kernel was asked.",
        ["link"],
        _each(senders, lambda one: one.counts.samples),
    )
    yield counter(
        f"{PREFIX}_departure_stamps",
        "Events whose transmit stamp the kernel has given.",
        ["link"],
        _each(senders, lambda one: one.counts.sampled),
    )


def _each(senders: Sequence[LinkSender], of: Callable[[LinkSender], float]) -> Rows:
    return (([one.settings.label], of(one)) for one in senders)
