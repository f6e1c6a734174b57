"""How a program ends that cannot begin."""

import contextlib
import os
import sys
import threading
from typing import NoReturn

from daemons.errors import LatencyError

__all__ = ["die"]

_TELLING_SECONDS = 5.0


def die(error: LatencyError) -> NoReturn:
    """End a program before its loop ran: the message on standard error, the error's exit code."""
    # A pipe that is full, and that nobody reads, would keep the program for ever from telling by its exit code.
    telling = threading.Thread(target=_tell, args=(error,), daemon=True)
    telling.start()
    telling.join(_TELLING_SECONDS)
    if telling.is_alive():
        # Python's own way out waits for the lock of standard error, which the thread holds.
        os._exit(error.exit_code)
    sys.exit(error.exit_code)


def _tell(error: LatencyError) -> None:
    from daemons.service.console.screen import error_line  # noqa: PLC0415 - a daemon that runs has no use for it

    # Without a standard error there is nobody to tell, but the exit code is still right.
    with contextlib.suppress(OSError, AttributeError):
        error_line(error)
