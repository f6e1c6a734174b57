"""Path race: by how much one path is earlier than another, when, and how often."""

from grafana.board import DEPLOYMENT, PAIR, Board
from grafana.limits import limit
from grafana.panels import GREEN, RED, Column, Query, bars, heat, lines, rows

__all__ = ["race"]

_LEAD = "latency_receiver_path_lead_seconds"
# rate() over the histogram's own sum would take each negative lead for a restart.
_SIGNED_SUM = (
    f"(rate(latency_receiver_path_ahead_seconds_total{{{PAIR}}}[1m])"
    f" - rate(latency_receiver_path_behind_seconds_total{{{PAIR}}}[1m]))"
)
# The hour of the day as a label, for an evaluation at that hour.
_HOUR = '* on () group_left (hour) count_values("hour", hour(vector(time())))'


def _by_hour(numerator: str, denominator: str) -> str:
    """Divide two rates summed over all minutes of each hour of the day in the dashboard's time range."""
    top, bottom = (
        f"sum by (hour, reference) (sum_over_time((sum by (reference) ({rate}) {_HOUR})[$__range:1m]))"
        for rate in (numerator, denominator)
    )
    padded = f'label_replace({top} / {bottom}, "hour", "0$1", "hour", "([0-9])")'
    clock = f'label_replace({padded}, "hour", "$1:00", "hour", "(.*)")'
    return f'label_replace({clock}, "against", "against $1", "reference", "(.*)")'


def race() -> Board:
    """Build the dashboard."""
    wins = "latency_receiver_path_wins_total"
    return (
        Board(
            "latency-race",
            "Path race",
            "The same event on two paths, compared at one host: no clock has to be right for it. Choose a path; a "
            "path that is first in the receiver's configuration is what the others are compared with.",
            ("deployment", "racer", "reference"),
            "now-1h",
        )
        .row(
            "",
            (
                heat(
                    "Lead of $racer over $reference",
                    "How the lead is spread, over time: above zero the path was earlier. Good: one narrow band above "
                    "zero. Two bands are two routes; a band that widens is jitter.",
                    "s",
                    f"sum by (le) (increase({_LEAD}_bucket{{{PAIR}}}[$__rate_interval]))",
                )
                .repeat("reference")
                .repeat_direction("h")
                .max_per_row(2),
                24,
                10,
            ),
        )
        .row(
            "",
            (
                lines(
                    "Lead of $racer: p1, median, p99",
                    "Above zero $racer is earlier. Good: p1 above zero, that is earlier nearly always.",
                    "s",
                    [
                        Query(
                            f"histogram_quantile({fraction}, sum by (reference, le) "
                            f"(rate({_LEAD}_bucket{{{PAIR}}}[$__rate_interval])))",
                            f"over {{{{reference}}}}, {name}",
                        )
                        for fraction, name in ((0.01, "p1"), (0.5, "p50"), (0.99, "p99"))
                    ],
                    dashed="p1$|p99$",
                ),
                12,
                9,
            ),
            (
                lines(
                    "Events that $racer brought earlier",
                    "Part of the events that it brought before the other path. Good: near 100 %. At 50 % both are "
                    "equal; below, the detour does not pay.",
                    "percentunit",
                    [
                        Query(
                            f"sum by (reference) (rate({wins}{{{PAIR}}}[$__rate_interval])) "
                            f"/ (sum by (reference) (rate({_LEAD}_count{{{PAIR}}}[$__rate_interval])) > 0)",
                            "than {{reference}}",
                        ),
                        Query("max(latency:threshold:win_ratio)", "limit"),
                    ],
                    limits="^limit$",
                    minimum=0,
                    maximum=1,
                ),
                12,
                9,
            ),
        )
        .row(
            "By hour of the day (UTC), over the whole time range",
            (
                bars(
                    "Mean lead of $racer by hour",
                    "The mean lead in each hour of the day. Choose a week to see the rhythm of the internet. Good: "
                    "the same at all hours.",
                    "s",
                    Query(
                        _by_hour(_SIGNED_SUM, f"rate({_LEAD}_count{{{PAIR}}}[1m])"),
                    ),
                    category="hour",
                    series="against",
                ),
                12,
                9,
            ),
            (
                bars(
                    "Events that $racer brought earlier, by hour",
                    "Part of the events in each hour of the day. Good: near 100 % at all hours.",
                    "percentunit",
                    Query(
                        _by_hour(f"rate({wins}{{{PAIR}}}[1m])", f"rate({_LEAD}_count{{{PAIR}}}[1m])"),
                    ),
                    category="hour",
                    series="against",
                ),
                12,
                9,
            ),
        )
        .row(
            "All paths",
            (
                rows(
                    "Every pair, the last 5 minutes",
                    "Leads and wins of links against feeds, and of the later configured against the earlier of a kind.",
                    {
                        name: Query(
                            "max by (path, reference) (latency:lead_seconds:quantile5m"
                            f'{{{DEPLOYMENT},quantile="{fraction}"}})'
                        )
                        for name, fraction in (("p1", "0.01"), ("p50", "0.5"), ("p99", "0.99"))
                    }
                    | {
                        "wins": Query(
                            f"max by (path, reference) (latency:wins:ratio5m{{{DEPLOYMENT}}}) "
                            "and on (path, reference) latency:lead_seconds:quantile5m"
                        ),
                        "pairs": Query(f"sum by (path, reference) (increase({_LEAD}_count{{{DEPLOYMENT}}}[5m]))"),
                    },
                    labels={"path": "Path", "reference": "Against"},
                    values={
                        "p1": Column("p1", "s"),
                        "p50": Column("Median", "s"),
                        "p99": Column("p99", "s"),
                        "wins": Column("Earlier", "percentunit", ((None, RED), (limit("win_ratio"), GREEN))),
                        "pairs": Column("Events", "short"),
                    },
                    sort="Median",
                ),
                12,
                9,
            ),
            (
                lines(
                    "What was not compared",
                    "Events a second that one path alone brought (the others lost them, or were down), and those that "
                    "came by both but not live: delayed in an outage, or around a step of the clock. Good: 0.",
                    "short",
                    [
                        Query(
                            "sum by (path) (rate(latency_receiver_unpaired_events_total"
                            f"{{{DEPLOYMENT}}}[$__rate_interval]))",
                            "{{path}} alone",
                        ),
                        Query(
                            "sum by (path) (rate(latency_receiver_race_excluded_events_total"
                            f"{{{DEPLOYMENT}}}[$__rate_interval]))",
                            "{{path}}, not live",
                        ),
                    ],
                    minimum=0,
                ),
                12,
                9,
            ),
        )
    )
