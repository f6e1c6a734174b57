"""A session's folder below ``.open``: the journals of one archiver, locked for as long as it lives."""

import fcntl
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import msgspec

__all__ = ["OPEN", "JournalFolder", "abandoned", "lock"]

OPEN = ".open"
_LOCK = "lock"
_LOST = "lost.json"


class JournalFolder:
    """A session's folder, locked.

    Args:
        folder: its own.
        descriptor: holds the lock.

    Attributes:
        folder: the same.
    """

    def __init__(self, folder: Path, descriptor: int) -> None:
        self.folder = folder
        self._descriptor = descriptor

    @classmethod
    def begin(cls, archive: Path, name: str) -> "JournalFolder":
        """Make the folder of a new session.

        Raises:
            OSError: it cannot be made.
        """
        folder = archive / OPEN / name
        folder.parent.mkdir(parents=True, exist_ok=True)
        folder.mkdir()
        descriptor = lock(folder / _LOCK)
        assert descriptor is not None
        return cls(folder, descriptor)

    @property
    def name(self) -> str:
        """What its files' names end in."""
        return self.folder.name

    @property
    def scratch(self) -> Path:
        """A name for a file while it is being finished."""
        return self.folder / "unfinished.parquet"

    def journals(self) -> list[Path]:
        """Name its journals."""
        return sorted(self.folder.glob("*.journal"))

    @property
    def lost(self) -> dict[str, int]:
        """Rows that its receiver had observed and not handed over when it was killed, by path."""
        try:
            return msgspec.json.decode((self.folder / _LOST).read_bytes(), type=dict[str, int])
        except (OSError, msgspec.MsgspecError):
            return {}

    def keep(self, lost: dict[str, int]) -> None:
        """Leave to the next start how many rows were lost.

        Raises:
            OSError: the disk failed.
        """
        (self.folder / _LOST).write_bytes(msgspec.json.encode(lost))

    def remove(self) -> None:
        """Remove the folder."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def unlock(self) -> None:
        """Let go of it."""
        os.close(self._descriptor)


def abandoned(archive: Path) -> Iterator[JournalFolder]:
    """Give the sessions whose archivers are gone; each is to be unlocked."""
    for folder in sorted((archive / OPEN).glob("*")):
        descriptor = lock(folder / _LOCK)
        if descriptor is not None:
            yield JournalFolder(folder, descriptor)


def lock(file: Path) -> int | None:
    """Take a lock that goes with its process, however that ends; None where another has it, or the folder is gone."""
    try:
        descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        return None
    return descriptor
