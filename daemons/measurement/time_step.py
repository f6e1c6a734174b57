"""In what step a source tells times: observed in the times themselves, for nobody can be asked.

A time cut to a step is early by up to that step, and what is measured from it is too long by as much.
"""

from typing import Final

__all__ = ["STEPS_NS", "finer_step_ns"]

STEPS_NS: Final = (1_000_000_000, 1_000_000, 1_000, 1)
"""The steps that clocks tell times in: seconds, ms, µs, ns; what no time has contradicted yet is taken for true."""


def finer_step_ns(step_ns: int, time_ns: int) -> int:
    """Return the step as it shows once this time was seen too: the same, or a finer one."""
    return next(step for step in STEPS_NS if step <= step_ns and not time_ns % step)
