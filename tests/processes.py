"""Whole programs as child processes: started, read, stopped by pid, and never left behind."""

import contextlib
import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import IO, Any

__all__ = ["Program", "running", "until"]

DEADLINE_SECONDS = 300.0
"""Of no test's meaning: only what never comes is waited for so long, for a machine with much else to do is slow."""
LEAVE_SECONDS = 5.0
"""How long a program of a test that has failed may take over its end."""


class _Lines:
    """The lines of a pipe, gathered by a thread."""

    def __init__(self, pipe: IO[str]) -> None:
        self._pipe = pipe
        self._lines: list[str] = []
        self._ended = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._gather, daemon=True)
        self._thread.start()

    def snapshot(self) -> list[str]:
        with self._changed:
            return list(self._lines)

    def find(self, wanted: Callable[[str], bool], deadline_seconds: float) -> str | None:
        """Return the first line that is wanted, waiting for it; None when the pipe or the time ended before."""
        limit = time.monotonic() + deadline_seconds
        seen = 0
        with self._changed:
            while True:
                for line in self._lines[seen:]:
                    if wanted(line):
                        return line
                seen = len(self._lines)
                left = limit - time.monotonic()
                if self._ended or left <= 0:
                    return None
                self._changed.wait(left)

    def join(self) -> None:
        self._thread.join(DEADLINE_SECONDS)

    def _gather(self) -> None:
        for line in self._pipe:
            with self._changed:
                self._lines.append(line.rstrip("\n"))
                self._changed.notify_all()
        with self._changed:
            self._ended = True
            self._changed.notify_all()


class Program:
    """A running program; made by :func:`running`.

    Attributes:
        ready: the JSON line that it printed when it was ready; empty when none was waited for.
    """

    def __init__(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        assert process.stderr is not None
        self.ready: dict[str, Any] = {}
        self._process = process
        self._output = _Lines(process.stdout)
        self._errors = _Lines(process.stderr)
        self._killed = False

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def lines(self) -> list[str]:
        """Standard output so far."""
        return self._output.snapshot()

    @property
    def log(self) -> str:
        """Standard error so far."""
        return "\n".join(self._errors.snapshot())

    @property
    def exit_code(self) -> int | None:
        """The exit code, None while it runs; negative for the signal that ended it."""
        return self._process.poll()

    @property
    def killed(self) -> bool:
        """Whether :meth:`kill` ended it: its exit code means nothing then."""
        return self._killed

    def wait_for_json(self, key: str, deadline_seconds: float = DEADLINE_SECONDS) -> dict[str, Any]:
        """Return the first line of standard output that is a JSON object with this key."""
        line = self._output.find(lambda text: key in _object(text), deadline_seconds)
        assert line is not None, f"no JSON line with {key!r} in {deadline_seconds} s:\n{self._report()}"
        return _object(line)

    def wait_for_log(self, text: str, deadline_seconds: float = DEADLINE_SECONDS) -> str:
        """Return the first line of standard error that contains this text."""
        line = self._errors.find(lambda line: text in line, deadline_seconds)
        assert line is not None, f"no {text!r} in the log in {deadline_seconds} s:\n{self._report()}"
        return line

    def send_signal(self, number: signal.Signals) -> None:
        """Send a signal to this process alone."""
        self._process.send_signal(number)

    def wait(self, deadline_seconds: float = DEADLINE_SECONDS) -> int:
        """Wait until it ends by itself; return its exit code."""
        try:
            code = self._process.wait(deadline_seconds)
        except subprocess.TimeoutExpired as error:
            raise AssertionError(f"still running after {deadline_seconds} s:\n{self._report()}") from error
        self._output.join()
        self._errors.join()
        return code

    def terminate(self, deadline_seconds: float = DEADLINE_SECONDS) -> int:
        """Send SIGTERM and wait; return the exit code, and leave the output complete."""
        self._process.terminate()
        return self.wait(deadline_seconds)

    def kill(self) -> None:
        """Kill it, as ``kill -9`` does, and wait for its end."""
        self._killed = True
        self._process.kill()
        self.wait()

    def last_json(self) -> dict[str, Any]:
        """Return the last line of standard output as a JSON object; call after the end."""
        lines = self.lines
        assert lines, f"nothing was printed:\n{self._report()}"
        return _object(lines[-1])

    def _report(self) -> str:
        return f"exit code {self.exit_code}\nstdout:\n" + "\n".join(self.lines) + f"\nstderr:\n{self.log}"


@contextmanager
def running(
    module: str,
    *arguments: str,
    ready: str | None = "ready",
    exit_code: int | tuple[int, ...] = 0,
    deadline_seconds: float = DEADLINE_SECONDS,
    env: dict[str, str] | None = None,
) -> Iterator[Program]:
    """Run a program of ours for the length of a ``with`` block.

    Leaving the block ends the program with SIGTERM, unless it has ended already, and asserts its exit code.

    Args:
        module: the program's module, such as ``daemons.simulator.main``.
        arguments: its command line.
        ready: wait for a JSON line with this key on standard output before the block is entered; None to enter at
            once.
        exit_code: how it has to end, or may end, unless it is killed.
        deadline_seconds: for getting ready and for ending.
        env: its whole environment; this process's by default.
    """
    with subprocess.Popen(
        [sys.executable, "-m", module, *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=env,
    ) as process:
        program = Program(process)
        try:
            if ready is not None:
                program.ready = program.wait_for_json(ready, deadline_seconds)
            yield program
            if program.exit_code is None:
                program.terminate(deadline_seconds)
            ended = program.wait(deadline_seconds)
            # A traceback with local variables would show keys and requests.
            assert '"locals":' not in program.log, program.log
            if not program.killed:
                allowed = exit_code if isinstance(exit_code, tuple) else (exit_code,)
                assert ended in allowed, f"exit code {ended}, not {exit_code}:\n{program.log}"
        except BaseException as error:
            error.add_note(f"log of {module}, pid {program.pid}:\n{program.log}")
            raise
        finally:
            # Asked first: a program that has others of its own takes them along.
            with contextlib.suppress(AssertionError):
                if program.exit_code is None:
                    program.terminate(LEAVE_SECONDS)
            if program.exit_code is None:
                program.kill()


def until(
    condition: Callable[[], bool], what: str, deadline_seconds: float = DEADLINE_SECONDS, every_seconds: float = 0.01
) -> None:
    """Wait for a condition, asking again and again; fail with its description when the deadline has passed."""
    limit = time.monotonic() + deadline_seconds
    while not condition():
        assert time.monotonic() < limit, f"not within {deadline_seconds} s: {what}"
        time.sleep(every_seconds)


def _object(line: str) -> dict[str, Any]:
    try:
        value = json.loads(line)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}
