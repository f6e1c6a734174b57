"""Numbers of configurations and options: finite, and within bounds that stand where the key is declared.

A comparison with NaN is never true, so that a limit of NaN is no limit; infinity is a word for "off" that no key has.
Both can be written in TOML and on a command line.
"""

import math
from typing import Annotated, Any, TypeAlias

import click
from msgspec import Meta

__all__ = ["Count", "Dscp", "Milliseconds", "Number", "Seconds"]

Seconds: TypeAlias = Annotated[float, Meta(gt=0, le=1e9)]
"""A span of time in a file: above zero, and at most some thirty years."""
Milliseconds: TypeAlias = Annotated[float, Meta(gt=0, le=1e12)]
"""The same in another unit."""
Count: TypeAlias = Annotated[int, Meta(ge=1, le=1 << 53)]
"""So many of something that there must be at least one of: events, bytes."""
Dscp: TypeAlias = Annotated[int, Meta(ge=0, le=63)]
"""A class of packets: six bits (RFC 2474, section 3)."""


class Number(click.FloatRange):
    """An option that is a number; click's own takes NaN for a number within any bounds."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Read it, and refuse what is no finite number within the bounds."""
        number = float(super().convert(value, param, ctx))
        if not math.isfinite(number):
            self.fail(f"{value!r} is no finite number", param, ctx)
        return number
