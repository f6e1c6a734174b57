"""Lines to standard error, written by a thread: a reader that is slow, stuck or gone costs lines and nothing else.

Writing to a pipe that is full blocks, and to one that is closed fails; neither is a reason to stop measuring. The
descriptor is shared with whoever started us, so it is not made non-blocking.
"""

import os
import select
import threading
from collections.abc import Callable
from queue import SimpleQueue

__all__ = ["LogWriter"]

MAX_WAITING = 1 << 20
"""Bytes of lines that wait for their reader; those that come then are dropped."""
_AGAIN_MILLISECONDS = 1000


class LogWriter:
    """A text file to write lines to, as far as loggers need one.

    Args:
        descriptor: where to.
        write: writes bytes to it; returns how many.

    Attributes:
        dropped: lines that the reader did not take in time, or that could not be written.
        divert: takes lines in the place of the descriptor while something moves on the same terminal, which puts them
            above itself; None for nothing.
    """

    def __init__(self, descriptor: int = 2, write: Callable[[int, bytes], int] = os.write) -> None:
        self._descriptor = descriptor
        self._write = write
        self._lines: SimpleQueue[bytes | threading.Event] = SimpleQueue()
        # Each is written by one side only, so that neither waits for the other.
        self._put = 0
        self._done = 0
        self._full = 0
        self._failed = 0
        self._thread: threading.Thread | None = None
        self.divert: Callable[[str], object] | None = None

    @property
    def dropped(self) -> int:
        """Lines that were not written."""
        return self._full + self._failed

    def write(self, text: str) -> int:
        """Take a line; it is written soon."""
        if self.divert is not None:
            self.divert(text)
            return len(text)
        data = text.encode("utf-8", "backslashreplace")
        if self._put - self._done + len(data) > MAX_WAITING:
            self._full += 1
            return len(text)
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="log", daemon=True)
            self._thread.start()
        self._put += len(data)
        self._lines.put(data)
        return len(text)

    def flush(self) -> None:
        """Do nothing: lines are written as they come. See :meth:`drain`."""

    def drain(self, timeout_seconds: float = 1.0) -> bool:
        """Wait until all lines so far are written; False when the reader did not take them in time."""
        if self._thread is None:
            return True
        reached = threading.Event()
        self._lines.put(reached)
        return reached.wait(timeout_seconds)

    def _run(self) -> None:
        while True:
            item = self._lines.get()
            if isinstance(item, threading.Event):
                item.set()
                continue
            try:
                self._write_whole(item)
            except OSError:
                # The reader has gone, or the disk is full; it may come back, and the next line will tell.
                self._failed += 1
            self._done += len(item)

    def _write_whole(self, data: bytes) -> None:
        while data:
            try:
                data = data[self._write(self._descriptor, data) :]
            except BlockingIOError:
                # Somebody else has made it non-blocking. Not select(2), which knows no descriptor above 1023.
                room = select.poll()
                room.register(self._descriptor, select.POLLOUT)
                room.poll(_AGAIN_MILLISECONDS)
