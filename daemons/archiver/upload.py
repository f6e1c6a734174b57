"""Finished files on their way to a store: one after the other, the oldest first, until each is confirmed."""

import random
from collections.abc import Callable
from pathlib import Path

import structlog

from daemons.archiver.confirmations import Confirmations
from daemons.archiver.session import lock
from daemons.archiver.store import UnprovenError
from daemons.archiver.stored import Stored, stored
from daemons.formats.archive.handover import ArchiverReport

__all__ = ["IDLE_SECONDS", "Uploader"]

IDLE_SECONDS = 10.0
LONGEST_SECONDS = 300.0
_LOCK = ".uploader"

Put = Callable[[Path, str], str]
"""Brings a file into a store under a name, and returns its proven check sum; see :mod:`daemons.archiver.store`."""


class Uploader:
    """Brings an archive's finished files into a store; of several archivers in one folder, one does. For one thread.

    Args:
        folder: of the archive.
        put: brings one.
        confirmed: keeps what the store has confirmed.
        report: is counted in.
        rng: for the back-off.
    """

    def __init__(
        self, folder: Path, put: Put, confirmed: Confirmations, report: ArchiverReport, rng: random.Random
    ) -> None:
        self._folder = folder
        self._put = put
        self._confirmed = confirmed
        self._report = report
        self._rng = rng
        self._lock: int | None = None
        self._failures = 0
        self._log = structlog.get_logger("archive")

    def work(self) -> float:
        """Upload what is not confirmed, up to the first failure; return after how many seconds to go on."""
        if self._lock is None:
            self._lock = lock(self._folder / _LOCK)
        waiting = [one for one in stored(self._folder) if not self._confirmed.has(one)]
        self._report.waiting_files = len(waiting)
        if self._lock is None:
            return IDLE_SECONDS
        for one in waiting:
            if not self._uploaded(one):
                # Full jitter: a store that was down is not asked by everybody at once.
                return self._rng.uniform(0, min(LONGEST_SECONDS, 2.0**self._failures))
            self._report.waiting_files -= 1
        return IDLE_SECONDS

    def _uploaded(self, one: Stored) -> bool:
        from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415 of an extra

        try:
            self._confirmed.add(one, self._put(one.file, one.name.relative))
        except FileNotFoundError:
            # Removed by somebody meanwhile: there is nothing to be brought.
            return True
        except (BotoCoreError, ClientError, UnprovenError, OSError) as error:
            self._fail(one, error)
            return False
        self._report.uploaded_files += 1
        self._report.uploaded_bytes += one.size
        if self._failures:
            self._failures = 0
            self._log.info("files are uploaded again", file=one.name.relative)
        return True

    def _fail(self, one: Stored, error: Exception) -> None:
        self._report.errors["upload"] += 1
        if not self._failures:
            self._log.error(
                "a file cannot be uploaded; it stays here",
                file=one.name.relative,
                error=str(error)[:300],
                remedy="see that the store can be reached and the host may write to it; it is tried again by itself",
            )
        self._failures = min(self._failures + 1, 10)
