"""Overview: which path wins, by how much, how steadily, at what loss, and how far to believe it. For a wall screen."""

from grafana.between import highest, lowest
from grafana.board import DEPLOYMENT, PATH, Board
from grafana.limits import limit
from grafana.pairs import late, unseen
from grafana.panels import (
    AMBER,
    GREEN,
    GREY,
    NO_RACE,
    NO_RACE_SEEN,
    NO_RECEIVER,
    RED,
    RULES_LATE,
    Column,
    Panel,
    Query,
    State,
    by_name,
    lines,
    numbers,
    rows,
    states,
)

__all__ = ["overview"]

# The smallest lead over any other path: over the closest rival.
_LEAD = f'min by (path) (latency:lead_seconds:quantile5m{{{DEPLOYMENT},quantile="%s"}})'
_FIRST = f"max by (path) (latency:path:first{{{DEPLOYMENT}}}) == 1"
_AHEAD = ((None, GREY), (-1000, RED), (0, GREEN))
"""Colours of a lead; the first is only that of "no race", for no lead is as far below zero as the second."""
_WITHOUT = Query(
    f'label_replace({RULES_LATE.value} * ({late()}), "of", "recording rules", "", "")'
    f' or label_replace({NO_RECEIVER.value} * {unseen()}, "of", "scraped:", "", "")',
    "{{of}}",
)
"""Why there is no figure of a race, where that is not for want of one."""
_NOT_EVALUATED = f"(0 * group(latency:threshold:jitter_seconds) or vector({RULES_LATE.value}))"
"""No alert, if the rules are evaluated: they record the limits in any case."""
_NAME_SIZE = 13
_COUNT_SIZE = 36
"""Under a name of three lines, as of ten paths at 1280 pixels, there is room for no more."""
_AVAILABLE = ((None, RED), (limit("availability_ratio"), GREEN))


def overview() -> Board:
    """Build the dashboard: 24 grid rows, which are the 1080 lines of a wall screen."""
    return (
        Board(
            "latency-overview",
            "Latency overview",
            "Which path is first, by how much, how surely, since when; how steady it is, what it loses, and what there "
            "is to be believed.",
            ("deployment", "path"),
            "now-30m",
        )
        .row("", (_fastest(), 8, 5), (_by(), 4, 5), (_surely(), 4, 5), (_since(), 3, 5), (_trust(), 5, 5))
        .row("", (_jitter_now(), 7, 4), (_lost(), 7, 4), (_events(), 7, 4), (_alert_count(), 3, 4))
        # A legend of ten paths and a limit is as high as nine rows.
        .row("", (_lead(), 12, 9), (_jitter(), 12, 9))
        .row("", (_end_to_end(), 4, 6), (_alerts(), 7, 6), (_paths(), 7, 6), (_availability(), 6, 6))
    )


def _fastest() -> Panel:
    return numbers(
        "First",
        "The path that is earlier than each other one for the most events, and in what part of the events it beats its "
        "closest rival (last 5 minutes). Good: your backbone, near 100 %. With one path there is no race. Rules late: "
        "there is one, but Prometheus has not evaluated the recording rules for five minutes, or has not loaded them. "
        "No receiver: it has not scraped one for five minutes.",
        "percentunit",
        [Query(f"topk(1, min by (path) (latency:wins:ratio5m{{{DEPLOYMENT}}}))", "{{path}}"), _WITHOUT],
        states=(RULES_LATE, NO_RECEIVER),
        steps=((None, GREY), (0, RED), (limit("win_ratio"), AMBER), (0.9, GREEN)),
        decimals=1,
        none=NO_RACE,
        name_size=40,
        value_size=48,
        more="latency-race",
    )


def _by() -> Panel:
    return numbers(
        "by (median)",
        "How much earlier the first path brings the same event than its closest rival, in the median of 5 minutes. One "
        "clock measures both, so it holds whatever the clocks do. Good: steady, and worth what the detour costs.",
        "s",
        [Query(f"{_LEAD % '0.5'} and on (path) ({_FIRST})", "{{path}}"), _WITHOUT],
        states=(RULES_LATE, NO_RECEIVER),
        steps=_AHEAD,
        names=False,
        none=NO_RACE,
        value_size=44,
        more="latency-race",
    )


def _surely() -> Panel:
    return numbers(
        "by (99 %)",
        "How sure that is: the lead over the closest rival that all but the worst hundredth of the events have (last 5 "
        "minutes). Good: above zero; below, some events come earlier by another path.",
        "s",
        [Query(f"{_LEAD % '0.01'} and on (path) ({_FIRST})", "{{path}}"), _WITHOUT],
        states=(RULES_LATE, NO_RECEIVER),
        steps=((None, GREY), (-1000, AMBER), (0, GREEN)),
        names=False,
        none=NO_RACE,
        value_size=44,
        more="latency-race",
    )


def _since() -> Panel:
    first = f"latency:path:first{{{DEPLOYMENT}}}"
    begun = (
        f"max by (path) (max_over_time(timestamp({first} == 0)[1d:1m]))"
        f" or min by (path) (min_over_time(timestamp({first})[1d:1m]))"
    )
    return numbers(
        "for",
        "For how long this path has been the first without a break, to the minute; a day at most. Good: since your "
        "last change. A short time means that the paths are hard to tell apart, or that a route has changed.",
        "s",
        [Query(f"time() - ({begun}) and on (path) ({_FIRST})", "{{path}}"), _WITHOUT],
        states=(RULES_LATE, NO_RECEIVER),
        names=False,
        none=NO_RACE,
        value_size=30,
        more="latency-race",
    )


def _trust() -> Panel:
    return numbers(
        "To be believed within",
        "Clocks: the widest error bound of any path's one-way delay; leads and round trips need no clock. Host: what "
        "this host's own work may add to a figure that the kernel did not stamp (p99). Not raced: the part of the "
        "events that could not be compared. Good: all far below the lead and the jitter.",
        "s",
        [
            Query(f"max(latency:clock_bound_seconds:path{{{PATH}}} >= 0) or vector(-1)", "clocks"),
            Query(f"max(latency:host_delay_seconds:p99_5m{{{PATH}}} >= 0)", "host"),
            Query(f"max(latency:unpaired:ratio5m{{{PATH}}})", "not raced"),
        ],
        steps=((None, GREY), (0, GREEN), (limit("clock_bound_floor_seconds"), AMBER), (0.01, RED)),
        states=(State(-1, "unknown", AMBER),),
        units={"not raced": "percentunit"},
        decimals=1,
        name_size=_NAME_SIZE,
        value_size=24,
        under=True,
        more="latency-health",
    )


def _alert_count() -> Panel:
    firing = f'count(ALERTS{{alertstate="firing",severity="%s",{DEPLOYMENT}}}) or {_NOT_EVALUATED}'
    return numbers(
        "Alerts",
        "Alerts that fire now; rules late: Prometheus has not evaluated them for five minutes. Good: 0.",
        "short",
        [Query(firing % "page", "pages"), Query(firing % "ticket", "tickets")],
        states=(RULES_LATE,),
        steps=((None, GREY), (0, GREEN), (1, RED)),
        more="latency-health",
    )


def _jitter_now() -> Panel:
    return numbers(
        "Jitter now",
        "Interarrival jitter (RFC 3550), mean of 15 seconds, of the four paths whose worst streams shake most. Good: "
        "green; red is where a page begins (prometheus/rules/thresholds.yml).",
        "s",
        [Query(f"topk(4, max by (path) (latency:jitter_seconds:mean15s{{{PATH}}}))", "{{path}}")],
        steps=((None, GREY), (0, GREEN), (limit("jitter_seconds") / 2, AMBER), (limit("jitter_seconds"), RED)),
        name_size=_NAME_SIZE,
        more="latency-delay",
    )


def _lost() -> Panel:
    return numbers(
        "Lost in 5 minutes",
        "Events missing in the sequence of a link, or in the exchange's ids on a feed: of the four paths that miss "
        "most. Good: 0.",
        "short",
        [Query(f"topk(4, sum by (path) (latency:lost_events:increase5m{{{PATH}}}))", "{{path}}")],
        steps=((None, GREY), (0, GREEN), (1, RED)),
        decimals=0,
        name_size=_NAME_SIZE,
        value_size=_COUNT_SIZE,
        more="latency-health",
    )


def _events() -> Panel:
    return numbers(
        "Events a second",
        "On the four paths that bring least. Good: the same on all of them.",
        "short",
        [
            Query(
                f"bottomk(4, sum by (path) (rate(latency_receiver_events_total{{{PATH}}}[$__rate_interval])))",
                "{{path}}",
            )
        ],
        decimals=0,
        name_size=_NAME_SIZE,
        value_size=_COUNT_SIZE,
        more="latency-delay",
    )


def _paths() -> Panel:
    return states(
        "Paths",
        "Whether each path is connected or bringing events. Good: green throughout.",
        [by_name(f"max by (path) ({lowest('latency:path:up', PATH)})", "path")],
        (State(0, "down", RED), State(1, "up", GREEN)),
        more="latency-health",
    )


def _lead() -> Panel:
    return lines(
        "Median lead over the closest rival",
        "Of each path; above zero it is the first, below it lags behind the first by so much. Good: steady; a step is "
        "a changed route. The race dashboard has every pair.",
        "s",
        [Query(f'min by (path) (latency:lead_seconds:quantile5m{{{PATH},quantile="0.5"}})', "{{path}}")],
        reaching=(0,),
        none=NO_RACE_SEEN,
        more="latency-race",
    )


def _jitter() -> Panel:
    return lines(
        "Jitter",
        "Interarrival jitter of each path's worst stream, and the limit above which somebody is woken: the highest of "
        "Jitter now in each step of the graph, so that no shake falls between two points. Good: flat, far below the "
        "limit.",
        "s",
        [
            Query(f"max by (path) ({highest('latency:jitter_seconds:mean15s', PATH)})", "{{path}}"),
        ],
        limit="jitter_seconds",
        minimum=0,
        more="latency-delay",
    )


def _end_to_end() -> Panel:
    bucket = f"sum by (path, le) (rate(latency_receiver_end_to_end_seconds_bucket{{{PATH}}}[$__rate_interval]))"
    return lines(
        "End to end",
        "Median and p99 of exchange's event time to arrival, all streams that carry a time; p99 is dashed, in the same "
        "colour, which is that of the path's jitter. Right within the clock bound. Good: p99 close to the median.",
        "s",
        [
            Query(f"histogram_quantile(0.5, {bucket})", "{{path}}"),
            Query(f"histogram_quantile(0.99, {bucket})", "{{path}}", dashed=True),
        ],
        named=False,
        minimum=0,
        more="latency-delay",
    )


def _alerts() -> Panel:
    # An alert is of a path or two, a target or a link, else of a daemon: columns for each would be cut, mostly empty.
    of = f'label_join(ALERTS{{alertstate="firing",{DEPLOYMENT}}}, "of", " ", "role", "host")'
    for label in ("link", "target"):
        of = f'label_replace({of}, "of", "$1", "{label}", "(.+)")'
    paths = f'label_join({of}, "paths", " / ", "path", "reference")'
    of = f'label_replace({paths}, "of", "$1", "paths", "([^ ].*?)(?: / )?")'
    late = f'label_replace(absent(latency:threshold:jitter_seconds), "alertname", "{RULES_LATE.text}", "", "")'
    return rows(
        "Alerts that fire",
        "One line for each, with the path, target, link or daemon that it is of; docs/runbook.md says what to do. "
        "Good: none.",
        {"firing": Query(f"{of} or {late}")},
        labels={"alertname": "Alert", "severity": "Severity", "of": "Of"},
        values={},
        none="none",
        widths={"Alert": 165, "Severity": 72},
        more="latency-health",
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
        widths={"Hour": 65, "30 days": 68, "Burn": 50},
        more="latency-health",
    )
