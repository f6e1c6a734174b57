"""Which files a store has confirmed to have: a marker for each, below ``.uploaded``, so that a restart still knows."""

import contextlib
import os
from pathlib import Path

import msgspec

from daemons.archiver.segment import sync_folder
from daemons.archiver.stored import Stored

__all__ = ["Confirmations"]

MARKERS = ".uploaded"


class _Marker(msgspec.Struct, frozen=True):
    target: str
    size: int
    checksum: str


class Confirmations:
    """The markers of an archive.

    Args:
        folder: of the archive.
        target: where files are copied to; markers of another target say nothing.
    """

    def __init__(self, folder: Path, target: str) -> None:
        self._folder = folder / MARKERS
        self._target = target
        self._known: set[tuple[str, int]] = set()
        """Read once: they do not change, and there may be many thousands."""

    def has(self, one: Stored) -> bool:
        """Say whether a file is confirmed, as it is."""
        if (one.name.relative, one.size) in self._known:
            return True
        try:
            marker = msgspec.json.decode(self._file(one).read_bytes(), type=_Marker)
        except (OSError, msgspec.MsgspecError):
            return False
        if (marker.target, marker.size) != (self._target, one.size):
            return False
        self._known.add((one.name.relative, one.size))
        return True

    def add(self, one: Stored, checksum: str) -> None:
        """Note that a file is confirmed.

        Raises:
            OSError: the disk failed.
        """
        file = self._file(one)
        file.parent.mkdir(parents=True, exist_ok=True)
        begun = file.with_suffix(".begun")
        with begun.open("wb") as handle:
            handle.write(msgspec.json.encode(_Marker(self._target, one.size, checksum)))
            handle.flush()
            os.fsync(handle.fileno())
        begun.replace(file)
        sync_folder(file.parent)

    def drop(self, one: Stored) -> None:
        """Forget a file that was removed."""
        self._known.discard((one.name.relative, one.size))
        file = self._file(one)
        file.unlink(missing_ok=True)
        # Folders that others still need are not empty.
        with contextlib.suppress(OSError):
            file.parent.rmdir()
            file.parent.parent.rmdir()

    def _file(self, one: Stored) -> Path:
        return self._folder / f"{one.name.relative}.json"
