"""Spans of time as people write them: ``30``, ``300s``, ``15m``, ``1h30m``; one spelling for every option."""

import math
import re
from decimal import Decimal
from typing import Any

import click

__all__ = ["SPAN", "Span", "parse_span", "write_span"]

_UNITS = {"ms": Decimal("0.001"), "s": Decimal(1), "m": Decimal(60), "h": Decimal(3600), "d": Decimal(86_400)}
_NUMBER = r"\d+(?:\.\d*)?|\.\d+"
_BARE = re.compile(_NUMBER, re.ASCII)
_PART = re.compile(rf"({_NUMBER})(ms|[smhd])", re.ASCII)
_PARTS = re.compile(rf"(?:(?:{_NUMBER})(?:ms|[smhd]))+", re.ASCII)


def parse_span(text: str) -> float:
    """Read a span of time: ``90`` (seconds), ``500ms``, ``90s``, ``15m``, ``1.5d`` or ``1h30m``; returns seconds.

    Raises:
        ValueError: it is not one.
    """
    stripped = text.strip()
    seconds = math.inf
    if _BARE.fullmatch(stripped):
        seconds = float(stripped)
    elif _PARTS.fullmatch(stripped):
        seconds = float(sum(Decimal(number) * _UNITS[unit] for number, unit in _PART.findall(stripped)))
    if math.isinf(seconds):
        raise ValueError(f"{text!r} is not a span of time; write 30 (seconds), 500ms, 90s, 15m, 1h30m or 1d")
    return seconds


def write_span(seconds: float) -> str:
    """Write a span for another command line, exactly: seconds without an exponent.

    >>> write_span(2_592_000.0), write_span(0.25)
    ('2592000s', '0.25s')
    """
    return f"{Decimal(repr(float(seconds))).normalize():f}s"


class Span(click.ParamType):  # type: ignore[type-arg]  # generic since click 8.4, and not before
    """An option that is a span of time; its value is seconds.

    Args:
        minimum: the shortest, in seconds; None for anything above zero.
    """

    name = "span"

    def __init__(self, minimum: float | None = None) -> None:
        self._minimum = minimum

    def get_metavar(self, param: click.Parameter, ctx: click.Context | None = None) -> str:
        """Name it in the help text."""
        return "SPAN"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Read it, be it a default, which may be a number, or what somebody wrote."""
        try:
            seconds = parse_span(value if isinstance(value, str) else write_span(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)
        if self._minimum is None and not seconds:
            self.fail(f"{value!r} is no time at all; write a span above zero", param, ctx)
        if self._minimum is not None and seconds < self._minimum:
            self.fail(f"{value!r} is too short; write {write_span(self._minimum)} or more", param, ctx)
        return seconds


SPAN = Span()
"""Any span above zero."""
