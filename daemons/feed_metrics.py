"""The metrics of feeds, for both programs that have one."""

from collections.abc import Iterator, Mapping

from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric

from daemons.feed.counts import FeedCounts

__all__ = ["feed_families"]


def feed_families(feeds: Mapping[str, FeedCounts]) -> Iterator[Metric]:
    """Give the families of these feeds, by the name of their path."""
    replacements = CounterMetricFamily(
        "latency_feed_replacements",
        "Connections that another took over from without a gap.",
        labels=["path", "reason"],
    )
    overlap = CounterMetricFamily(
        "latency_feed_overlap_events",
        "Events that both connections brought while one took over: counted here and nowhere else.",
        labels=["path"],
    )
    notices = CounterMetricFamily(
        "latency_feed_notices", "Times that the exchange said that it is about to close a connection.", labels=["path"]
    )
    silent = GaugeMetricFamily(
        "latency_feed_silent_streams",
        "Streams that were steady and have fallen silent while others of their connection go on.",
        labels=["path"],
    )
    door = GaugeMetricFamily(
        "latency_feed_connection_info",
        "1, with the exchange's address that a connection of the feed is connected to; absent while it is not.",
        labels=["path", "connection", "address", "tls", "encoding"],
    )
    for path, counts in feeds.items():
        for number, (address, tls, encoding, _since) in sorted(counts.doors.items()):
            door.add_metric([path, str(number), address, "yes" if tls else "no", encoding], 1)
        for reason, count in counts.replacements.items():
            replacements.add_metric([path, reason], count)
        overlap.add_metric([path], counts.overlap_events)
        notices.add_metric([path], counts.notices)
        silent.add_metric([path], counts.silent_streams)
    yield from (door, silent, replacements, overlap, notices)
    yield from _pings(feeds)
    yield from _races(feeds)


def _pings(feeds: Mapping[str, FeedCounts]) -> Iterator[Metric]:
    """Give the WebSocket round trips of each connection."""
    labels = ["path", "connection"]
    sent = CounterMetricFamily("latency_feed_connection_pings", "WebSocket pings sent to the exchange.", labels=labels)
    answered = CounterMetricFamily("latency_feed_connection_pongs", "Those that it has answered.", labels=labels)
    round_trip = GaugeMetricFamily(
        "latency_feed_connection_rtt_seconds",
        "Round trip of the last ping answered: the way to the exchange's front end and back; absent before the first.",
        labels=labels,
    )
    for path, counts in feeds.items():
        for number, pings in counts.pings.items():
            sent.add_metric([path, str(number)], pings.sent)
            answered.add_metric([path, str(number)], pings.answered)
            if pings.round_trip_ns is not None and number in counts.doors:
                round_trip.add_metric([path, str(number)], pings.round_trip_ns / 1e9)
    yield from (sent, answered, round_trip)


def _races(feeds: Mapping[str, FeedCounts]) -> Iterator[Metric]:
    """Give how connections did against each other, of feeds that have several for the same streams."""
    labels = ["path", "connection"]
    wins = CounterMetricFamily(
        "latency_feed_connection_wins", "Events that this connection of the feed brought first.", labels=labels
    )
    copies = CounterMetricFamily(
        "latency_feed_connection_copies", "Events that another connection had brought before.", labels=labels
    )
    behind = CounterMetricFamily(
        "latency_feed_connection_behind_seconds", "By how much those came later, added up.", labels=labels
    )
    since = GaugeMetricFamily(
        "latency_feed_connection_start_time_seconds",
        "When the connection was established; absent while it does not stand.",
        labels=labels,
    )
    for path, counts in feeds.items():
        for number, standing in counts.standings.items():
            wins.add_metric([path, str(number)], standing.wins)
            copies.add_metric([path, str(number)], standing.copies)
            behind.add_metric([path, str(number)], standing.behind_ns / 1e9)
            if number in counts.doors:
                since.add_metric([path, str(number)], counts.doors[number].since_ns / 1e9)
    yield from (wins, copies, behind, since)
