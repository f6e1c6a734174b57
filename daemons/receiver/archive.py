"""The receiver's end of the archive: rows are encoded as they come and handed to a process that makes files of them.

Nothing here waits for that process: what it does not take in time is counted as lost. It is started again when it dies.
"""

import asyncio
import contextlib
import mmap
import os
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from copy import copy
from functools import partial
from pathlib import Path
from typing import TypeVar

import msgspec
import structlog

from daemons.configuration.receiver import ArchiveSection, upload_of
from daemons.errors import ResultsError
from daemons.formats.archive.handover import ARRAY_HEAD, HEAD, ArchiverReport, FrameKind, Setup
from daemons.formats.archive.layout import DAY_NS, MINUTE_NS
from daemons.formats.rows import Row
from daemons.formats.summary import ClockSummary
from daemons.service.settings.config import LogSection

__all__ = ["Archive", "PathRows", "archive_setup"]

_Label = TypeVar("_Label", bound=str)

FLUSH_SECONDS = 0.25
CLOCK_SECONDS = 10.0
OPEN_SECONDS = 30.0
"""An archiver begins within a second, but on a host that has no time for it; systemd gives the whole start 60 s."""
RESTART_SECONDS = 5.0
CLOSE_SECONDS = 6.0
"""Under what systemd gives to a stop; an archiver that takes longer goes on by itself, or is finished for next time."""
PORTION_BYTES = 64 << 10
"""So much of a path is handed over at once: events would wait while more is copied, and rows are written faster where
the processor's cache holds all that wait."""
MAX_UNSENT_BYTES = 4 << 20
"""In the socket's queue; what is more waits where it is counted."""
MAX_WAITING_BYTES = 32 << 20
"""Of rows of a path that wait for the archiver at most, some 400,000; more are counted as lost."""

_ARRAY32 = 0xDD
_MOST, _LEAST = (1 << 64) - 1, -(1 << 63)


class PathRows:
    """A path's rows on their way to the archiver.

    Args:
        observed: counts them, in memory that the archiver sees.
        index: of the path.
        on_portion: called when there are enough to be handed over.
    """

    def __init__(self, observed: "memoryview[int]", index: int, on_portion: Callable[[], object]) -> None:
        self._observed = observed
        self._index = index
        self._on_portion = on_portion
        self._limit_bytes = PORTION_BYTES
        self._encode = msgspec.msgpack.Encoder().encode_into
        self._rows = 0
        self._first = 0
        self._data = bytearray(ARRAY_HEAD.size)

    @property
    def observed(self) -> int:
        """How many rows there have been, handed over or not."""
        return self._observed[self._index]

    @property
    def waiting(self) -> bool:
        """Whether there are rows to be handed over."""
        return self._rows > 0

    @property
    def sent(self) -> int:
        """The number of the last row that was handed over, or lost before those that wait."""
        return self._first - 1 if self._rows else self.observed

    def add(self, row: Row) -> None:
        """Take in a row."""
        # One for each event, so that its number is right whenever the process is killed.
        number = self._observed[self._index] + 1
        self._observed[self._index] = number
        data = self._data
        size = len(data)
        if size >= self._limit_bytes:
            if size >= MAX_WAITING_BYTES:
                return
            # Once: where they cannot be handed over now, they wait for the next turn.
            self._limit_bytes = MAX_WAITING_BYTES
            self._on_portion()
        if not self._rows:
            self._first = number
        try:
            self._encode(row, data, -1)
        except OverflowError:
            del data[size:]
            self._encode(_fitting(row), data, -1)
        self._rows += 1

    def frame(self) -> tuple[bytes, bytearray]:
        """Give what waits as a frame, in two parts, and begin anew."""
        rows, data, first = self._rows, self._data, self._first
        if not rows:
            return HEAD.pack(FrameKind.ROWS, self._index, self.observed + 1, 0), bytearray()
        ARRAY_HEAD.pack_into(data, 0, _ARRAY32, rows)
        self._rows, self._data, self._limit_bytes = 0, bytearray(ARRAY_HEAD.size), PORTION_BYTES
        return HEAD.pack(FrameKind.ROWS, self._index, first, len(data)), data


def _fitting(row: Row) -> Row:
    """Leave out numbers that 64 bits do not hold."""
    fields = {
        name: None
        for name in row.__struct_fields__
        if isinstance(value := getattr(row, name), int) and not _LEAST <= value <= _MOST
    }
    return msgspec.structs.replace(row, **fields)


def archive_setup(section: ArchiveSection, paths: tuple[str, ...], log: LogSection) -> Setup | None:
    """Turn the configuration into what an archiver has to know; None where no archive is asked for."""
    if section.folder is None:
        return None
    days, gigabytes = section.retention_days, section.retention_gigabytes
    return Setup(
        folder=str(Path(section.folder).absolute()),
        length_ns=section.segment_minutes * MINUTE_NS,
        host=socket.gethostname(),
        paths=paths,
        observed=(0,) * len(paths),
        retention_ns=None if days is None else int(days * DAY_NS),
        retention_bytes=None if gigabytes is None else int(gigabytes * 1e9),
        upload=upload_of(section),
        log_format=log.format,
        log_level=log.level,
    )


class _Link(asyncio.Protocol):
    """The socket to an archiver: takes its reports.

    Attributes:
        report: the newest; None before the first.
        told: set by the first.
        gone: set when the archiver has closed its end.
    """

    def __init__(self) -> None:
        self.report: ArchiverReport | None = None
        self.told = asyncio.Event()
        self.gone = asyncio.Event()
        self._begun = b""

    def data_received(self, data: bytes) -> None:
        *lines, self._begun = (self._begun + data).split(b"\n")
        if lines:
            self.report = msgspec.json.decode(lines[-1], type=ArchiverReport)
            self.told.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self.told.set()
        self.gone.set()


class Archive:
    """Hands rows to an archiver, from :meth:`open` until closed.

    Args:
        setup: what the archiver has to know; of its first life.
        clock: tells the state of this host's clock.

    Attributes:
        paths: take in the rows of each path.
        restarts: archivers that died.
    """

    def __init__(self, setup: Setup, clock: Callable[[], ClockSummary]) -> None:
        self._setup = setup
        self._clock = clock
        size = 8 * len(setup.paths)
        self._page = os.memfd_create("archive-rows", os.MFD_CLOEXEC)
        os.ftruncate(self._page, size)
        observed = memoryview(mmap.mmap(self._page, size)).cast("Q")
        later = partial(asyncio.get_running_loop().call_soon, self._hand_over)
        self.paths = [PathRows(observed, index, later) for index in range(len(setup.paths))]
        self._before: list[ArchiverReport] = []
        """Of archivers that died."""
        self._previous = ArchiverReport()
        self._link = _Link()
        self._transport: asyncio.Transport | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self.restarts = 0
        self._log = structlog.get_logger("archive").bind(folder=setup.folder)

    async def open(self) -> None:
        """Start the archiver; where the machine has no time for it, measuring does not wait for it either.

        Raises:
            ResultsError: it cannot work.
        """
        await self._start(self._setup)
        report = self._link.report
        if report is not None and report.error:
            raise ResultsError(report.error)
        if report is None and self._link.gone.is_set():
            raise ResultsError("the archiver did not start; its own lines above say why")
        if report is None:
            self._log.warning(
                "the archiver has not begun; measuring does, and rows wait",
                waited_seconds=OPEN_SECONDS,
                remedy="see what keeps this machine, or the folder's disk, from answering",
            )

    async def run(self) -> None:
        """Hand rows over now and then, and start the archiver again when it dies; until cancelled."""
        turns = 0
        while True:
            if turns % round(CLOCK_SECONDS / FLUSH_SECONDS) == 0:
                self._write(HEAD.pack(FrameKind.CLOCK, 0, 0, len(clock := msgspec.json.encode(self._clock()))), clock)
            turns += 1
            await asyncio.sleep(FLUSH_SECONDS)
            if self._link.gone.is_set():
                await self._restart()
            self._hand_over()

    async def close(self) -> None:
        """Hand over what waits, and let the archiver finish its files."""
        if self._transport is None:
            return
        for path in self.paths:
            if path.waiting:
                self._write(*path.frame())
            # Empty, so that the archiver knows of the last ones, were they lost.
            self._write(*path.frame())
        self._write(HEAD.pack(FrameKind.END, 0, 0, 0))
        try:
            async with asyncio.timeout(CLOSE_SECONDS):
                await self._link.gone.wait()
        except TimeoutError:
            self._log.warning("the archiver still finishes files; what it does not get done, the next start does")

    @property
    def report(self) -> ArchiverReport:
        """What all archivers of this life have done together, and how the folder stands."""
        reports = [*self._before, self._link.report or ArchiverReport()]
        total = copy(reports[-1])
        total.rows = _sum(report.rows for report in reports)
        total.errors = _sum(report.errors for report in reports)
        total.files = _sum(report.files for report in reports)
        total.removed = _sum(report.removed for report in reports)
        total.lost = {
            path: _sum(report.lost.get(path, {}) for report in reports) for report in reports for path in report.lost
        }
        total.unknown_ends = sum(report.unknown_ends for report in reports)
        total.uploaded_files = sum(report.uploaded_files for report in reports)
        total.uploaded_bytes = sum(report.uploaded_bytes for report in reports)
        return total

    def _hand_over(self) -> None:
        if self._transport is None or self._transport.is_closing():
            # What is handed to one that has gone is lost; until there is another, it waits.
            return
        for path in self.paths:
            if path.waiting and self._transport.get_write_buffer_size() < MAX_UNSENT_BYTES:
                self._write(*path.frame())

    def _write(self, head: bytes, body: bytes | bytearray = b"") -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.writelines((head, body) if body else (head,))

    async def _start(self, setup: Setup) -> None:
        loop = asyncio.get_running_loop()
        ours, theirs = socket.socketpair()
        with theirs:
            # In a thread: fork and exec take milliseconds, in which events would wait.
            self._process = await loop.run_in_executor(None, self._spawned, theirs.fileno())
        transport, self._link = await loop.create_connection(_Link, sock=ours)
        self._transport = transport
        body = msgspec.json.encode(setup)
        self._write(HEAD.pack(FrameKind.SETUP, 0, 0, len(body)), body)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(OPEN_SECONDS):
                await self._link.told.wait()

    def _spawned(self, descriptor: int) -> "subprocess.Popen[bytes]":
        return subprocess.Popen(  # noqa: S603 our own program
            [sys.executable, "-m", "daemons.archiver.main", str(descriptor), str(self._page)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            pass_fds=(descriptor, self._page),
            start_new_session=True,
        )

    async def _restart(self) -> None:
        """Start another archiver after one that died; rows wait meanwhile."""
        assert self._process is not None
        code = self._process.poll()
        self.restarts += 1
        last = self._link.report or ArchiverReport()
        self._log.error("the archiver ended; it is started again", exit_code=code, error=last.error or None)
        if last.session:
            self._before.append(last)
            self._previous = last
        await asyncio.sleep(RESTART_SECONDS)
        observed = tuple(path.sent for path in self.paths)
        told = tuple(self._previous.numbers.get(name, 0) for name in self._setup.paths)
        await self._start(
            msgspec.structs.replace(self._setup, observed=observed, told=told, previous=self._previous.session)
        )


def _sum(counts: Iterable[Mapping[_Label, int]]) -> dict[_Label, int]:
    total: Counter[_Label] = Counter()
    for one in counts:
        total.update(one)
    return dict(total)
