"""The bounds of an archive's folder: files that are too old, or too much together, go, the oldest first."""

from collections.abc import Callable
from pathlib import Path

import structlog

from daemons.archiver.confirmations import Confirmations
from daemons.archiver.segment import sync_folder
from daemons.archiver.session import lock
from daemons.archiver.stored import Stored, stored
from daemons.formats.archive.handover import ArchiverReport, Setup

__all__ = ["FileAge", "Retention"]

_LOCK = ".keeper"


class FileAge:
    """Tells the time by which files are old: not by a clock that was set forward by mistake, which would remove all.

    Args:
        wall_ns, monotonic_ns: the clocks.

    Attributes:
        synchronized: whether the wall clock is; while it is not, it is believed as far as it moves by itself.
    """

    def __init__(self, wall_ns: Callable[[], int], monotonic_ns: Callable[[], int]) -> None:
        self._wall_ns, self._monotonic_ns = wall_ns, monotonic_ns
        self._ahead_ns = wall_ns() - monotonic_ns()
        self.synchronized = False

    def now_ns(self) -> int:
        """Give the time."""
        wall_ns = self._wall_ns()
        return wall_ns if self.synchronized else min(wall_ns, self._monotonic_ns() + self._ahead_ns)


class Retention:
    """Keeps an archive's folder within its bounds; of several archivers in one folder, one does.

    Args:
        setup: has the bounds.
        report: is counted in.
        wall_ns: tells the time by which files are old.
        confirmed: where files are uploaded, which of them the store has: no other is removed.
    """

    def __init__(
        self, setup: Setup, report: ArchiverReport, wall_ns: Callable[[], int], confirmed: Confirmations | None
    ) -> None:
        self._setup = setup
        self._folder = Path(setup.folder)
        self._report = report
        self._wall_ns = wall_ns
        self._confirmed = confirmed
        self._lock: int | None = None
        self._log = structlog.get_logger("archive")
        report.removed = dict.fromkeys(("age", "size"), 0)

    def apply(self) -> None:
        """Remove what is beyond the bounds, and count what is there.

        Raises:
            OSError: a file cannot be removed.
        """
        files = stored(self._folder)
        if self._lock is None:
            self._lock = lock(self._folder / _LOCK)
        if self._lock is not None:
            files = self._within(files)
        self._report.stock_files = len(files)
        self._report.stock_bytes = sum(one.size for one in files)
        self._report.oldest_ns = files[0].name.start_ns if files else None

    def _within(self, files: list[Stored]) -> list[Stored]:
        oldest_ns, most = self._setup.retention_ns, self._setup.retention_bytes
        total = sum(one.size for one in files)
        kept = []
        for one in files:
            old = oldest_ns is not None and one.name.end_ns < self._wall_ns() - oldest_ns
            much = most is not None and total > most
            if not (old or much) or not (self._confirmed is None or self._confirmed.has(one)):
                kept.append(one)
                continue
            self._remove(one)
            total -= one.size
            self._report.removed["age" if old else "size"] += 1
        return kept

    def _remove(self, one: Stored) -> None:
        one.file.unlink(missing_ok=True)
        sync_folder(one.file.parent)
        if self._confirmed is not None:
            self._confirmed.drop(one)
        for folder in (one.file.parent, one.file.parent.parent):
            try:
                folder.rmdir()
            except OSError:
                return
