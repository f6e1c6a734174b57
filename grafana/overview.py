"""Overview: which path wins, by how much, how steadily, at what loss, and how far to believe it. For a wall screen."""

from grafana.board import DEPLOYMENT, PATH, Board
from grafana.limits import limit
from grafana.panels import AMBER, GREEN, GREY, RED, Column, Panel, Query, State, lines, numbers, rows, states

__all__ = ["overview"]

# What the detour is worth: links against feeds.
_LINK_AGAINST_FEED = (
    " and on (instance, path) latency_receiver_link_connected"
    ' and on (instance, reference) label_replace(latency_receiver_feed_connected, "reference", "$1", "path", "(.+)")'
)
# One direction of each pair: the one in which the receiver keeps it, by name among paths of a kind.
_KEPT = " and on (instance, path, reference) rate(latency_receiver_path_lead_seconds_count[5m])"
_NAME_SIZE = 13
_AVAILABLE = ((None, RED), (limit("availability_ratio"), GREEN))


def overview() -> Board:
    """Build the dashboard: 24 grid rows, which are the 1080 lines of a wall screen."""
    return (
        Board(
            "latency-overview",
            "Latency overview",
            "Which path is first, by how much, how steady it is, what it loses, and how far that can be believed.",
            ("deployment", "path"),
            "now-30m",
        )
        .row("", (_fastest(), 6, 4), (_lead_now(), 9, 4), (_alert_count(), 4, 4), (_clocks(), 5, 4))
        .row("", (_jitter_now(), 7, 4), (_lost(), 6, 4), (_events(), 6, 4), (_paths(), 5, 4))
        .row("", (_lead(), 12, 8), (_jitter(), 12, 8))
        .row("", (_end_to_end(), 10, 8), (_alerts(), 7, 8), (_availability(), 7, 8))
    )


def _fastest() -> Panel:
    return numbers(
        "Fastest path",
        "The path that is earlier than each other one for the most events, and in what part of the events it beats its "
        "closest rival (last 5 minutes). Good: your backbone, near 100 %. With one path there is no race.",
        "percentunit",
        [Query(f"topk(1, min by (path) (latency:wins:ratio5m{{{DEPLOYMENT}}}))", "{{path}}")],
        steps=((None, GREY), (0, RED), (limit("win_ratio"), AMBER), (0.9, GREEN)),
        decimals=1,
        none="no race",
    )


def _lead_now() -> Panel:
    return numbers(
        "Median lead of links over the fastest feed",
        "How much earlier the forwarder's path brings the same event than a direct feed (5 minutes). One clock "
        "measures both, so it holds whatever the clocks do. Good: positive. Without a link and a feed that race there "
        "is none.",
        "s",
        [
            Query(
                f'min by (path) (latency:lead_seconds:quantile5m{{{PATH},quantile="0.5"}}{_LINK_AGAINST_FEED})',
                "{{path}}",
            )
        ],
        # Far below anything that can be, so that the first colour is only that of "no race".
        steps=((None, GREY), (-1000, RED), (0, GREEN)),
        none="no race",
    )


def _alert_count() -> Panel:
    firing = f'count(ALERTS{{alertstate="firing",severity="%s",{DEPLOYMENT}}}) or vector(0)'
    return numbers(
        "Alerts",
        "Alerts that fire now. Good: 0.",
        "short",
        [Query(firing % "page", "pages"), Query(firing % "ticket", "tickets")],
        steps=((None, GREEN), (1, RED)),
    )


def _clocks() -> Panel:
    return numbers(
        "Clocks",
        "The widest error bound of any path's one-way delay. Good: far below the jitter. Leads and round trips need no "
        "clock; without synchronised clocks there is no bound, and one-way delays are guesses.",
        "s",
        [Query(f"max(latency:clock_bound_seconds:path{{{PATH}}} >= 0)", "error bound")],
        steps=((None, RED), (0, GREEN), (limit("clock_bound_floor_seconds"), AMBER), (0.01, RED)),
        none="not synchronised",
    )


def _jitter_now() -> Panel:
    return numbers(
        "Jitter",
        "Interarrival jitter (RFC 3550) of each path's worst stream, mean of 15 seconds. Good: green; red is "
        "where a page begins (prometheus/rules/thresholds.yml).",
        "s",
        [Query(f"max by (path) (latency:jitter_seconds:mean15s{{{PATH}}})", "{{path}}")],
        steps=((None, GREEN), (limit("jitter_seconds") / 2, AMBER), (limit("jitter_seconds"), RED)),
        graph=True,
        name_size=_NAME_SIZE,
    )


def _lost() -> Panel:
    return numbers(
        "Lost in 5 minutes",
        "Events missing in the sequence of a link, or in the exchange's ids on a feed. Good: 0.",
        "short",
        [Query(f"sum by (path) (latency:lost_events:increase5m{{{PATH}}})", "{{path}}")],
        steps=((None, GREEN), (1, RED)),
        decimals=0,
        name_size=_NAME_SIZE,
    )


def _events() -> Panel:
    return numbers(
        "Events a second",
        "On each path. Good: the same on all of them.",
        "short",
        [Query(f"sum by (path) (rate(latency_receiver_events_total{{{PATH}}}[$__rate_interval]))", "{{path}}")],
        decimals=0,
        name_size=_NAME_SIZE,
    )


def _paths() -> Panel:
    return states(
        "Paths",
        "Whether each path is connected or bringing events. Good: green throughout.",
        [Query(f"max by (path) (latency:path:up{{{PATH}}})", "{{path}}")],
        (State(0, "down", RED), State(1, "up", GREEN)),
    )


def _lead() -> Panel:
    lead = f'latency:lead_seconds:quantile5m{{{PATH},quantile="0.5"}}'
    legend = "{{path}} before {{reference}}"
    return lines(
        "Median lead",
        "Each link against each feed, or every pair where there are not both; above zero the first one is earlier. "
        "Good: steady; a step is a changed route. The race dashboard has every pair.",
        "s",
        # `unless` and `and` bind equally, from left to right: the parentheses are what makes the second half speak up.
        [Query(f"{lead}{_LINK_AGAINST_FEED} or ({lead}{_KEPT} unless on () ({lead}{_LINK_AGAINST_FEED}))", legend)],
        none="no race",
    )


def _jitter() -> Panel:
    return lines(
        "Jitter",
        "Interarrival jitter of each path's worst stream, and the limit above which somebody is woken. Good: flat, far "
        "below the limit.",
        "s",
        [
            Query(f"max by (path) (latency:jitter_seconds:mean15s{{{PATH}}})", "{{path}}"),
            Query("max(latency:threshold:jitter_seconds)", "limit"),
        ],
        limits="^limit$",
        minimum=0,
    )


def _end_to_end() -> Panel:
    bucket = f"sum by (path, le) (rate(latency_receiver_end_to_end_seconds_bucket{{{PATH}}}[$__rate_interval]))"
    return lines(
        "End to end: p50 and p99",
        "Exchange's event time to arrival, all streams that carry a time. Right within the clock bound. Good: p99 "
        "close to p50.",
        "s",
        [
            Query(f"histogram_quantile(0.5, {bucket})", "{{path}} p50"),
            Query(f"histogram_quantile(0.99, {bucket})", "{{path}} p99"),
        ],
        dashed="p99$",
        minimum=0,
    )


def _alerts() -> Panel:
    return rows(
        "Alerts that fire",
        "One line for each; docs/runbook.md says what to do. Good: none.",
        {"firing": Query(f'ALERTS{{alertstate="firing",{DEPLOYMENT}}}')},
        labels={
            "alertname": "Alert",
            "severity": "Severity",
            "path": "Path",
            "target": "Target",
            "link": "Link",
            "host": "Host",
        },
        values={},
        none="none",
        widths={"Alert": 165, "Severity": 70, "Host": 70},
    )


def _availability() -> Panel:
    return rows(
        "Availability",
        "Part of the time that a path was up, and how many times too fast the last hour used up the error budget. "
        "Good: above the objective in thresholds.yml, and a burn below 1.",
        {
            "hour": Query(f"min by (path) (latency:availability:ratio1h{{{PATH}}})"),
            "month": Query(f"min by (path) (latency:availability:ratio30d{{{PATH}}})"),
            "burn": Query(f"max by (path) (latency:budget_burn:ratio1h{{{PATH}}})"),
        },
        labels={"path": "Path"},
        values={
            "hour": Column("Hour", "percentunit", _AVAILABLE),
            "month": Column("30 days", "percentunit", _AVAILABLE),
            "burn": Column("Burn", "short", ((None, GREEN), (1, AMBER), (limit("budget_burn_ratio"), RED))),
        },
        widths={"Hour": 75, "30 days": 80, "Burn": 70},
    )
