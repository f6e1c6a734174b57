"""Path race: by how much one path is earlier than another, when, and how often."""

from grafana.board import DEPLOYMENT, PATH, Board
from grafana.panels import Column, Query, bars, heat, lines, rows

__all__ = ["race"]

_PAIR = "{{path}} before {{reference}}"
_LEAD = f"latency_receiver_path_lead_seconds_bucket{{{PATH}}}"
# The hour of the day as a label, for an evaluation at that hour.
_HOUR = '* on () group_left (hour) count_values("hour", hour(vector(time())))'


def _by_hour(numerator: str, denominator: str) -> str:
    """Divide two rates summed over all minutes of each hour of the day in the dashboard's time range."""
    top, bottom = (
        f"sum by (hour, path, reference) (sum_over_time((sum by (path, reference) ({rate}) {_HOUR})[$__range:1m]))"
        for rate in (numerator, denominator)
    )
    labels = '"pair", "$1 before $2", "both", "(.*)\\t(.*)"'
    joined = f'label_join({top} / {bottom}, "both", "\\t", "path", "reference")'
    two_digits = f'label_replace({joined}, "hour", "0$1", "hour", "([0-9])")'
    return f"sum by (hour, pair) (label_replace({two_digits}, {labels}))"


def race() -> Board:
    """Build the dashboard."""
    return (
        Board(
            "latency-race",
            "Path race",
            "The same event on two paths, compared at one host: no clock has to be right for it.",
            ("deployment", "path"),
            "now-1h",
        )
        .row(
            "",
            (
                heat(
                    "Lead of $path over all others",
                    "How the lead is spread, over time: above zero the path was earlier. Good: one narrow band above "
                    "zero. Two bands are two routes; a band that widens is jitter. Choose one path, else those that "
                    "win and those that lose are mixed.",
                    "s",
                    f"sum by (le) (increase({_LEAD}[$__rate_interval]))",
                ),
                24,
                10,
            ),
        )
        .row(
            "",
            (
                lines(
                    "Lead: p1, median, p99",
                    "Above zero the path named first is earlier. Good: p1 above zero, that is earlier nearly always.",
                    "s",
                    [
                        Query(
                            f"histogram_quantile({fraction}, sum by (path, reference, le) "
                            f"(rate({_LEAD}[$__rate_interval])))",
                            f"{_PAIR} {name}",
                        )
                        for fraction, name in ((0.01, "p1"), (0.5, "p50"), (0.99, "p99"))
                    ],
                    dashed="p1$|p99$",
                ),
                12,
                10,
            ),
            (
                lines(
                    "Wins",
                    "Part of the events that a path brought earlier than another; ties left out. Good: your path "
                    "against all others near 100 %.",
                    "percentunit",
                    [
                        Query(
                            f"sum by (path, reference) (rate(latency_receiver_path_wins_total{{{PATH}}}"
                            "[$__rate_interval])) / (sum by (path, reference) "
                            f"(rate(latency_receiver_path_wins_total{{{PATH}}}[$__rate_interval])) "
                            "+ on (path, reference) sum by (path, reference) (label_replace(label_replace("
                            "label_replace(rate(latency_receiver_path_wins_total"
                            f"{{{DEPLOYMENT}}}[$__rate_interval]), "
                            '"was", "$1", "path", "(.+)"), "path", "$1", "reference", "(.+)"), '
                            '"reference", "$1", "was", "(.+)")) > 0)',
                            _PAIR,
                        )
                    ],
                    minimum=0,
                    maximum=1,
                ),
                12,
                10,
            ),
        )
        .row(
            "By hour of the day (UTC), over the whole time range",
            (
                bars(
                    "Mean lead by hour",
                    "The mean lead of each pair in each hour of the day. Choose a week to see the rhythm of the "
                    "internet. Good: the same at all hours.",
                    "s",
                    Query(
                        _by_hour(
                            f"rate(latency_receiver_path_lead_seconds_sum{{{PATH}}}[1m])",
                            f"rate(latency_receiver_path_lead_seconds_count{{{PATH}}}[1m])",
                        )
                    ),
                    category="hour",
                    series="pair",
                ),
                12,
                9,
            ),
            (
                bars(
                    "Earlier by hour",
                    "Part of the events in each hour of the day that the later-configured path brought earlier. "
                    "Good: near 100 % at all hours.",
                    "percentunit",
                    Query(
                        _by_hour(
                            f"rate(latency_receiver_path_wins_total{{{PATH}}}[1m])",
                            f"rate(latency_receiver_path_lead_seconds_count{{{PATH}}}[1m])",
                        )
                    ),
                    category="hour",
                    series="pair",
                ),
                12,
                9,
            ),
        )
        .row(
            "What was not compared",
            (
                lines(
                    "Unpaired events",
                    "Events that only this path brought: the others lost them, or were down. Good: 0.",
                    "short",
                    [
                        Query(
                            f"sum by (path) (rate(latency_receiver_unpaired_events_total{{{PATH}}}[$__rate_interval]))",
                            "{{path}} alone",
                        ),
                        Query(
                            "sum by (path, reference) (rate(latency_receiver_race_excluded_events_total"
                            f"{{{PATH}}}[$__rate_interval]))",
                            "{{path}} and {{reference}}, not live",
                        ),
                    ],
                    minimum=0,
                ),
                12,
                8,
            ),
            (
                rows(
                    "The last 5 minutes",
                    "Leads and wins of each pair of paths.",
                    {
                        name: Query(
                            "sum by (path, reference) (latency:lead_seconds:quantile5m"
                            f'{{{PATH},quantile="{fraction}"}})'
                        )
                        for name, fraction in (("p1", "0.01"), ("p50", "0.5"), ("p99", "0.99"))
                    }
                    | {
                        "wins": Query(
                            f"sum by (path, reference) (latency:wins:ratio5m{{{PATH}}}) and on (path, reference) "
                            "latency:lead_seconds:quantile5m"
                        ),
                        "pairs": Query(
                            "sum by (path, reference) "
                            f"(increase(latency_receiver_path_lead_seconds_count{{{PATH}}}[5m]))"
                        ),
                    },
                    labels={"path": "Path", "reference": "Before"},
                    values={
                        "p1": Column("p1", "s"),
                        "p50": Column("Median", "s"),
                        "p99": Column("p99", "s"),
                        "wins": Column("Earlier", "percentunit"),
                        "pairs": Column("Events", "short"),
                    },
                    sort="Median",
                ),
                12,
                8,
            ),
        )
    )
