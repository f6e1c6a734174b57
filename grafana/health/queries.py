"""PromQL that several panels of health have in common."""

from grafana.between import most
from grafana.panels import Query

__all__ = ["counted", "p99", "reasons"]


def counted(metric: str, matchers: str, by: str, legend: str, *, any_at_all: bool = False) -> Query:
    """Count in five minutes; where there is a line of zeros beside it, only if there was any at all."""
    counted = most(f"sum by ({by}) (increase({metric}{{{matchers}}}[5m]))")
    return Query(f"{counted} > 0" if any_at_all else counted, legend)


def reasons(metric: str, matchers: str, by: str) -> Query:
    """Count by reason where anything was counted, else one line of zero."""
    counted = f"increase({metric}{{{matchers}}}[5m])"
    return Query(
        f"{most(f'sum by ({by}, reason) ({counted})')} > 0 or on ({by}) {most(f'sum by ({by}) ({counted})')}",
        " ".join(f"{{{{{label}}}}}" for label in f"{by}, reason".split(", ")),
    )


def p99(metric: str, matchers: str, by: str) -> str:
    """Give the 99th percentile of a histogram."""
    return f"histogram_quantile(0.99, sum by ({by}, le) (rate({metric}_bucket{{{matchers}}}[$__rate_interval])))"
