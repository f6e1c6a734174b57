"""An archiver as a process: what its receiver's end does to it."""

import contextlib
import os
import select
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from daemons.formats.archive.handover import HEAD, FrameKind, Setup
from daemons.formats.archive.layout import MINUTE_NS
from daemons.receiver.archive import PathRows
from tests.daemons.archiver.desk import DAY, found, row
from tests.processes import DEADLINE_SECONDS

pytestmark = pytest.mark.process


@contextlib.contextmanager
def archiver(folder: Path) -> Iterator[tuple["subprocess.Popen[bytes]", socket.socket, "memoryview[int]"]]:
    """Run one; give its process, the receiver's end of its socket, and the page in which a receiver counts."""
    ours, theirs = socket.socketpair()
    page = os.memfd_create("rows")
    os.ftruncate(page, 8)
    command = [sys.executable, "-m", "daemons.archiver.main", str(theirs.fileno()), str(page)]
    with ours, subprocess.Popen(command, pass_fds=(theirs.fileno(), page)) as process:
        theirs.close()
        setup = msgspec.json.encode(Setup(str(folder), 15 * MINUTE_NS, "here", ("direct",), (0,)))
        ours.sendall(HEAD.pack(FrameKind.SETUP, 0, 0, len(setup)) + setup)
        counts = memoryview(bytearray(8)).cast("Q")
        try:
            yield process, ours, counts
        finally:
            os.pwrite(page, counts.tobytes(), 0)
            ours.close()
            process.wait(DEADLINE_SECONDS)
            os.close(page)


@pytest.mark.parametrize("read", [False, True], ids=["reports unread", "reports read"])
def test_an_archiver_outlives_a_receiver_that_was_killed_whatever_that_had_not_read(tmp_path: Path, read: bool) -> None:
    """A socket whose peer is closed over bytes that nobody has read breaks, where else it ends (unix(7))."""
    with archiver(tmp_path) as (process, receiver, counts):
        rows = PathRows(counts, 0, lambda: None)
        for number in range(100):
            rows.add(row(DAY + number, number))
        receiver.sendall(b"".join(rows.frame()))
        # The last two are not handed over any more.
        for number in range(2):
            rows.add(row(DAY + 100 + number, 100 + number))
        assert select.select([receiver], [], [], DEADLINE_SECONDS)[0], "it reports"
        if read:
            receiver.recv(1 << 16)
    assert process.returncode == 0
    (file,) = found(tmp_path)
    assert (file.facts.rows, file.facts.rows_lost) == (100, 2)
