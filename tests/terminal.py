"""Commands on a terminal of a given width: what is written there, line by line."""

import contextlib
import fcntl
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.cells import cell_len

__all__ = ["Shown", "on_terminal", "program"]

_ESCAPE = re.compile(r"\x1b(?:\[[0-9;?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\-_])")
_ANOTHER_SCREEN = re.compile(r"(?=\x1b\[(?:H|\?1049[hl]))")
LINES = 50


@dataclass(frozen=True)
class Shown:
    """What a command wrote.

    Attributes:
        code: its exit code.
        text: all of it, without colours and movements of the cursor.
        width: of the terminal.
        raw: likewise with them.
    """

    code: int
    text: str
    width: int
    raw: str

    @property
    def lines(self) -> list[str]:
        """All lines, also those that were overwritten later, without what is blank at their ends."""
        return [part.rstrip() for line in self.text.split("\n") for part in line.split("\r")]

    @property
    def too_long(self) -> list[str]:
        """Lines of several words that do not fit, and would be broken by the terminal wherever its edge is."""
        return [line for line in self.lines if cell_len(line) > self.width and len(line.split()) > 1]


def program(module: str, *arguments: str) -> list[str]:
    """Give the command line of one of our programs."""
    return [sys.executable, "-m", module, *arguments]


def on_terminal(
    command: Sequence[str], width: int, *, cwd: Path | None = None, seconds: float = 300.0, interrupt_at: str = ""
) -> Shown:
    """Run a command on a pseudo-terminal until it ends.

    Args:
        command: program and arguments.
        width: columns.
        cwd: where it runs.
        seconds: after which it is killed and the test fails.
        interrupt_at: text after which Ctrl-C is pressed, once.
    """
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", LINES, width, 0, 0))
    environment = {key: value for key, value in os.environ.items() if key not in {"COLUMNS", "LINES", "NO_COLOR"}}
    environment["TERM"] = "xterm-256color"
    process = subprocess.Popen(
        command, stdin=theirs, stdout=theirs, stderr=theirs, cwd=cwd, env=environment, start_new_session=True
    )
    os.close(theirs)
    received = bytearray()
    limit = time.monotonic() + seconds
    try:
        with contextlib.suppress(OSError):  # EIO: the other end is closed
            while piece := os.read(ours, 65536):
                received += piece
                if interrupt_at and interrupt_at.encode() in received:
                    interrupt_at = ""
                    os.kill(process.pid, signal.SIGINT)
                assert time.monotonic() < limit, received.decode("utf-8", "replace")[-2000:]
        code = process.wait(max(1.0, limit - time.monotonic()))
    finally:
        os.close(ours)
        if process.poll() is None:
            process.kill()
            process.wait()
    raw = received.decode("utf-8", "replace").replace("\r\n", "\n")
    # A screen that is drawn anew, or left, begins with a new line, though none ended the one before.
    return Shown(code, _ESCAPE.sub("", _ANOTHER_SCREEN.sub("\n", raw)), width, raw)
