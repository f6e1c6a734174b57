"""A receiver whose wall clock is set a minute forward by SIGUSR1, for it alone.

A real settimeofday(2) would move this machine under all other programs. What the program sees of one is the same: its
readings of CLOCK_REALTIME and the kernel's stamps leap together, CLOCK_MONOTONIC does not.
"""

import signal
import time

from daemons.receiver.main import main
from daemons.stream import stamping
from daemons.timing.clock import SystemClock

STEP_SECONDS = 60
_kernel = stamping._first_seconds
_ahead = 0


def _stamp(data: bytes) -> tuple[int, int]:
    seconds, nanoseconds = _kernel(data)
    return seconds + _ahead, nanoseconds


def _wall_ns() -> int:
    return time.time_ns() + _ahead * 1_000_000_000


def _step(_number: int, _frame: object) -> None:
    global _ahead  # noqa: PLW0603 - there is one clock
    _ahead = STEP_SECONDS


if __name__ == "__main__":
    stamping._first_seconds = _stamp  # type: ignore[assignment]
    SystemClock.wall_ns = staticmethod(_wall_ns)
    signal.signal(signal.SIGUSR1, _step)
    main()
