"""Numbers given as options: finite, and within bounds that stand where the option is declared."""

import math
from typing import Any

import click

__all__ = ["Number"]


class Number(click.FloatRange):
    """An option that is a number; click's own takes NaN for a number within any bounds."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Read it, and refuse what is no finite number within the bounds."""
        number = float(super().convert(value, param, ctx))
        if not math.isfinite(number):
            self.fail(f"{value!r} is no finite number", param, ctx)
        return number
