"""How figures are named and written, the same in the terminal and in reports."""

from daemons.service.console.screen import MISSING
from experiments.statistics.bootstrap import Interval

__all__ = ["TITLES", "figure_title", "format_interval", "format_value"]

TITLES = {
    "mean": "mean",
    "median": "median",
    "p95": "p95",
    "p99": "p99",
    "p999": "p99.9",
    "min": "min",
    "max": "max",
    "stddev": "standard deviation",
    "jitter": "jitter (RFC 3550)",
    "loss": "loss",
}


def figure_title(name: str) -> str:
    """Give the title of a figure in a table of milliseconds.

    >>> figure_title("p999"), figure_title("loss")
    ('p99.9', 'loss, %')
    """
    return f"{TITLES[name]}, %" if name == "loss" else TITLES[name]


def format_value(value: float | None, unit: str, *, signed: bool = False) -> str:
    """Write a value in ms, or a share in percent, in no more digits than mean something; a dash stands for no value.

    >>> format_value(-21.4321, "ms", signed=True), format_value(0.003, "share"), format_value(None, "ms")
    ('-21.43', '0.300', '–')
    """
    if value is None:
        return MISSING
    number = value * (100 if unit == "share" else 1)
    decimals = 2 if abs(number) >= 10 else 3
    return f"{number:{'+' if signed else ''}.{decimals}f}"


def format_interval(interval: Interval | None, unit: str) -> str:
    """Write an interval; a dash stands for none."""
    if interval is None:
        return MISSING
    return f"{format_value(interval.low, unit)} to {format_value(interval.high, unit)}"
