"""Path race: by how much one path is earlier than another, when, and how often."""

from grafana.board import DEPLOYMENT, Board
from grafana.limits import limit
from grafana.pairs import ahead, compared, late, lead_buckets, lead_quantile, losses, unseen, wins
from grafana.panels import (
    A_SECOND,
    GREEN,
    NO_RACE,
    NO_RACE_SEEN,
    NO_RECEIVER,
    RED,
    RULES_LATE,
    Column,
    Panel,
    Query,
    bars,
    heat,
    lines,
    rows,
)
from grafana.spread import spread

__all__ = ["race"]

# The hour of the day as a label, for an evaluation at that hour.
_HOUR = '* on () group_left (hour) count_values("hour", hour(vector(time())))'
_EARLIER = f'and on (path, reference) (latency:lead_seconds:quantile5m{{{DEPLOYMENT},quantile="0.5"}} >= 0)'


def _by_hour(numerator: str, denominator: str) -> str:
    """Divide two rates summed over all minutes of each hour of the day in the dashboard's time range."""
    top, bottom = (
        f"sum by (hour, reference) (sum_over_time(({rate} {_HOUR})[$__range:1m]))" for rate in (numerator, denominator)
    )
    padded = f'label_replace({top} / {bottom}, "hour", "0$1", "hour", "([0-9])")'
    # Sorted, for the order of a plain vector, and so of the bars, changes from one time to the next.
    return f'sort_desc(label_replace({padded}, "hour", "$1:00", "hour", "(.*)"))'


def race() -> Board:
    """Build the dashboard."""
    return (
        Board(
            "latency-race",
            "Path race",
            "The same event on two paths, compared at one host: no clock has to be right for it. Choose a path, and "
            "the others that it is compared with.",
            ("deployment", "racer", "reference"),
            "now-1h",
        )
        .row("", (_leads(), 24, 13))
        .row("", (_quantiles(), 12, 9), (_earlier(), 12, 9))
        .row("By hour of the day (UTC)", (_mean_by_hour(), 12, 9), (_earlier_by_hour(), 12, 9))
        .row("All paths", (_pairs(), 12, 9), (_not_compared(), 12, 9))
    )


def _leads() -> Panel:
    return (
        heat(
            "Lead over $reference, of $racer",
            "How the lead is spread, over time: above zero the path was earlier. Good: one narrow band above "
            "zero. Two bands are two routes; a band that widens is jitter. One in a thousand at either end of "
            "the time range may be left out.",
            "s",
            spread(lead_buckets),
        )
        .repeat("reference")
        .repeat_direction("h")
        .max_per_row(2)
    )


def _quantiles() -> Panel:
    return lines(
        "p1, median, p99 of the lead of $racer",
        "Over each other path: the median is drawn solid, p1 dashed and p99 dotted in its colour. Above "
        "zero $racer is earlier. Good: p1 above zero, that is earlier nearly always.",
        "s",
        [
            Query(lead_quantile(fraction, "$__rate_interval"), "{{reference}}", dashed=fraction != 0.5)
            for fraction in (0.01, 0.5, 0.99)
        ],
        reaching=(0,),
        none=NO_RACE_SEEN,
    )


def _earlier() -> Panel:
    return lines(
        "Brought earlier by $racer",
        "Part of the events that it brought before each other path. Good: near 100 %. At 50 % both are "
        "equal; below, the detour does not pay.",
        "percentunit",
        [
            Query(
                f"{wins('$__rate_interval')} / ({wins('$__rate_interval')} + {losses('$__rate_interval')} > 0)",
                "{{reference}}",
            ),
        ],
        limit="win_ratio",
        minimum=0,
        maximum=1,
        none=NO_RACE_SEEN,
    )


def _mean_by_hour() -> Panel:
    return bars(
        "Mean lead by hour, of $racer",
        "The mean lead in each hour of the day, over the whole time range. Choose a week to see the rhythm of the "
        "internet. Good: the same at all hours.",
        "s",
        Query(_by_hour(ahead("1m"), compared("1m"))),
        category="hour",
        series="reference",
        none=NO_RACE_SEEN,
    )


def _earlier_by_hour() -> Panel:
    return bars(
        "Brought earlier by hour, by $racer",
        "Part of the events that it brought earlier in each hour of the day, over the whole time range. Good: near "
        "100 % at all hours.",
        "percentunit",
        Query(_by_hour(wins("1m"), compared("1m"))),
        category="hour",
        series="reference",
        none=NO_RACE_SEEN,
        maximum=1,
    )


def _pairs() -> Panel:
    return rows(
        "Who is earlier than whom, the last 5 minutes",
        "Every pair, the path with the positive median lead (p50) first. Good: your backbone before every feed, "
        "for nearly all events.",
        {
            name: Query(
                "max by (path, reference) (latency:lead_seconds:quantile5m"
                f'{{{DEPLOYMENT},quantile="{fraction}"}}) {_EARLIER}'
            )
            for name, fraction in (("p1", "0.01"), ("p50", "0.5"), ("p99", "0.99"))
        }
        | {
            "wins": Query(f"max by (path, reference) (latency:wins:ratio5m{{{DEPLOYMENT}}}) {_EARLIER}"),
            "pairs": Query(f"sum by (path, reference) (latency:race_events:increase5m{{{DEPLOYMENT}}}) {_EARLIER}"),
        },
        labels={"path": "Path", "reference": "Before"},
        values={
            "p1": Column("p1", "s"),
            "p50": Column("p50", "s"),
            "p99": Column("p99", "s"),
            "wins": Column("Of events", "percentunit", ((None, RED), (limit("win_ratio"), GREEN))),
            "pairs": Column("Compared", "short"),
        },
        sort="p50",
        none=NO_RACE,
        unless={RULES_LATE.text: late(), NO_RECEIVER.text: unseen()},
    )


def _not_compared() -> Panel:
    return lines(
        "What was not compared",
        "Events a second that a path alone brought (the others lost them, or were down), and those that "
        "came by both but not live: delayed in an outage, or around a step of the clock. Good: 0.",
        A_SECOND,
        [
            Query(
                f"sum by (path) (rate(latency_receiver_unpaired_events_total{{{DEPLOYMENT}}}[$__rate_interval]))",
                "{{path}}",
            ),
            Query(
                f"sum by (path) (rate(latency_receiver_race_excluded_events_total{{{DEPLOYMENT}}}[$__rate_interval]))",
                "{{path}} not live",
            ),
        ],
        minimum=0,
        reaching=(1,),
        narrow=True,
        none=NO_RACE_SEEN,
    )
