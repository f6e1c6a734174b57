"""Overview: which path wins, by how much, how steadily, at what loss, and how far to believe it. For a wall screen."""

from grafana.board import DEPLOYMENT, PATH, Board
from grafana.limits import limit
from grafana.panels import AMBER, GREEN, RED, Column, Query, State, lines, numbers, rows, states

__all__ = ["overview"]

# What the detour is worth: links against feeds.
_LINK_AGAINST_FEED = (
    " and on (instance, path) latency_receiver_link_connected"
    ' and on (instance, reference) label_replace(latency_receiver_feed_connected, "reference", "$1", "path", "(.+)")'
)


def overview() -> Board:
    """Build the dashboard."""
    board = Board(
        "latency-overview",
        "Latency overview",
        "Which path is first, by how much, how steady it is, what it loses, and how far the figures can be believed.",
        ("deployment", "path"),
        "now-30m",
    )
    return (
        board.row(
            "",
            (
                numbers(
                    "Fastest path",
                    "The path that is earlier than each other one for the most events, and in what part of the events "
                    "it beats its closest rival (last 5 minutes). Good: your backbone, near 100 %. With one path "
                    "there is no race.",
                    "percentunit",
                    [Query(f"topk(1, min by (path) (latency:wins:ratio5m{{{DEPLOYMENT}}}))", "{{path}}")],
                    steps=((None, RED), (limit("win_ratio"), AMBER), (0.9, GREEN)),
                    decimals=1,
                    none="no race",
                ),
                6,
                5,
            ),
            (
                numbers(
                    "Median lead of links over feeds",
                    "How much earlier the forwarder's path brings the same event than a direct feed (median of 5 "
                    "minutes). One clock measures both, so it holds whatever the clocks do. Good: positive. Without "
                    "a link and a feed that race there is none.",
                    "s",
                    [
                        Query(
                            f'latency:lead_seconds:quantile5m{{{PATH},quantile="0.5"}}' + _LINK_AGAINST_FEED,
                            "{{path}} before {{reference}}",
                        )
                    ],
                    steps=((None, RED), (0, GREEN)),
                    none="no race",
                ),
                9,
                5,
            ),
            (
                numbers(
                    "Alerts",
                    "Alerts that fire now. Good: 0.",
                    "short",
                    [
                        Query(
                            f'count(ALERTS{{alertstate="firing",severity="page",{DEPLOYMENT}}}) or vector(0)', "pages"
                        ),
                        Query(
                            f'count(ALERTS{{alertstate="firing",severity="ticket",{DEPLOYMENT}}}) or vector(0)',
                            "tickets",
                        ),
                    ],
                    steps=((None, GREEN), (1, RED)),
                ),
                4,
                5,
            ),
            (
                numbers(
                    "Clocks",
                    "What the daemons know of their clocks: the widest error bound on any path's one-way delay. "
                    "Good: far below the jitter. Leads and RTT need no clock; without synchronised clocks there is "
                    "no bound, and one-way delays are guesses.",
                    "s",
                    [
                        Query(f"max(latency:clock_bound_seconds:path{{{PATH}}} >= 0)", "error bound"),
                    ],
                    steps=((None, GREEN), (0.001, AMBER), (0.01, RED)),
                    none="not synchronised",
                ),
                5,
                5,
            ),
        )
        .row(
            "",
            (
                numbers(
                    "Jitter",
                    "Interarrival jitter (RFC 3550) of each path's worst stream, mean of 15 seconds. Good: below the "
                    "threshold in prometheus/rules/thresholds.yml, where a page begins.",
                    "s",
                    [Query(f"max by (path) (latency:jitter_seconds:mean15s{{{PATH}}})", "{{path}}")],
                    steps=((None, GREEN), (limit("jitter_seconds") / 2, AMBER), (limit("jitter_seconds"), RED)),
                    graph=True,
                ),
                8,
                5,
            ),
            (
                numbers(
                    "Lost in 5 minutes",
                    "Events missing in the sequence of a link, or in the exchange's ids on a feed. Good: 0.",
                    "short",
                    [Query(f"sum by (path) (latency:lost_events:increase5m{{{PATH}}})", "{{path}}")],
                    steps=((None, GREEN), (1, RED)),
                    decimals=0,
                ),
                8,
                5,
            ),
            (
                states(
                    "Paths",
                    "Whether each path is connected or bringing events. Good: green throughout.",
                    [Query(f"max by (path) (latency:path:up{{{PATH}}})", "{{path}}")],
                    (State(0, "down", RED), State(1, "up", GREEN)),
                ),
                8,
                5,
            ),
        )
        .row(
            "",
            (
                lines(
                    "Median lead",
                    "Every pair of paths; above zero the first named is earlier. Good: steady; a step is a changed "
                    "route.",
                    "s",
                    [
                        Query(
                            f'latency:lead_seconds:quantile5m{{{PATH},quantile="0.5"}}',
                            "{{path}} before {{reference}}",
                        )
                    ],
                ),
                12,
                9,
            ),
            (
                lines(
                    "Jitter",
                    "Interarrival jitter of each path's worst stream, and the limit above which somebody is woken. "
                    "Good: flat, far below the limit.",
                    "s",
                    [
                        Query(f"max by (path) (latency:jitter_seconds:mean15s{{{PATH}}})", "{{path}}"),
                        Query("max(latency:threshold:jitter_seconds)", "limit"),
                    ],
                    limits="^limit$",
                    minimum=0,
                ),
                12,
                9,
            ),
        )
        .row(
            "",
            (
                lines(
                    "End to end: p50 and p99",
                    "Exchange's event time to arrival, all streams that carry a time. Right within the clock's error "
                    "bound. Good: p99 close to p50.",
                    "s",
                    [
                        Query(
                            f"histogram_quantile(0.5, sum by (path, le) "
                            f"(rate(latency_receiver_end_to_end_seconds_bucket{{{PATH}}}[$__rate_interval])))",
                            "{{path}} p50",
                        ),
                        Query(
                            f"histogram_quantile(0.99, sum by (path, le) "
                            f"(rate(latency_receiver_end_to_end_seconds_bucket{{{PATH}}}[$__rate_interval])))",
                            "{{path}} p99",
                        ),
                    ],
                    dashed="p99$",
                    minimum=0,
                ),
                12,
                9,
            ),
            (
                lines(
                    "Events",
                    "Events a second on each path. Good: the same on all of them.",
                    "short",
                    [
                        Query(
                            f"sum by (path) (rate(latency_receiver_events_total{{{PATH}}}[$__rate_interval]))",
                            "{{path}}",
                        )
                    ],
                    minimum=0,
                ),
                12,
                9,
            ),
        )
        .row(
            "",
            (
                rows(
                    "Alerts that fire",
                    "One line for each; the runbook says what to do. Good: none.",
                    {"firing": Query(f'ALERTS{{alertstate="firing",{DEPLOYMENT}}}')},
                    labels={
                        "alertname": "Alert",
                        "severity": "Severity",
                        "path": "Path",
                        "stream": "Stream",
                        "target": "Target",
                        "link": "Link",
                        "host": "Host",
                    },
                    values={},
                    none="none",
                ),
                16,
                8,
            ),
            (
                rows(
                    "Availability",
                    "Part of the time that a path was up. The 30-day figure grows with the history that Prometheus "
                    "holds. Good: above the objective in thresholds.yml.",
                    {
                        "hour": Query(f"min by (path) (latency:availability:ratio1h{{{PATH}}})"),
                        "month": Query(f"min by (path) (latency:availability:ratio30d{{{PATH}}})"),
                        "burn": Query(f"max by (path) (latency:budget_burn:ratio1h{{{PATH}}})"),
                    },
                    labels={"path": "Path"},
                    values={
                        "hour": Column("Hour", "percentunit", ((None, RED), (limit("availability_ratio"), GREEN))),
                        "month": Column("30 days", "percentunit", ((None, RED), (limit("availability_ratio"), GREEN))),
                        "burn": Column("Burn", "short", ((None, GREEN), (1, AMBER), (limit("budget_burn_ratio"), RED))),
                    },
                ),
                8,
                8,
            ),
        )
    )
