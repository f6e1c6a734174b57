"""Standard error that is slow, stuck, closed or broken."""

import contextlib
import fcntl
import os
import resource
import select
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from daemons.service.log.writer import MAX_WAITING, LogWriter

F_SETPIPE_SZ = 1031
LINE = "x" * 99 + "\n"


@contextmanager
def pipe() -> Iterator[tuple[int, int]]:
    """Make the smallest pipe there is."""
    read, write = os.pipe()
    fcntl.fcntl(write, F_SETPIPE_SZ, 4096)
    try:
        yield read, write
    finally:
        for descriptor in (read, write):
            with contextlib.suppress(OSError):
                os.close(descriptor)


def everything(descriptor: int, until: threading.Event) -> bytes:
    """Read until there is nothing left and no more to come."""
    os.set_blocking(descriptor, False)
    data = b""
    while True:
        last = until.is_set()
        try:
            while piece := os.read(descriptor, 65536):
                data += piece
        except BlockingIOError:
            if last:
                return data
            until.wait(0.01)


def test_a_reader_that_is_stuck_costs_lines_which_are_counted_and_those_before_are_whole() -> None:
    with pipe() as (read, write):
        writer = LogWriter(write)
        total = 3 * MAX_WAITING // len(LINE)
        for _number in range(total):
            assert writer.write(LINE) == len(LINE)
        # The pipe has taken some, the queue as many as it holds; this has returned all the same.
        assert total - (MAX_WAITING + 8192) // len(LINE) <= writer.dropped <= total - MAX_WAITING // len(LINE)
        assert not writer.drain(0.01)
        over = threading.Event()
        found: list[bytes] = []
        reader = threading.Thread(target=lambda: found.append(everything(read, over)))
        reader.start()
        assert writer.drain(20)
        over.set()
        reader.join()
        assert found[0] == LINE.encode() * (total - writer.dropped)
        # And it goes on.
        writer.write("after\n")
        assert writer.drain(20)
        assert os.read(read, 100) == b"after\n"


def test_a_reader_that_has_gone_costs_lines_which_are_counted() -> None:
    with pipe() as (read, write):
        writer = LogWriter(write)
        writer.write("before\n")
        assert writer.drain(20)
        os.close(read)
        for _number in range(100):
            writer.write(LINE)
        assert writer.drain(20)
        assert writer.dropped == 100


@pytest.mark.parametrize("least", [None, 1200], ids=["low", "high"])
def test_a_descriptor_that_somebody_made_non_blocking(least: int | None) -> None:
    with pipe() as (read, write), contextlib.ExitStack() as stack:
        os.set_blocking(write, False)
        if least is not None:
            # A daemon with many connections may have given it a number beyond what select(2) knows.
            soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
            stack.callback(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
            resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, least + 1), hard))
            write = fcntl.fcntl(write, fcntl.F_DUPFD_CLOEXEC, least)  # noqa: PLW2901
            stack.callback(os.close, write)
        full = threading.Event()

        def told(descriptor: int, data: bytes) -> int:
            try:
                return os.write(descriptor, data)
            except BlockingIOError:
                full.set()
                raise

        writer = LogWriter(write, told)
        for number in range(1000):
            writer.write(f"{number:09}\n")
        assert full.wait(300)
        data = b""
        while len(data) < 10_000:
            assert select.select((read,), (), (), 20)[0], "lines that were never written"
            data += os.read(read, 65536)
        assert data == b"".join(b"%09d\n" % number for number in range(1000))
        assert writer.dropped == 0


def test_writes_that_take_a_part() -> None:
    written: list[bytes] = []

    def some(_descriptor: int, data: bytes) -> int:
        written.append(data[:7])
        return len(written[-1])

    writer = LogWriter(2, some)
    writer.write("a line that is longer ü\n")
    assert writer.drain(20)
    assert b"".join(written).decode() == "a line that is longer ü\n"


SCRIPT = """
import structlog, sys
from daemons.service.log import logs
logs.configure("json", "info")
log = structlog.get_logger("x")
for number in range(5):
    log.info("line", number=number)
logs.writer.drain(10)
print(logs.writer.dropped)
"""


def test_closed_from_the_start_it_is_nobodys_socket() -> None:
    # By a shell: subprocess itself always gives its child a descriptor 2.
    done = subprocess.run(
        ["/bin/sh", "-c", 'exec "$@" 2>&-', "sh", sys.executable, "-c", SCRIPT],
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    )
    assert (done.stdout, done.stderr) == ("0\n", "")


def test_what_was_logged_is_written_before_the_end() -> None:
    script = SCRIPT.replace("logs.writer.drain(10)\nprint(logs.writer.dropped)", "sys.exit(3)")
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 3
    assert len(done.stderr.splitlines()) == 5
