"""The finished files of an archive's folder."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from daemons.formats.archive.finished import finished
from daemons.formats.archive.layout import SegmentName

__all__ = ["Stored", "stored"]


@dataclass(frozen=True, slots=True)
class Stored:
    """A finished file."""

    name: SegmentName
    file: Path
    size: int


def stored(folder: Path) -> list[Stored]:
    """List an archive's finished files, the oldest first.

    Raises:
        OSError: a folder cannot be read.
    """
    return sorted(_found(folder), key=lambda one: (one.name.end_ns, one.name.relative))


def _found(folder: Path) -> Iterator[Stored]:
    for name, file in finished(folder):
        try:
            size = file.stat().st_size
        except FileNotFoundError:
            continue
        yield Stored(name, file, size)
