"""Latency: the whole distribution of each path's delay, and its streams beside each other."""

from grafana.between import highest, lowest
from grafana.board import PATH, PATH_STREAM, Board
from grafana.counts import counted, counts
from grafana.limits import limit
from grafana.panels import AMBER, GREEN, RED, Column, Panel, Query, heat, lines, rows
from grafana.spread import spread

__all__ = ["latency"]

_JITTER = ((None, GREEN), (limit("jitter_seconds") / 2, AMBER), (limit("jitter_seconds"), RED))
_FRACTIONS = (0.5, 0.99, 0.999)
_END_TO_END = "latency_receiver_end_to_end_seconds"
_BACKBONE = "latency_receiver_backbone_seconds"


def _quantiles(metric: str, by: str, fractions: tuple[float, ...] = _FRACTIONS) -> list[Query]:
    legend = " ".join(f"{{{{{label}}}}}" for label in by.split(", "))
    return [
        Query(
            f"histogram_quantile({fraction}, sum by ({by}, le) "
            # No events, no quantile: leave the line out.
            f"(rate({metric}_bucket{{{PATH_STREAM}}}[$__rate_interval]))) >= 0",
            legend,
            dashed=index > 0,
        )
        for index, fraction in enumerate(fractions)
    ]


def _heat(metric: str) -> str:
    return spread(lambda window: f"sum by (le) (increase({metric}_bucket{{{PATH_STREAM}}}{window}))")


def latency() -> Board:
    """Build the dashboard."""
    return (
        Board(
            "latency-delay",
            "Latency",
            "One-way delays: from the exchange's event time, and from the forwarder; right within the clock bounds.",
            ("deployment", "path", "stream"),
            "now-1h",
        )
        .row(
            "End to end: exchange to receiver",
            (_end_to_end(), 24, 11),
            (_percentiles(), 24, 12),
            (_by_stream(), 12, 11),
            (_jitter(), 12, 11),
            (_causes(), 24, 8),
        )
        .row(
            "Backbone: forwarder to receiver (links only)",
            (_backbone(), 12, 10),
            (_backbone_percentiles(), 12, 10),
            (_round_trip(), 12, 8),
            (_waited(), 12, 8),
        )
        .row("The last 5 minutes", (_table(), 24, 9))
    )


def _end_to_end() -> Panel:
    return (
        heat(
            "End to end of $path",
            "The delays of the chosen streams, but for one in a thousand at either end of the time range. "
            "Good: one narrow band; two bands are two routes.",
            "s",
            _heat(_END_TO_END),
        )
        .repeat("path")
        .repeat_direction("h")
        .max_per_row(2)
    )


def _percentiles() -> Panel:
    return lines(
        "End to end: percentiles by path",
        "All chosen streams together; the median is drawn solid, p99 dashed, p99.9 dotted. Good: p99.9 not "
        "far above it.",
        "s",
        _quantiles(_END_TO_END, "path"),
    )


def _by_stream() -> Panel:
    return lines(
        "End to end: p99 by stream",
        "Good: a path's streams close together; what moves one stream on all paths is the exchange.",
        "s",
        _quantiles(_END_TO_END, "path, stream", (0.99,)),
        narrow=True,
    )


def _jitter() -> Panel:
    return lines(
        "Jitter by stream",
        "Interarrival jitter (RFC 3550), at each scrape, and the pager's limit. Good: far below.",
        "s",
        [
            Query(
                f"max by (path, stream) ({highest('latency_receiver_jitter_seconds', PATH_STREAM)})",
                "{{path}} {{stream}}",
            ),
        ],
        limit="jitter_seconds",
        minimum=0,
        narrow=True,
    )


def _causes() -> Panel:
    return counts(
        "Why the slowest were slow, in 5 minutes",
        "Events above the 99th percentile of their path's last minutes, by the cause that explains most of their "
        "excess. Good: network alone, at one event in a hundred; any other cause is ours to mend, and says where.",
        [counted("latency_receiver_tail_events_total", PATH, "path, cause", "{{path}} {{cause}}")],
        [f"latency_receiver_tail_events_total{{{PATH}}}"],
    )


def _backbone() -> Panel:
    return heat(
        "Backbone of all chosen links",
        "The delays from arrival at the forwarder to arrival here, but for one in a thousand at either end "
        "of the time range. Good: one narrow band.",
        "s",
        _heat(_BACKBONE),
    )


def _backbone_percentiles() -> Panel:
    return lines(
        "Backbone: percentiles by path",
        "The median is drawn solid, p99 dashed, p99.9 dotted. Good: p99 within a millisecond of it on a "
        "private backbone.",
        "s",
        _quantiles(_BACKBONE, "path"),
    )


def _round_trip() -> Panel:
    return lines(
        "Round trip to the forwarder",
        "From the clock exchange, and so right without any clock; the median is drawn solid, p99 "
        "dashed, as near as buckets tell; the least of the last 16 exchanges, dotted, is exact. Good: the "
        "network's own; half of it is what the one-way delay should be.",
        "s",
        [
            Query(
                f"histogram_quantile({fraction}, sum by (path, le) "
                f"(rate(latency_receiver_link_rtt_seconds_bucket{{{PATH}}}[$__rate_interval])))",
                "{{path}}",
                dashed=fraction > 0.5,
            )
            for fraction in (0.5, 0.99)
        ]
        + [
            Query(
                f"2 * max by (path) ({lowest('latency_receiver_link_clock_offset_error_seconds', PATH)})",
                "{{path}}",
                dashed=True,
            )
        ],
        connect=True,
    )


def _waited() -> Panel:
    return counts(
        "Waited in an outage, in 5 minutes",
        "Events that came after a link was down, kept out of all figures above, and those that came twice or out of "
        "order. Good: 0.",
        [
            counted("latency_receiver_delayed_events_total", PATH, "path", "{{path}}"),
            counted("latency_receiver_duplicate_events_total", PATH, "path", "{{path}} duplicates"),
            counted("latency_receiver_reordered_events_total", PATH, "path", "{{path}} reordered"),
        ],
        [f"latency_receiver_delayed_events_total{{{PATH}}}"],
    )


def _table() -> Panel:
    return rows(
        "By path and stream",
        "Percentiles of the whole delay; of what carries no event time, there are none. Usually: in the "
        "same hour of the last days; empty on the first.",
        {
            name: Query(
                "max by (path, stream) (latency:delay_seconds:quantile5m"
                f'{{{PATH_STREAM},measure="end_to_end",quantile="{fraction}"}}) >= 0'
            )
            for name, fraction in (("p50", "0.5"), ("p95", "0.95"), ("p99", "0.99"), ("p999", "0.999"))
        }
        | {
            "yesterday": Query(
                f'max by (path, stream) (latency:delay_seconds:p99_same_hour{{{PATH_STREAM},measure="end_to_end"}})'
            ),
            "jitter": Query(f"max by (path, stream) (latency:jitter_seconds:mean15s{{{PATH_STREAM}}})"),
            "events": Query(f"sum by (path, stream) (rate(latency_receiver_events_total{{{PATH_STREAM}}}[5m]))"),
        },
        labels={"path": "Path", "stream": "Stream"},
        values={
            "p50": Column("p50", "s"),
            "p95": Column("p95", "s"),
            "p99": Column("p99", "s"),
            "p999": Column("p99.9", "s"),
            "yesterday": Column("p99 usually", "s"),
            "jitter": Column(
                "Jitter",
                "s",
                _JITTER,
            ),
            "events": Column("Events/s", "short"),
        },
        sort="Jitter",
        # The name of a stream has no place at which a line could end.
        widths={"Stream": 150},
    )
