"""The metrics of feeds, for both programs that have one."""

from collections.abc import Iterator, Mapping, Sequence

from prometheus_client.metrics_core import Metric

from daemons.feed.counts import FeedCounts
from daemons.service.metrics.families import Rows, counter, each, each_of, gauge
from daemons.stream.tcp_info import TcpAccount

__all__ = ["feed_families"]

_CONNECTION = ("path", "connection")


def feed_families(feeds: Mapping[str, FeedCounts]) -> Iterator[Metric]:
    """Give the families of these feeds, by the name of their path."""
    # Tuples are made whole before the first of them is given: figures that belong together are read together.
    yield from (
        gauge(
            "latency_feed_connection_info",
            "1, with the exchange's address that a connection of the feed is connected to; absent while it is not.",
            [*_CONNECTION, "address", "tls", "encoding"],
            (
                ([path, str(number), address, "yes" if tls else "no", encoding], 1)
                for path, counts in feeds.items()
                for number, (address, tls, encoding, _since) in sorted(counts.doors.items())
            ),
        ),
        gauge(
            "latency_feed_silent_streams",
            "Streams that were steady and have fallen silent while others of their connection go on.",
            ["path"],
            each({path: counts.silent_streams for path, counts in feeds.items()}),
        ),
        counter(
            "latency_feed_replacements",
            "Connections that another took over from without a gap.",
            ["path", "reason"],
            each_of({path: counts.replacements for path, counts in feeds.items()}),
        ),
        counter(
            "latency_feed_overlap_events",
            "Events that both connections brought while one took over: counted here and nowhere else.",
            ["path"],
            each({path: counts.overlap_events for path, counts in feeds.items()}),
        ),
        counter(
            "latency_feed_notices",
            "Times that the exchange said that it is about to close a connection.",
            ["path"],
            each({path: counts.notices for path, counts in feeds.items()}),
        ),
    )
    yield from _pings(feeds)
    yield from _tcp(feeds)
    yield from _races(feeds)


def _tcp(feeds: Mapping[str, FeedCounts]) -> Iterator[Metric]:
    """Give what TCP knows of each connection; of what it knows of all together see ``latency_tcp_*``."""
    accounts = [
        ([path, str(number)], account) for path, counts in feeds.items() for number, account in counts.tcp_of.items()
    ]
    yield gauge(
        "latency_feed_connection_tcp_rtt_seconds",
        "Smoothed TCP round trip of the connection, by the kernel: to whatever ends it, such as a load balancer.",
        _CONNECTION,
        (
            (labels, info.rtt_ns / 1e9)
            for labels, account in accounts
            for info in account.now()[-1:]
            if info.rtt_ns is not None
        ),
    )
    yield counter(
        "latency_feed_connection_tcp_retransmitted_segments",
        "Segments of ours that were sent again.",
        _CONNECTION,
        _told(accounts, "retransmitted"),
    )
    yield counter(
        "latency_feed_connection_tcp_out_of_order_segments",
        "Packets that came before one that should have come first: it was lost or overtaken, and they waited.",
        _CONNECTION,
        _told(accounts, "out_of_order"),
    )


def _told(accounts: Sequence[tuple[list[str], TcpAccount]], name: str) -> Rows:
    """Give a count of each as rows, where the kernel tells it."""
    return ((labels, total) for labels, account in accounts if (total := account.total(name)) is not None)


def _pings(feeds: Mapping[str, FeedCounts]) -> Iterator[Metric]:
    """Give the WebSocket round trips of each connection."""
    all_pings = [
        ([path, str(number)], pings, number in counts.doors)
        for path, counts in feeds.items()
        for number, pings in counts.pings.items()
    ]
    yield from (
        counter(
            "latency_feed_connection_pings",
            "WebSocket pings sent to the exchange.",
            _CONNECTION,
            ((labels, pings.sent) for labels, pings, _stands in all_pings),
        ),
        counter(
            "latency_feed_connection_pongs",
            "WebSocket pings that the exchange has answered.",
            _CONNECTION,
            ((labels, pings.answered) for labels, pings, _stands in all_pings),
        ),
        gauge(
            "latency_feed_connection_rtt_seconds",
            "Round trip of the last ping answered: the way to the exchange's front end and back; absent before the "
            "first.",
            _CONNECTION,
            (
                (labels, pings.round_trip_ns / 1e9)
                for labels, pings, stands in all_pings
                if stands and pings.round_trip_ns is not None
            ),
        ),
    )


def _races(feeds: Mapping[str, FeedCounts]) -> Iterator[Metric]:
    """Give how connections did against each other, of feeds that have several for the same streams."""
    standings = [
        ([path, str(number)], standing, counts.doors.get(number))
        for path, counts in feeds.items()
        for number, standing in counts.standings.items()
    ]
    yield from (
        counter(
            "latency_feed_connection_wins",
            "Events that this connection of the feed brought first.",
            _CONNECTION,
            ((labels, standing.wins) for labels, standing, _door in standings),
        ),
        counter(
            "latency_feed_connection_copies",
            "Events that another connection had brought before.",
            _CONNECTION,
            ((labels, standing.copies) for labels, standing, _door in standings),
        ),
        counter(
            "latency_feed_connection_behind_seconds",
            "How much later than the first copy this connection's copies came, added up.",
            _CONNECTION,
            ((labels, standing.behind_ns / 1e9) for labels, standing, _door in standings),
        ),
        gauge(
            "latency_feed_connection_start_time_seconds",
            "When the connection was established; absent while it does not stand.",
            _CONNECTION,
            ((labels, door.since_ns / 1e9) for labels, _standing, door in standings if door is not None),
        ),
    )
