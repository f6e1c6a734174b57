"""The archiver at work: takes rows in, tells how it is, and finishes files, each in a thread of its own."""

import contextlib
import mmap
import os
import platform
import random
import secrets
import socket
import threading
import time
from pathlib import Path
from typing import BinaryIO, NamedTuple, cast

import msgspec
import pyarrow as pa

from daemons.archiver.confirmations import Confirmations
from daemons.archiver.intake import JournalIntake
from daemons.archiver.keeper import Keeper
from daemons.archiver.retention import FileAge, Retention
from daemons.archiver.session import JournalFolder
from daemons.archiver.upload import IDLE_SECONDS, Uploader
from daemons.formats.archive.handover import HEAD, ArchiverReport, FrameKind, Setup
from daemons.formats.summary import ClockSummary
from daemons.service.distribution import DISTRIBUTION, installed_version
from daemons.service.log import logs

__all__ = ["step_aside", "work"]

TELL_SECONDS = 1.0
TEND_SECONDS = 30.0
NICENESS = 5


def step_aside() -> None:
    """Leave the processor to the receiver: it has no time, and the archiver has.

    A receiver at a real-time priority would hand that on, and 12,000 rows in one go would keep it waiting (sched(7)).
    """
    # Where that may not be asked for, it is only less polite.
    with contextlib.suppress(OSError):
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
    with contextlib.suppress(OSError):
        os.nice(NICENESS)


def work(link: socket.socket, page: int) -> None:
    """Take in rows until there are no more, and finish all files.

    Args:
        link: to the receiver.
        page: descriptor of the memory in which it counts.
    """
    step_aside()
    pa.set_cpu_count(1)
    reader = cast("BinaryIO", link.makefile("rb", buffering=1 << 20))
    frame = _frame(reader)
    if frame is None:
        return
    setup = msgspec.json.decode(frame.body, type=Setup)
    logs.configure(setup.log_format, setup.log_level)
    observed = memoryview(mmap.mmap(page, 8 * len(setup.paths))).cast("Q")
    try:
        session = JournalFolder.begin(Path(setup.folder), secrets.token_hex(6))
    except OSError as error:
        why = f"{setup.folder}: the archive cannot be written: {error.strerror}; choose a folder that is writable"
        _tell(link, ArchiverReport(error=why))
        return
    _Work(setup, session, link).run(reader, observed)


class _Frame(NamedTuple):
    kind: int
    path: int
    first: int
    body: bytes


def _frame(reader: BinaryIO) -> _Frame | None:
    """Read the next frame; None where the receiver is gone, be it in the middle of one."""
    try:
        head = reader.read(HEAD.size)
        if len(head) < HEAD.size:
            return None
        kind, path, first, length = HEAD.unpack(head)
        body = reader.read(length)
    except ConnectionResetError:
        # It was killed before it had read a report of ours. What it had handed over was read before this is told.
        return None
    return None if len(body) < length else _Frame(kind, path, first, body)


def _tell(link: socket.socket, report: ArchiverReport) -> None:
    # A receiver that is gone hears nothing; what it left is finished all the same.
    with contextlib.suppress(OSError):
        link.sendall(msgspec.json.encode(report) + b"\n")


def _made_uploader(setup: Setup, report: ArchiverReport) -> tuple[Uploader | None, Confirmations | None]:
    if setup.upload is None:
        return None, None
    from daemons.archiver.store import Store  # noqa: PLC0415 needs boto3

    folder = Path(setup.folder)
    confirmed = Confirmations(folder, setup.upload.target)
    rng = random.Random(secrets.randbits(64))
    return Uploader(folder, Store(setup.upload).put, confirmed, report, rng), confirmed


class _Work:
    """All of it: this thread takes rows in, a second one tells and closes what is over, a third one finishes files."""

    def __init__(self, setup: Setup, session: JournalFolder, link: socket.socket) -> None:
        self._session = session
        self._link = link
        self._report = ArchiverReport(session=session.name)
        self._age = FileAge(time.time_ns, time.monotonic_ns)
        self._uploader, confirmed = _made_uploader(setup, self._report)
        retention = Retention(setup, self._report, self._age.now_ns, confirmed)
        self._keeper = Keeper(setup, session, self._report, retention)
        versions = {DISTRIBUTION: installed_version(), "python": platform.python_version(), "pyarrow": pa.__version__}
        self._intake = JournalIntake(setup, session, versions, self._report, self._keeper.closed, time.monotonic)
        self._busy = threading.Lock()
        self._ended = threading.Event()

    def run(self, reader: BinaryIO, observed: memoryview) -> None:
        """Work until there are no more rows, and until all files are finished that can be.

        Args:
            reader: of frames.
            observed: rows of each path, as the receiver counts them.
        """
        _tell(self._link, self._report)
        threads = [threading.Thread(target=work, daemon=True) for work in (self._watch, self._keep)]
        for thread in threads:
            thread.start()
        if self._uploader is not None:
            # Nobody waits for it at the end: what is not confirmed by then the next start brings.
            threading.Thread(target=self._upload, args=(self._uploader,), daemon=True).start()
        goodbye = self._take_all(reader)
        with self._busy:
            lost = self._intake.end(None if goodbye else [*observed])
        self._ended.set()
        for thread in threads:
            thread.join()
        if any(lost.values()):
            self._session.keep(lost)
        elif not self._session.journals():
            self._session.remove()
        _tell(self._link, self._report)

    def _take_all(self, reader: BinaryIO) -> bool:
        """Take frames until the last; return whether it was one."""
        while (frame := _frame(reader)) is not None:
            with self._busy:
                if frame.kind == FrameKind.ROWS:
                    self._intake.take(frame.path, frame.first, frame.body)
                elif frame.kind == FrameKind.CLOCK:
                    clock = msgspec.json.decode(frame.body, type=ClockSummary)
                    self._age.synchronized = bool(clock.synchronized)
                    self._intake.hear(clock)
                else:
                    return True
        return False

    def _watch(self) -> None:
        while not self._ended.wait(TELL_SECONDS):
            with self._busy:
                self._intake.tend(time.time_ns())
            _tell(self._link, self._report)

    def _upload(self, uploader: Uploader) -> None:
        seconds = 0.0
        while not self._ended.wait(seconds):
            try:
                seconds = uploader.work()
            except Exception as error:  # noqa: BLE001 as for files
                logs.unexpected(error, "archive upload")
                seconds = IDLE_SECONDS

    def _keep(self) -> None:
        tend_at, made = time.monotonic(), 0
        while not self._ended.is_set() or not self._keeper.idle:
            last = self._ended.is_set()
            try:
                self._keeper.work()
                if not last:
                    self._keeper.recover()
                files = sum(self._report.files.values())
                if time.monotonic() >= tend_at or files != made:
                    made = files
                    self._keeper.tend()
                    tend_at = time.monotonic() + TEND_SECONDS
            except Exception as error:  # noqa: BLE001 the next round may do better; without one, nothing is finished
                logs.unexpected(error, "archive")
            if last:
                return
            self._ended.wait(TELL_SECONDS)
