"""The CSV file of a run: every event on every path, written as it comes, complete rows only.

Rows are made on the event loop and written by a thread, so that a slow disk does not delay the measurement. A full or
broken disk costs rows, which are counted, and nothing else; when there is room again, writing goes on.
"""

import asyncio
import contextlib
import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import structlog

from daemons.errors import ResultsError
from daemons.formats.rows import HEADER, Row, encode_row

__all__ = ["RowWriter", "set_aside"]

FLUSH_SECONDS = 0.25
MAX_WAITING_ROWS = 200_000
"""Rows that wait for the disk at most; more are counted as lost."""


def set_aside(file: Path) -> Path | None:
    """Rename an existing result file, so that a new run overwrites nothing; return its new name."""
    if not file.exists():
        return None
    stamp = time.strftime("%Y%m%dT%H%M%S", time.gmtime(file.stat().st_mtime))
    for number in range(1000):
        suffix = f".{number}" if number else ""
        kept = file.with_name(f"{file.stem}.{stamp}{suffix}{file.suffix}")
        if not kept.exists():
            file.rename(kept)
            return kept
    raise ResultsError(f"{file}: a thousand earlier results of one second exist; clear the folder")


class RowWriter:
    """Writes rows to a file, from :meth:`open` until closed.

    Args:
        file: the CSV file.

    Attributes:
        written: rows in the file.
        lost: rows that the disk did not take.
        errors: failed writes.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        self._log = structlog.get_logger("results").bind(file=str(file))
        self._descriptor = -1
        self._flushing: asyncio.Task[None] | None = None
        self._waiting: list[str] = [HEADER]
        self._end = 0
        self._header_rows = 1
        self.written = 0
        self.lost = 0
        self.errors = 0
        self._failing = False
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="rows")

    def open(self) -> None:
        """Create the file; an existing one is renamed.

        Raises:
            ResultsError: it cannot be created.
        """
        try:
            if (kept := set_aside(self.file)) is not None:
                self._log.info("earlier results kept", kept=str(kept))
            self._descriptor = os.open(self.file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise ResultsError(
                f"{self.file}: cannot be created: {error.strerror}; choose a folder that is writable"
            ) from error

    def add(self, row: Row) -> None:
        """Take in a row."""
        if len(self._waiting) >= MAX_WAITING_ROWS:
            self.lost += 1
            return
        self._waiting.append(encode_row(row))

    async def run(self) -> None:
        """Hand rows to the disk now and then, until cancelled."""
        while True:
            await asyncio.sleep(FLUSH_SECONDS)
            await self.flush()

    async def flush(self) -> None:
        """Hand to the disk what waits; cancelled, the write that has begun is finished and counted all the same."""
        if self._flushing is None or self._flushing.done():
            self._flushing = asyncio.get_running_loop().create_task(self._hand_over())
        await asyncio.shield(self._flushing)

    async def _hand_over(self) -> None:
        rows, self._waiting = self._waiting, []
        if not rows:
            return
        error = await asyncio.get_running_loop().run_in_executor(self._thread, self._write, rows)
        if error is None:
            self.written += len(rows) - self._header_rows
            self._header_rows = 0
            if self._failing:
                self._failing = False
                self._log.info("results are written again", rows_lost=self.lost)
            return
        self.errors += 1
        if self._header_rows:
            # Without its head the file would be unreadable for ever: it goes first when there is room.
            self._waiting.insert(0, rows[0])
        self.lost += len(rows) - self._header_rows
        if not self._failing:
            self._failing = True
            self._log.error(
                "results cannot be written; measuring goes on",
                error=error.strerror,
                remedy="make room on the disk; writing resumes by itself",
            )

    async def close(self) -> None:
        """Write what waits and close the file."""
        if self._flushing is not None:
            await self._flushing
        await self.flush()
        self._thread.shutdown()
        os.close(self._descriptor)

    def _write(self, rows: list[str]) -> OSError | None:
        data = "".join(rows).encode()
        try:
            at = 0
            while at < len(data):
                at += os.pwrite(self._descriptor, data[at:], self._end + at)
        except OSError as error:
            # Half a row must not stay: the file ends where the last whole write did.
            with contextlib.suppress(OSError):
                os.ftruncate(self._descriptor, self._end)
            return error
        self._end += len(data)
        return None
