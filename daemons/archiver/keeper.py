"""What is done to an archive's folder in the background: journals are finished, of the dead too, and old files go."""

from pathlib import Path

import pyarrow as pa
import structlog

from daemons.archiver.journal import Contents, Journal, mapped, read
from daemons.archiver.retention import Retention
from daemons.archiver.segment import finish
from daemons.archiver.session import JournalFolder, abandoned
from daemons.formats.archive.handover import ArchiverReport, Setup
from daemons.formats.archive.layout import parse
from daemons.reasons import ArchiveReason

__all__ = ["Keeper"]


class Keeper:
    """Finishes files; for one thread, but for :meth:`closed`.

    Args:
        setup: what is to be done.
        session: of this archiver.
        report: is counted in.
        retention: removes what is too old, or too much.
    """

    def __init__(self, setup: Setup, session: JournalFolder, report: ArchiverReport, retention: Retention) -> None:
        self._setup = setup
        self._folder = Path(setup.folder)
        self._session = session
        self._report = report
        self._retention = retention
        self._waiting: list[Path] = []
        self._counted: set[str] = set()
        self._failing = False
        self._log = structlog.get_logger("archive")
        report.files = dict.fromkeys(("finished", "recovered"), 0)

    def closed(self, journal: Journal) -> None:
        """Take in a journal that is complete."""
        self._waiting.append(journal.file)

    @property
    def idle(self) -> bool:
        """Whether no complete journal waits."""
        return not self._waiting

    def work(self) -> None:
        """Finish what waits; what the disk does not take goes on waiting."""
        for file in [*self._waiting]:
            if self._finished(file, self._session, "finished"):
                self._waiting.remove(file)

    def recover(self) -> None:
        """Take over what others have left behind."""
        for session in abandoned(self._folder):
            try:
                self._recover(session)
            finally:
                session.unlock()

    def tend(self) -> None:
        """Keep to the bounds of the folder.

        Also before a full disk has room again: what is removed makes it.
        """
        try:
            self._retention.apply()
        except OSError as error:
            self._fail("retention", error.filename, error)

    def _recover(self, session: JournalFolder) -> None:
        """Finish what an archiver that is gone had begun."""
        contents = {}
        for file in session.journals():
            with mapped(file) as data:
                contents[file] = read(data)
        missing = self._count(session, contents)
        # Each is tried, whatever becomes of the others.
        done = [self._finished(file, session, "recovered", missing.get(file)) for file in contents]
        if not all(done):
            return
        session.remove()
        self._log.info("files of a receiver that was killed are finished", session=session.name, files=len(contents))

    def _count(self, session: JournalFolder, journals: dict[Path, Contents]) -> dict[Path, int]:
        """Count, once, what is missing of a session; return of its journals how much behind each is known to be."""
        if session.name == self._setup.previous:
            return self._behind(journals)
        if session.name not in self._counted:
            self._counted.add(session.name)
            for path, count in session.lost.items():
                self._lose(path, count)
            if not all(one.ended for one in journals.values()):
                self._report.unknown_ends += 1
                self._log.warning(
                    "receiver and archiver were killed together: nobody knows what arrived in the last moment",
                    session=session.name,
                )
        return {}

    def _behind(self, journals: dict[Path, Contents]) -> dict[Path, int]:
        """Count what was handed to this receiver's archiver before it died, and what it had not told of."""
        newest: dict[str, tuple[int, Path | None]] = {}
        told_of = dict(zip(self._setup.paths, self._setup.told, strict=True))
        counted = self._setup.previous in self._counted
        for file, one in journals.items():
            if one.head is not None:
                if not counted:
                    untold = [batch.number - told_of[one.head.path] for batch in one.batches]
                    rows = sum(max(0, min(batch.rows, new)) for batch, new in zip(one.batches, untold, strict=True))
                    self._report.rows[one.head.path] += rows
                before, _file = newest.get(one.head.path, (0, None))
                if one.number >= before:
                    newest[one.head.path] = (one.number, file)
        behind = dict.fromkeys(journals, 0)
        for path, observed in zip(self._setup.paths, self._setup.observed, strict=True):
            number, last = newest.get(path, (0, None))
            missing = observed - max(told_of[path], number)
            if last is not None:
                behind[last] = missing
            if not counted:
                self._lose(path, missing)
        self._counted.add(self._setup.previous or "")
        return behind

    def _lose(self, path: str, count: int) -> None:
        lost = self._report.lost.setdefault(path, {})
        lost[ArchiveReason.KILLED] = lost.get(ArchiveReason.KILLED, 0) + count

    def _finished(self, file: Path, session: JournalFolder, how: str, behind: int | None = None) -> bool:
        """Make a journal a file, and remove it; return whether it is done with.

        Args:
            file: the journal.
            session: its own.
            how: it came to its end.
            behind: rows that are known to be missing behind its last.
        """
        try:
            with mapped(file) as data:
                contents = read(data)
                name = None if contents.head is None else parse(contents.head.name)
                if name is not None and contents.batches:
                    contents.lost += behind or 0
                    known = contents.ended or behind is not None
                    size = finish(data, contents, name, self._folder, session.scratch, known=known)
                    self._report.files[how] += size > 0
            file.unlink()
        except OSError as error:
            self._fail("finish", error.filename or file, error)
            return False
        except pa.ArrowException as error:
            # Its check sums are right, so that it was written like this: nothing that trying again would mend.
            self._count_error("finish")
            aside = file.with_suffix(".unreadable")
            file.rename(aside)
            self._log.error(
                "a journal cannot be read", file=str(aside), error=str(error), remedy="report it, with the file"
            )
            return True
        self._failing = False
        return True

    def _fail(self, what: str, file: object, error: OSError) -> None:
        self._count_error(what)
        if not self._failing:
            self._failing = True
            self._log.error(
                "a file of the archive cannot be finished; its rows stay in a journal",
                file=str(file),
                error=error.strerror,
                remedy="make room on the disk; it is tried again by itself",
            )

    def _count_error(self, what: str) -> None:
        self._report.errors[what] += 1
