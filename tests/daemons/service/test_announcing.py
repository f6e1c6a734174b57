"""What a program says on standard output, whatever that is: a pipe, a terminal, closed, or a reader that is gone."""

import json
import os
import pty
import subprocess
import sys

SAYS = "from daemons.service.announcing import announce; announce({'ready': True, 'metrics': '127.0.0.1:9471'})"


def said_to(stdout: int) -> int:
    """Let a process announce something on this descriptor; return its exit code."""
    done = subprocess.run([sys.executable, "-c", SAYS], stdout=stdout, stderr=subprocess.PIPE, check=False)
    assert done.stderr == b""
    return done.returncode


def test_a_line_of_json_to_whoever_started_it() -> None:
    read, write = os.pipe()
    assert said_to(write) == 0
    os.close(write)
    with os.fdopen(read) as file:
        assert [json.loads(line) for line in file] == [{"ready": True, "metrics": "127.0.0.1:9471"}]


def test_nothing_to_a_terminal_where_the_log_tells_it_to_a_person() -> None:
    ours, theirs = pty.openpty()
    assert said_to(theirs) == 0
    os.set_blocking(ours, False)
    try:
        seen = os.read(ours, 1000)
    except (BlockingIOError, OSError):
        seen = b""
    assert seen == b""
    os.close(theirs)
    os.close(ours)


def test_a_reader_that_is_gone_is_no_reason_to_end() -> None:
    read, write = os.pipe()
    os.close(read)
    assert said_to(write) == 0
    os.close(write)


def test_a_reader_that_takes_nothing_is_no_reason_to_wait_for_ever() -> None:
    read, write = os.pipe()
    os.set_blocking(write, False)
    while True:
        try:
            os.write(write, bytes(4096))
        except BlockingIOError:
            break
    os.set_blocking(write, True)
    assert said_to(write) == 0
    os.close(write)
    os.close(read)


def test_what_is_opened_in_place_of_a_closed_standard_output_is_left_alone() -> None:
    script = f"import os; assert os.open('/dev/full', os.O_WRONLY) == 1; {SAYS}"
    done = subprocess.run(
        ["/bin/sh", "-c", 'exec "$0" -c "$1" >&-', sys.executable, script], stderr=subprocess.PIPE, check=False
    )
    assert (done.returncode, done.stderr) == (0, b"")
