"""The receiver of one block or rehearsal, with what stands around it."""

import asyncio
import contextlib
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from daemons.errors import LatencyError
from experiments.live.progress import Progress, progress_of
from experiments.live.scrape import fetch
from experiments.local.programs import ProgramError, RunningProgram
from experiments.runs.endpoints import Surroundings

__all__ = ["ReceiverError", "ReceiverProcess", "pause"]

_POLL_SECONDS = 0.1


class ReceiverError(LatencyError):
    """The receiver ended with an error; ``exit_code`` is the receiver's own."""

    def __init__(self, code: int, words: str) -> None:
        super().__init__(f"latency-receiver ended with code {code}: {words}")
        self.exit_code = code if code in {2, 3, 4, 5} else 1


class ReceiverProcess:
    """One life of ``latency-receiver``, which has no timer: a block begins when every path is up, which only we see.

    Args:
        around: what stands around it.
        arguments: beside those for the paths.
        folder: gets ``results.json`` and ``results.csv``, wherever the receiver's own file would put them.

    Attributes:
        config: its effective configuration; None before it is ready.
        listening: addresses by path.
    """

    def __init__(self, around: Surroundings, arguments: Sequence[str], folder: Path) -> None:
        self._around = around
        self._arguments = [
            *("--output", str(folder / "results.json"), "--csv-output", str(folder / "results.csv")),
            *("--metrics", "127.0.0.1:0", *arguments),
        ]
        self._program: RunningProgram | None = None
        self._metrics = ""
        self.config: dict[str, Any] | None = None
        self.listening: dict[str, str] = {}

    @property
    def paths(self) -> list[dict[str, Any]]:
        """The configured paths."""
        return [] if self.config is None else self.config["path"]

    async def start(self) -> None:
        """Start everything; returns when the receiver serves.

        Raises:
            ReceiverError: it refused to start.
            ProgramError: it, or something around it, said nothing in time.
        """
        paths = await self._around.start()
        program = self._program = RunningProgram("daemons.receiver.main", *paths, *self._arguments)
        try:
            ready = await program.start()
        except ProgramError as error:
            if program.exit_code:
                raise ReceiverError(program.exit_code, program.last_words()) from error
            raise
        self.config, self._metrics, self.listening = ready["config"], ready["metrics"], ready["listening"]
        for address in self.listening.values():
            await self._around.connect(address)

    async def progress(self) -> Progress | None:
        """Give the figures so far; None while the page cannot be read, as at the very end."""
        try:
            page = await fetch(self._metrics)
        except LatencyError:
            return None
        return progress_of(page, [path["name"] for path in self.paths])

    async def first_events(
        self, told: asyncio.Event, wait_seconds: float, waiting: Callable[[list[str]], None] = lambda _missing: None
    ) -> list[str]:
        """Wait until every path has brought an event.

        Args:
            told: set when the user wants to end, which ends the wait.
            wait_seconds: after so long it is over.
            waiting: called now and then with the names of the paths that are waited for.

        Returns:
            The names of the paths that have brought none when the wait was over, or the receiver ended.
        """
        limit = time.monotonic() + wait_seconds
        missing = [path["name"] for path in self.paths]
        while True:
            if (progress := await self.progress()) is not None:
                missing = [path.name for path in progress.paths if not path.events]
            if not missing or self.ended or time.monotonic() > limit or await pause(told, _POLL_SECONDS):
                return missing
            waiting(missing)

    @property
    def ended(self) -> bool:
        """Whether it has ended, which it should not do by itself."""
        return self._program is None or self._program.exit_code is not None

    async def stop(self) -> int:
        """Tell it to end, and put away what stands around it; returns its exit code."""
        assert self._program is not None
        code = self._program.exit_code
        if code is None:
            await self._program.stop()
            code = 0
        else:
            await self._program.ended()
        await self._around.end()
        return code

    async def abort(self) -> None:
        """End everything at once, after trouble."""
        if self._program is not None:
            self._program.kill()
            with contextlib.suppress(ProgramError):
                await self._program.stop()
        await self._around.abort()

    def last_words(self) -> str:
        """Return the end of what it said."""
        return "nothing" if self._program is None else self._program.last_words()


async def pause(told: asyncio.Event, seconds: float) -> bool:
    """Sleep unless told to end; returns whether told."""
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(told.wait(), max(0.0, seconds))
    return told.is_set()
