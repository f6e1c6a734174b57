"""Processes under measurement: started, pinned to a core, accounted for by the kernel, and ended by their pid."""

import json
import os
import platform
import selectors
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

__all__ = ["GONE", "READY_SECONDS", "Process", "about", "burning", "children_of", "free_port", "http_get", "threads_of"]

READY_SECONDS = 20.0
END_SECONDS = 30.0
GONE = (FileNotFoundError, ProcessLookupError)
"""What the kernel answers for a process or a thread that has ended since it was listed."""


class Process:
    """A child process; a context manager that ends it with SIGTERM.

    Args:
        command: program and arguments.
        core: the core it may use; None for any.
        env: variables to add to its environment.
        realtime: run it ahead of everything else on the machine (sched(7)), so that a shared machine disturbs it less.
    """

    def __init__(
        self, command: Sequence[str], *, core: int | None, env: Mapping[str, str] | None = None, realtime: bool = False
    ) -> None:
        self.command = list(command)

        def prepare() -> None:
            if core is not None:
                os.sched_setaffinity(0, {core % (os.cpu_count() or 1)})
            if realtime:
                os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))

        self._process = subprocess.Popen(
            self.command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, **(env or {})},
            preexec_fn=prepare,  # noqa: PLW1509 no threads run here
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        os.set_blocking(self._process.stdout.fileno(), False)
        os.set_blocking(self._process.stderr.fileno(), False)
        self._unread = b""
        self._log = b""
        self._read_log = b""

    @property
    def pid(self) -> int:
        return self._process.pid

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()

    def end(self) -> None:
        """End it, by force if it does not listen."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.communicate(timeout=END_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.communicate()

    def order(self, **words: Any) -> None:
        """Write a line of JSON to its standard input."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(words).encode() + b"\n")
        self._process.stdin.flush()

    def answer(self, timeout_seconds: float = READY_SECONDS) -> dict[str, Any]:
        """Return the next line of JSON on its standard output."""
        line = self._line(self._process.stdout, timeout_seconds)
        answer = json.loads(line)
        assert isinstance(answer, dict)
        return answer

    def wait_for_log(self, text: str, timeout_seconds: float = READY_SECONDS) -> str:
        """Return the next line of its log that contains a text."""
        deadline = time.monotonic() + timeout_seconds
        while True:
            line = self._line(self._process.stderr, deadline - time.monotonic())
            if text in line:
                return line

    def cpu_seconds(self) -> float:
        """CPU time used so far, user and system, of all threads that are or were.

        By the process's own clock (clock_getcpuclockid(3)); its number is Linux's, from the pid and CPUCLOCK_SCHED.
        """
        return time.clock_gettime_ns((~self.pid << 3) | 2) / 1e9

    def wake_ups(self) -> int:
        """How often the threads that it has now have gone to sleep of their own will so far (proc_pid_status(5))."""
        found = 0
        for thread in threads_of(self.pid):
            with suppress(*GONE):
                text = Path(f"/proc/{thread}/status").read_text()
                found += int(text.partition("\nvoluntary_ctxt_switches:")[2].split()[0])
        return found

    def resident_bytes(self) -> int:
        """Memory resident now."""
        return int(Path(f"/proc/{self.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def _line(self, pipe: Any, timeout_seconds: float) -> str:
        deadline = time.monotonic() + timeout_seconds
        of_log = pipe is self._process.stderr
        with selectors.DefaultSelector() as selector:
            selector.register(pipe, selectors.EVENT_READ)
            while True:
                waiting = self._log if of_log else self._unread
                line, end, rest = waiting.partition(b"\n")
                if end:
                    if of_log:
                        self._log = rest
                        self._read_log += line + end
                    else:
                        self._unread = rest
                    return line.decode()
                left = deadline - time.monotonic()
                if left <= 0 or self._process.poll() is not None:
                    raise TimeoutError(self._report())
                if selector.select(min(left, 0.2)) and (data := pipe.read()):
                    if of_log:
                        self._log += data
                    else:
                        self._unread += data

    def _report(self) -> str:
        assert self._process.stderr is not None
        log = self._read_log + self._log + (self._process.stderr.read() or b"")
        return f"{' '.join(self.command)}: exit code {self._process.poll()}, said nothing more\n{log.decode()}"


def threads_of(pid: int) -> set[int]:
    """Return the threads that a process has now; none when it is gone."""
    try:
        return {int(thread.name) for thread in Path(f"/proc/{pid}/task").iterdir()}
    except GONE:
        return set()


def children_of(pid: int) -> set[int]:
    """Return the processes that a process's threads have started, and that are there now (proc_pid_task(5))."""
    found: set[int] = set()
    for thread in threads_of(pid):
        with suppress(*GONE):
            found |= set(map(int, Path(f"/proc/{pid}/task/{thread}/children").read_text().split()))
    return found


@contextmanager
def burning(core: int) -> Iterator[None]:
    """Keep a core busy meanwhile."""
    with Process(["sh", "-c", "while :; do :; done"], core=core):
        yield


def free_port() -> int:
    """Return a port of the loopback address that nothing uses now, neither for TCP nor for UDP."""
    while True:
        with socket.socket() as stream, socket.socket(type=socket.SOCK_DGRAM) as datagram:
            stream.bind(("127.0.0.1", 0))
            port = int(stream.getsockname()[1])
            try:
                datagram.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


def http_get(port: int, path: str = "/metrics") -> str:
    """Fetch a page of a daemon on the loopback address."""
    with socket.create_connection(("127.0.0.1", port), timeout=5.0) as sock:
        sock.sendall(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n".encode())
        pieces = []
        while piece := sock.recv(262144):
            pieces.append(piece)
    return b"".join(pieces).decode()


def about() -> dict[str, Any]:
    """Describe the machine."""
    models = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    return {
        "cpu": models[0].partition(":")[2].strip() if models else platform.machine(),
        "cores": os.cpu_count(),
        "kernel": platform.release(),
        "python": sys.version,
        "load_average": os.getloadavg(),
    }
