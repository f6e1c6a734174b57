"""What the receiver hands over, put into journals: one for each path and span, closed when its time is over."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import structlog

from daemons.archiver.journal import Head, Journal
from daemons.archiver.rows import Rows, batch_of_rows, decoded
from daemons.archiver.session import JournalFolder
from daemons.formats.archive.handover import ArchiverReport, Setup
from daemons.formats.archive.layout import SegmentName, escaped, start_of
from daemons.formats.summary import ClockSummary
from daemons.reasons import ArchiveReason

__all__ = ["GRACE_SECONDS", "JournalIntake", "worse"]

GRACE_SECONDS = 10.0
"""A journal that is not of the present, by the wall clock, is closed when it has got no row for so long."""


@dataclass(slots=True)
class _Open:
    journal: Journal
    clock: ClockSummary | None
    used_at: float


class _Path:
    """A path's journals.

    Attributes:
        number: of its last row, lost or not.
        unsaid: rows lost that no journal says yet.
    """

    def __init__(self, name: str, number: int) -> None:
        self.name = name
        self.escaped = escaped(name)
        self.number = number
        self.unsaid = 0
        self.open: dict[int, _Open] = {}
        self.files: dict[int, int] = {}


class JournalIntake:
    """Takes rows in.

    Args:
        setup: what is to be done.
        session: where journals are made.
        versions: of what writes, for the files.
        report: is counted in.
        closed: is given each journal that is complete.
        now: the monotonic clock, in seconds.
    """

    def __init__(
        self,
        setup: Setup,
        session: JournalFolder,
        versions: dict[str, str],
        report: ArchiverReport,
        closed: Callable[[Journal], None],
        now: Callable[[], float],
    ) -> None:
        self._setup = setup
        self._session = session
        self._versions = versions
        self._report = report
        self._closed = closed
        self._now = now
        self._clock: ClockSummary | None = None
        self._paths = [_Path(name, number) for name, number in zip(setup.paths, setup.observed, strict=True)]
        self._failing = False
        self._log = structlog.get_logger("archive")
        report.rows = dict.fromkeys(setup.paths, 0)
        report.numbers = dict(zip(setup.paths, setup.observed, strict=True))
        report.lost = {name: dict.fromkeys(ArchiveReason, 0) for name in setup.paths}

    def take(self, index: int, first: int, data: bytes | bytearray | memoryview) -> None:
        """Take in rows of a path; ``first`` is the number of the first, or of the next to come where there are none."""
        path = self._paths[index]
        self._miss(path, first - 1, ArchiveReason.WAITING)
        if not data:
            return
        rows, arrivals = decoded(data)
        length_ns = self._setup.length_ns
        start_ns = start_of(arrivals[0], length_ns)
        if start_ns <= min(arrivals) and max(arrivals) < start_ns + length_ns:
            self._put(path, start_ns, rows, arrivals)
            return
        # Around the end of a span, or a step of the clock: runs of rows that belong together.
        starts = [start_of(arrival, length_ns) for arrival in arrivals]
        ends = [at for at in range(1, len(rows)) if starts[at] != starts[at - 1]]
        for at, end in zip([0, *ends], [*ends, len(rows)], strict=True):
            self._put(path, starts[at], rows[at:end], arrivals[at:end])

    def hear(self, clock: ClockSummary) -> None:
        """Note how the host's clock is."""
        self._clock = clock
        for path in self._paths:
            for one in path.open.values():
                one.clock = worse(one.clock, clock)
                self._note(path, one)

    def tend(self, wall_ns: int) -> None:
        """Close the journals of spans that are over."""
        now = self._now()
        present_ns = start_of(wall_ns, self._setup.length_ns)
        for path in self._paths:
            for start_ns, one in [*path.open.items()]:
                if start_ns != present_ns and now - one.used_at >= GRACE_SECONDS:
                    self._close(path, start_ns)

    def end(self, observed: Sequence[int] | None = None) -> dict[str, int]:
        """Close all journals.

        Args:
            observed: rows of each path that a receiver which was killed had observed; None where it said goodbye.

        Returns:
            Of each path, rows that were observed and never handed over.
        """
        lost = {}
        for index, path in enumerate(self._paths):
            if observed is not None:
                lost[path.name] = self._miss(path, observed[index], ArchiveReason.KILLED)
            # The one in use first: what is lost is missing there.
            in_use_first = sorted(path.open.items(), key=lambda item: -item[1].used_at)
            for start_ns, _one in in_use_first:
                self._close(path, start_ns)
        return lost

    def _miss(self, path: _Path, number: int, reason: ArchiveReason) -> int:
        """Note that a path's rows up to a number are lost, where they have not come; return how many."""
        missing = number - path.number
        if missing <= 0:
            return 0
        path.number = self._report.numbers[path.name] = number
        path.unsaid += missing
        self._report.lost[path.name][reason] += missing
        return missing

    def _put(self, path: _Path, start_ns: int, rows: Rows, arrivals: Sequence[int]) -> None:
        first = path.number + 1
        try:
            one = path.open.get(start_ns) or self._begin(path, start_ns)
            if path.unsaid:
                self._note(path, one)
            one.journal.add(batch_of_rows(rows), first, min(arrivals), max(arrivals))
        except OSError as error:
            self._miss(path, path.number + len(rows), ArchiveReason.DISK)
            self._fail(error)
            return
        one.used_at = self._now()
        path.number += len(rows)
        self._report.numbers[path.name] = path.number
        self._report.rows[path.name] += len(rows)
        if self._failing:
            self._failing = False
            self._log.info("the archive is written again")

    def _fail(self, error: OSError) -> None:
        self._report.errors["journal"] += 1
        if not self._failing:
            self._failing = True
            self._log.error(
                "the archive cannot be written; measuring goes on",
                folder=self._setup.folder,
                error=error.strerror,
                remedy="make room on the disk; writing resumes by itself",
            )

    def _begin(self, path: _Path, start_ns: int) -> _Open:
        number = path.files.get(start_ns, 0) + 1
        name = SegmentName(path.escaped, start_ns, start_ns + self._setup.length_ns, self._session.name, number)
        file = self._session.folder / f"{self._paths.index(path)}-{start_ns}-{number}.journal"
        journal = Journal(file, Head(name.relative, path.name, self._setup.host, self._versions), name)
        # Never again in this life, also when the file is not in the folder any more: its name is taken in the bucket.
        path.files[start_ns] = number
        one = path.open[start_ns] = _Open(journal, self._clock, self._now())
        return one

    def _note(self, path: _Path, one: _Open, *, ended: bool = False) -> None:
        """Say beside a journal's rows what there is to be said; a full disk leaves it for the next time."""
        try:
            one.journal.note(path.number, lost=path.unsaid, clock=one.clock, ended=ended)
        except OSError as error:
            self._fail(error)
            return
        path.unsaid = 0

    def _close(self, path: _Path, start_ns: int) -> None:
        one = path.open.pop(start_ns)
        self._note(path, one, ended=True)
        one.journal.close()
        self._closed(one.journal)


def worse(one: ClockSummary | None, other: ClockSummary) -> ClockSummary:
    """Return what can be said of a clock at two moments: no more than at the worse one."""
    if one is None:
        return other
    bounds = (one.error_bound_ms, other.error_bound_ms)
    offsets = [offset for offset in (one.offset_ms, other.offset_ms) if offset is not None]
    return ClockSummary(
        synchronized=bool(one.synchronized and other.synchronized),
        offset_ms=max(offsets, key=abs, default=None),
        error_bound_ms=None if None in bounds else max(bound for bound in bounds if bound is not None),
        source=other.source,
        steps=max(one.steps, other.steps),
    )
