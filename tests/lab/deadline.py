"""Waiting for a condition instead of for a time."""

import time
from collections.abc import Callable
from typing import TypeVar

from tests.processes import DEADLINE_SECONDS

__all__ = ["wait_until"]

T = TypeVar("T")


def wait_until(what: str, condition: Callable[[], T], seconds: float = DEADLINE_SECONDS, every: float = 0.05) -> T:
    """Call a condition until it returns something true, and return that.

    Args:
        what: what is waited for, for the error.
        condition: asked again and again.
        seconds: the deadline.
        every: the pause between two questions.

    Raises:
        TimeoutError: the deadline passed; the message holds the last answer.
    """
    end = time.monotonic() + seconds
    while True:
        answer = condition()
        if answer:
            return answer
        if time.monotonic() > end:
            raise TimeoutError(f"{what}: not within {seconds:g} s; last answer {answer!r}")
        time.sleep(every)
