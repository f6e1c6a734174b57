"""Running our own daemons as processes: start, wait until they serve, read their logs, end them."""

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import Callable
from typing import Any

from daemons.errors import LatencyError

__all__ = ["ProgramError", "RunningProgram"]

START_SECONDS = 20.0
STOP_SECONDS = 15.0
KEPT_LINES = 200


class ProgramError(LatencyError):
    """A daemon did not start, ended by itself, or did not end when told."""


class RunningProgram:
    """One daemon as a child process, its log lines parsed.

    Args:
        module: the program's module, such as ``daemons.receiver.main``.
        arguments: its command line.

    Attributes:
        events: the log's objects so far, oldest first, bounded.
    """

    def __init__(self, module: str, *arguments: str) -> None:
        self.module = module
        self._arguments = arguments
        self._process: asyncio.subprocess.Process | None = None
        self._readers: list[asyncio.Task[None]] = []
        self._changed = asyncio.Event()
        self._end: asyncio.Task[int] | None = None
        self._over = False
        self.events: list[dict[str, Any]] = []
        self._other: list[str] = []

    async def start(self) -> None:
        """Start the process."""
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            self.module,
            *self._arguments,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            limit=1 << 20,
            # Ctrl-C on the terminal is for us alone: we end the daemons in order.
            start_new_session=True,
        )
        for stream in (self._process.stdout, self._process.stderr):
            assert stream is not None
            self._readers.append(asyncio.get_running_loop().create_task(self._read(stream)))
        self._end = asyncio.get_running_loop().create_task(self._await_end(self._process))

    async def event(self, found: Callable[[dict[str, Any]], bool], what: str) -> dict[str, Any]:
        """Wait for a log line.

        Raises:
            ProgramError: it did not come in time, or the process ended.
        """
        assert self._process is not None
        try:
            async with asyncio.timeout(START_SECONDS):
                while True:
                    self._changed.clear()
                    for event in self.events:
                        if found(event):
                            return event
                    if self._over:
                        break
                    await self._changed.wait()
        except TimeoutError:
            pass
        raise ProgramError(f"{self.module} did not say {what!r}; its last words: {self.last_words()}")

    @property
    def exit_code(self) -> int | None:
        """What it ended with; None while it runs, negative for the signal that ended it."""
        return None if self._process is None else self._process.returncode

    async def ended(self) -> int:
        """Wait until the process ends by itself and all it printed is read; return its exit code."""
        assert self._end is not None
        return await asyncio.shield(self._end)

    async def stop(self) -> dict[str, Any] | None:
        """End the process with SIGTERM, by force if that does not help; return its last JSON line, if any.

        Raises:
            ProgramError: it had to be killed, or ended with an error.
        """
        process = self._process
        if process is None:
            return None
        forced = False
        if process.returncode is None:
            # Not by Popen, which would look whether it has ended, and so take the exit code from asyncio.
            with contextlib.suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGTERM)
        try:
            await asyncio.wait_for(process.wait(), STOP_SECONDS)
        except TimeoutError:
            forced = True
            self.kill()
            await process.wait()
        await self.ended()
        self._process = None
        if forced:
            raise ProgramError(f"{self.module} did not end within {STOP_SECONDS:g} s and was killed")
        if process.returncode:
            raise ProgramError(f"{self.module} ended with code {process.returncode}: {self.last_words()}")
        return self.events[-1] if self.events else None

    def kill(self) -> None:
        """End the process at once; for clean-up after trouble."""
        if self._process is not None and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._process.pid, signal.SIGKILL)

    def last_words(self) -> str:
        """Return the end of what it printed."""
        errors = [str(event.get("error") or event.get("exception") or "") for event in self.events[-5:]]
        return " | ".join([*self._other[-5:], *filter(None, errors)]) or "none"

    async def _await_end(self, process: asyncio.subprocess.Process) -> int:
        code = await process.wait()
        await asyncio.gather(*self._readers, return_exceptions=True)
        self._over = True
        self._changed.set()
        return code

    async def _read(self, stream: asyncio.StreamReader) -> None:
        while line := await stream.readline():
            text = line.decode("utf-8", "replace").strip()
            try:
                event = json.loads(text)
            except ValueError:
                event = None
            if isinstance(event, dict):
                self.events.append(event)
                del self.events[:-KEPT_LINES]
            elif text:
                self._other.append(text)
                del self._other[:-KEPT_LINES]
            self._changed.set()
