"""The forwarder's metric names; DESIGN of each name: daemon, quantity, unit."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from daemons.feed_metrics import feed_families
from daemons.measurement.histogram import octaves
from daemons.service.clock_metrics import clock_families
from daemons.service.metrics import HistogramFamily
from daemons.tcp_metrics import tcp_families

if TYPE_CHECKING:
    from daemons.forwarder.program import Forwarder

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


class ForwarderCollector(Collector):
    """Reads the forwarder's plain counters at scrape time."""

    def __init__(self, forwarder: "Forwarder") -> None:
        self._forwarder = forwarder

    def collect(self) -> Iterator[Metric]:
        forwarder = self._forwarder
        feed = forwarder.feed.counts
        received = CounterMetricFamily(
            f"{PREFIX}_events_received",
            "Events from the feed; each is offered to every link.",
            labels=["stream"],
        )
        without = CounterMetricFamily(
            f"{PREFIX}_events_without_event_time", "Events of streams that carry no event time.", labels=["stream"]
        )
        refused = CounterMetricFamily(
            f"{PREFIX}_invalid_delays",
            "Feed delays kept out of the histogram because no path can have them.",
            labels=["reason"],
        )
        for name, stream in forwarder.streams.items():
            received.add_metric([name], stream.received)
            without.add_metric([name], stream.without_event_time)
        for reason, count in forwarder.invalid_delays.items():
            refused.add_metric([reason], count)
        # Read in the same moment as what became of them, for the page gives way to events between its families.
        links = tuple(self._links())
        yield from (received, without, refused)

        invalid = CounterMetricFamily(
            f"{PREFIX}_events_invalid", "Feed messages that were no events.", labels=["reason"]
        )
        for reason, count in feed.invalid.items():
            invalid.add_metric([reason], count)
        yield invalid
        yield GaugeMetricFamily(f"{PREFIX}_feed_connected", "1 while the feed is connected.", int(feed.connected))
        last = GaugeMetricFamily(
            "latency_last_event_timestamp_seconds", "Arrival of the newest event; 0 before the first.", labels=["path"]
        )
        last.add_metric(["feed"], feed.last_event_ns / 1e9)
        yield last
        yield from feed_families({"feed": feed})
        yield from links
        yield from tcp_families({"feed": feed.tcp} | {one.settings.label: one.counts.tcp for one in forwarder.senders})
        yield from clock_families(PREFIX, forwarder.monitor.state)
        yield from forwarder.reloader.families()

    def _links(self) -> Iterator[Metric]:
        forwarded = CounterMetricFamily(
            f"{PREFIX}_events_forwarded",
            "Events delivered: acknowledged by the receiver (binary over TCP), else handed to the kernel.",
            labels=["link"],
        )
        dropped = CounterMetricFamily(f"{PREFIX}_events_dropped", "Events given up.", labels=["link", "reason"])
        buffered = GaugeMetricFamily(
            f"{PREFIX}_buffer_events", "Events waiting to be sent or acknowledged.", labels=["link"]
        )
        size = GaugeMetricFamily(
            f"{PREFIX}_buffer_bytes", "Memory that the events in the buffer take.", labels=["link"]
        )
        capacity = GaugeMetricFamily(
            f"{PREFIX}_buffer_capacity_events", "Events the buffer holds before it drops the oldest.", labels=["link"]
        )
        connected = GaugeMetricFamily(f"{PREFIX}_link_connected", "1 while the link is up.", labels=["link"])
        reconnects = CounterMetricFamily(
            f"{PREFIX}_reconnects",
            "Connections that ended or could not be made; side is feed or the link.",
            labels=["side", "reason"],
        )
        unheard = CounterMetricFamily(
            f"{PREFIX}_datagrams_refused",
            "Times that the receiver's host said that nothing listens (ICMP port unreachable).",
            labels=["link"],
        )
        shared = CounterMetricFamily(
            f"{PREFIX}_link_shared",
            "Times that the receiver said that other forwarders serve the path, too.",
            labels=["link"],
        )
        asked = CounterMetricFamily(
            f"{PREFIX}_departure_samples", "Events for whose transmit stamp the kernel was asked.", labels=["link"]
        )
        stamped = CounterMetricFamily(f"{PREFIX}_departure_stamps", "Those of which it has told.", labels=["link"])
        for reason, count in self._forwarder.feed.counts.reconnects.items():
            reconnects.add_metric(["feed", reason], count)
        for sender in self._forwarder.senders:
            label, counts = sender.settings.label, sender.counts
            forwarded.add_metric([label], counts.events.forwarded)
            for why, count in counts.events.dropped.items():
                dropped.add_metric([label, why.name.lower()], count)
            # Those that an earlier link of other settings is still about to deliver are among them.
            buffered.add_metric([label], counts.events.buffered)
            size.add_metric([label], sender.buffer.size)
            capacity.add_metric([label], sender.settings.limits.events)
            connected.add_metric([label], int(sender.connected))
            unheard.add_metric([label], counts.refused_datagrams)
            shared.add_metric([label], counts.shared)
            asked.add_metric([label], counts.samples)
            stamped.add_metric([label], counts.sampled)
            for reason, count in counts.reconnects.items():
                reconnects.add_metric([label, reason], count)
        yield from (
            forwarded,
            dropped,
            buffered,
            size,
            capacity,
            connected,
            unheard,
            shared,
            asked,
            stamped,
            reconnects,
        )
