"""Counts of five minutes: of ten paths, as of one, a legend names those of which there is something to tell."""

from grafana.between import most
from grafana.panels import Panel, Query, lines

__all__ = ["counted", "counts", "nothing"]


def counted(metric: str, matchers: str, by: str, legend: str) -> Query:
    """Count in five minutes, where there was anything to count."""
    return Query(f"{most(f'sum by ({by}) (increase({metric}{{{matchers}}}[5m]))')} > 0", legend)


def nothing(*series: str) -> Query:
    """Draw one line of zeros where any of these counters is there: nothing was counted, and that is known."""
    return Query(f"0 * ({' or '.join(f'sum(rate({each}[$__rate_interval]))' for each in series)})", "none else")


def counts(title: str, description: str, queries: list[Query], watched: list[str]) -> Panel:
    """Make a panel of such counts; of ``watched`` one is always there, so that zeros are told from nobody counting."""
    every = [*queries, nothing(*watched)]
    return lines(title, description, "short", every, minimum=0, reaching=(1,), narrow=True)
