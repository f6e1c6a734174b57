"""Be woken at once, on a machine that has other things to do."""

import contextlib
import os

__all__ = ["go_first"]


def go_first() -> None:
    """Run this process ahead of all else (sched(7)), where that is allowed: it mostly waits, and is a way's delay.

    A process that waits for its turn adds some 0.2 ms to every packet that it passes on, which no measurement can tell
    from the delay that was put in.
    """
    with contextlib.suppress(PermissionError):
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))
