"""A wake-up at an exact instant: Linux timerfd_create(2), read by the event loop.

Timers of asyncio on uvloop are rounded to whole milliseconds; a timer descriptor has nanoseconds and is one more
descriptor to poll. Python has it from 3.13 on; before that the C library is called.
"""

import asyncio
import ctypes
import errno
import os
import time
from collections.abc import Callable

__all__ = ["Alarm"]

_TFD_CLOEXEC = os.O_CLOEXEC
_TFD_NONBLOCK = os.O_NONBLOCK
_TFD_TIMER_ABSTIME = 1


class _Itimerspec(ctypes.Structure):
    """``struct itimerspec`` of timerfd_settime(2): interval, then first expiration."""

    _fields_ = (
        ("interval_seconds", ctypes.c_long),
        ("interval_ns", ctypes.c_long),
        ("value_seconds", ctypes.c_long),
        ("value_ns", ctypes.c_long),
    )


class Alarm:
    """Calls back at one instant of CLOCK_MONOTONIC, the clock of ``time.monotonic_ns``.

    Args:
        loop: the event loop to call back in.
        callback: called once for every setting, unless it is set anew before.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, callback: Callable[[], None]) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        self._settime = libc.timerfd_settime
        self._loop = loop
        self._callback = callback
        self._spec = _Itimerspec()
        self._reference = ctypes.byref(self._spec)
        self._descriptor: int = libc.timerfd_create(time.CLOCK_MONOTONIC, _TFD_CLOEXEC | _TFD_NONBLOCK)
        if self._descriptor < 0:
            _raise_errno()
        loop.add_reader(self._descriptor, self._expired)

    def set(self, instant_ns: int) -> None:
        """Ring at this instant, or at once if it has passed; replaces any earlier setting."""
        self._spec.value_seconds, self._spec.value_ns = divmod(instant_ns, 1_000_000_000)
        if self._settime(self._descriptor, _TFD_TIMER_ABSTIME, self._reference, None) != 0:
            _raise_errno()

    def close(self) -> None:
        """Never ring again; idempotent."""
        if self._descriptor >= 0:
            self._loop.remove_reader(self._descriptor)
            os.close(self._descriptor)
            self._descriptor = -1

    def _expired(self) -> None:
        try:
            os.read(self._descriptor, 8)
        except BlockingIOError:
            # Set anew between expiring and being read: the new instant will ring.
            return
        self._callback()


def _raise_errno() -> None:
    number = ctypes.get_errno()
    raise OSError(number, f"timerfd: {errno.errorcode.get(number, '')} {os.strerror(number)}")
