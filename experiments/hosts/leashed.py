"""Programs on a host that run for a while, and end when they are let go of."""

import asyncio
import contextlib
import os
import signal
import subprocess
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from experiments.hosts.shell import SSH_FAILED, HostError, Shell

__all__ = ["Leashed", "leash", "leashed"]

_STOP_SECONDS = 60.0


class Leashed:
    """A program on a host that runs until it ends by itself, or until it is let go of.

    Attributes:
        lines: what it has written, both streams together, oldest first.
    """

    def __init__(self, shell: Shell, process: asyncio.subprocess.Process) -> None:
        self.lines: list[str] = []
        self._shell = shell
        self._process = process
        self._changed = asyncio.Event()
        self._reading = asyncio.get_running_loop().create_task(self._read())

    async def ended(self, timeout_seconds: float | None = None) -> int:
        """Wait until it ends; returns its exit code.

        Raises:
            HostError: the connection was lost, or the time is over.
        """
        try:
            async with asyncio.timeout(timeout_seconds):
                code = await self._process.wait()
                await asyncio.shield(self._reading)
        except TimeoutError as error:
            why = f"a program did not end within {timeout_seconds:g} s: {' | '.join(self.lines[-3:])}"
            raise HostError(self._shell.name, why, "see what it does there") from error
        if code == SSH_FAILED:
            why = f"the connection was lost: {' | '.join(self.lines[-3:]) or 'no word'}"
            raise HostError(self._shell.name, why, "see what is left there", unreachable=True)
        return code

    async def said(self, text: str, timeout_seconds: float) -> bool:
        """Wait until a line contains this text; False when it ended, or the time did, before."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_seconds):
                while not any(text in line for line in self.lines):
                    if self._reading.done():
                        return False
                    self._changed.clear()
                    await self._changed.wait()
                return True
        return False

    async def let_go(self) -> int:
        """Tell it to end, by closing its standard input, and wait; returns its exit code."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            async with asyncio.timeout(_STOP_SECONDS):
                return await self.ended()
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._process.pid, signal.SIGKILL)
            return await self._process.wait()

    def _add(self, line: str) -> None:
        self.lines.append(line)
        self._changed.set()

    async def _read(self) -> None:
        assert self._process.stdout is not None
        while line := await self._process.stdout.readline():
            self._add(line.decode("utf-8", "replace").rstrip())
        self._changed.set()


@asynccontextmanager
async def leashed(shell: Shell, command: Sequence[str]) -> AsyncIterator[Leashed]:
    """Run a program for the length of a block; it is let go of at the end, if it has not ended by itself."""
    process = await asyncio.create_subprocess_exec(
        *shell.line(command),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        limit=1 << 20,
        start_new_session=True,
    )
    program = Leashed(shell, process)
    try:
        yield program
    finally:
        if process.returncode is None:
            with contextlib.suppress(HostError):
                await program.let_go()


def leash(programs: str) -> list[str]:
    """Give the words that put a command on a leash, with the Python that lies beside the programs."""
    return [f"{programs}/python", "-m", "experiments.hosts.leash"]
