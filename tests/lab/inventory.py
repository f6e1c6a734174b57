"""What a lab has put on the machine, written down before or as it is made, so that it can always be taken away.

One file in each lab's directory. Clean-up at the end of a test, after a failure and after the death of the whole
test run are the same code, working from that file alone.
"""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import threading
from pathlib import Path
from typing import Literal

from tests.lab.deadline import wait_until
from tests.lab.paths import RUNS

__all__ = ["Inventory", "abandoned", "started"]

Kind = Literal["process", "mount", "namespace", "cgroup"]

FILE = "inventory.json"


class Inventory:
    """The list of one lab's resources; machines that boot together write it from several threads.

    Args:
        directory: the lab's directory; the list is read from it when it exists.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._file = directory / FILE
        self._lock = threading.Lock()
        self._entries: list[tuple[Kind, str]] = []
        # Another run may take an abandoned lab away at this moment.
        with contextlib.suppress(FileNotFoundError):
            self._entries = [(kind, name) for kind, name in json.loads(self._file.read_text())]

    def add(self, kind: Kind, name: str) -> None:
        """Write a resource down; a process is added by :meth:`add_process`."""
        with self._lock:
            self._entries.append((kind, name))
            self._save()

    def add_process(self, pid: int) -> None:
        """Write a process down, with its start time, so that a reused pid is never killed in its place."""
        self.add("process", f"{pid}:{started(pid)}")

    def remove(self, kind: Kind, name: str) -> None:
        """Forget a resource that is gone."""
        with self._lock:
            self._entries = [entry for entry in self._entries if entry != (kind, name)]
            self._save()

    def clean(self) -> None:
        """Take everything away, last made first, and then the directory. Safe to repeat."""
        processes = [name for kind, name in self._entries if kind == "process" and _alive(name)]
        for name in processes:
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(name.split(":")[0]), signal.SIGKILL)
        wait_until("the lab's processes ended", lambda: not any(map(_alive, processes)))
        for kind, name in reversed(self._entries):
            if kind == "mount":
                subprocess.run(["umount", "--recursive", "--lazy", name], check=False, capture_output=True)
            elif kind == "namespace":
                subprocess.run(["ip", "netns", "delete", name], check=False, capture_output=True)
            elif kind == "cgroup":
                _remove_cgroup(Path(name))
        left = [name for kind, name in self._entries if kind == "mount" and os.path.ismount(name)]
        if left:
            raise OSError(f"{', '.join(left)}: still mounted; nothing below {self.directory} was removed")
        if os.path.ismount(self.directory):
            subprocess.run(["umount", "--lazy", str(self.directory)], check=True)
        shutil.rmtree(self.directory, ignore_errors=True)

    def _save(self) -> None:
        partial = self._file.with_suffix(".partial")
        partial.write_text(json.dumps(self._entries))
        partial.replace(self._file)


def abandoned() -> list[Inventory]:
    """Return the inventories of labs whose owner, the process in the directory's name, no longer lives."""
    if not RUNS.exists():
        return []
    return [
        Inventory(directory)
        for directory in sorted(RUNS.iterdir())
        if not Path("/proc", directory.name.split("-")[0]).exists()
    ]


def started(pid: int) -> str:
    """Return a process's start time in clock ticks since boot (proc(5), field 22), empty when it has ended."""
    try:
        state, *fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return ""
    return "" if state == "Z" else fields[18]


def _alive(name: str) -> bool:
    pid, since = name.split(":")
    return bool(since) and started(int(pid)) == since


def _remove_cgroup(top: Path) -> None:
    if not top.exists():
        return
    for place, _folders, _files in os.walk(top, topdown=False):
        with contextlib.suppress(OSError):
            wait_until(f"{place} removed", lambda path=Path(place): _rmdir(path), seconds=2)  # type: ignore[misc]


def _rmdir(path: Path) -> bool:
    """Remove one cgroup directory; busy while the kernel still reaps its processes."""
    with contextlib.suppress(OSError):
        path.rmdir()
    return not path.exists()
