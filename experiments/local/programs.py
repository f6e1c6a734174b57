"""Running our own programs as processes: start, wait until they say that they are ready, end them.

What they say to us is on standard output (:mod:`daemons.service.announcing`). Their logs are read only to tell a
person why one of them failed.
"""

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

START_SECONDS = STOP_SECONDS = 60.0
"""Of a program that takes a tenth of a second alone on its machine."""
KEPT_WORDS = 5


class ProgramError(LatencyError):
    """A daemon did not start, ended by itself, or did not end when told."""


class RunningProgram:
    """One program as a child process.

    Args:
        module: the program's module, such as ``daemons.receiver.main``.
        arguments: its command line.

    Attributes:
        ready: what it announced when it was ready; empty before.
        totals: what it announced at its end; empty before, and of programs that have none.
    """

    def __init__(self, module: str, *arguments: str) -> None:
        self.module = module
        self._arguments = arguments
        self._process: asyncio.subprocess.Process | None = None
        self._readers: list[asyncio.Task[None]] = []
        self._changed = asyncio.Event()
        self._end: asyncio.Task[int] | None = None
        self._over = False
        self.ready: dict[str, Any] = {}
        self.totals: dict[str, Any] = {}
        self._words: list[str] = []

    async def start(self) -> dict[str, Any]:
        """Start the process, and wait until it is ready.

        Returns:
            What it announced: ``ready`` and its addresses.

        Raises:
            ProgramError: it was not ready in time, or ended.
        """
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
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        start = asyncio.get_running_loop().create_task
        self._readers = [
            start(self._read(self._process.stdout, self._on_output)),
            start(self._read(self._process.stderr, self._on_log)),
        ]
        self._end = start(self._await_end(self._process))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(START_SECONDS):
                while not self.ready and not self._over:
                    self._changed.clear()
                    await self._changed.wait()
        if not self.ready:
            raise ProgramError(f"{self.module} {self._why_unready()}; its last words: {self.last_words()}")
        return self.ready

    def _why_unready(self) -> str:
        if self._over:
            return f"ended with code {self.exit_code} before it was ready"
        return f"was not ready within {START_SECONDS:g} s; is this machine busy with other work?"

    @property
    def exit_code(self) -> int | None:
        """What it ended with; None while it runs, negative for the signal that ended it."""
        return None if self._process is None else self._process.returncode

    def check_alive(self) -> None:
        """Look whether it still runs.

        Raises:
            ProgramError: it has ended by itself.
        """
        if self.exit_code is not None:
            raise ProgramError(f"{self.module} ended with code {self.exit_code}; its last words: {self.last_words()}")

    async def ended(self) -> int:
        """Wait until the process ends by itself and all it printed is read; return its exit code."""
        assert self._end is not None
        return await asyncio.shield(self._end)

    async def stop(self) -> None:
        """End the process with SIGTERM, by force if that does not help.

        Raises:
            ProgramError: it had to be killed, or ended with an error.
        """
        process = self._process
        if process is None:
            return
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

    def kill(self) -> None:
        """End the process at once; for clean-up after trouble."""
        if self._process is not None and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._process.pid, signal.SIGKILL)

    def last_words(self) -> str:
        """Return the end of what it printed."""
        return " | ".join(self._words) or "none"

    async def _await_end(self, process: asyncio.subprocess.Process) -> int:
        code = await process.wait()
        await asyncio.gather(*self._readers, return_exceptions=True)
        self._over = True
        self._changed.set()
        return code

    async def _read(self, stream: asyncio.StreamReader, take: Callable[[str], None]) -> None:
        while line := await stream.readline():
            take(line.decode("utf-8", "replace").strip())

    def _on_output(self, text: str) -> None:
        said = _object(text)
        match said.pop("ready", None):
            case True:
                self.ready = {"ready": True, **said}
                self._changed.set()
            case False:
                self.totals = said

    def _on_log(self, text: str) -> None:
        event = _object(text)
        word = str(event.get("error") or event.get("exception") or "") if event else text
        if word:
            self._words.append(word)
            del self._words[:-KEPT_WORDS]


def _object(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}
