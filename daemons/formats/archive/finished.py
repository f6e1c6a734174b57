"""The finished files of an archive's folder, which others may remove, folders and all, while they are listed."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

from daemons.formats.archive.layout import SegmentName, parse

__all__ = ["finished"]


def finished(folder: Path, of_day: Callable[[str], bool] = lambda _day: True) -> Iterator[tuple[SegmentName, Path]]:
    """List the files of an archive that have a segment's name, in no order.

    What goes meanwhile is left out: retention, another program's too, removes files and the folders that they leave
    empty. ``Path.glob`` fails there before Python 3.13.

    Args:
        folder: the archive's; none has no files.
        of_day: tells by the name of a day's folder whether that is to be listed.

    Raises:
        OSError: a folder cannot be read.
    """
    for day in _folders(folder, "date="):
        if of_day(day.name):
            for path in _folders(Path(day), "path="):
                for file in _entries(Path(path)):
                    name = parse(f"{day.name}/{path.name}/{file.name}")
                    if name is not None:
                        yield name, Path(file)


def _folders(folder: Path, beginning: str) -> Iterator["os.DirEntry[str]"]:
    return (entry for entry in _entries(folder) if entry.name.startswith(beginning) and entry.is_dir())


def _entries(folder: Path) -> list["os.DirEntry[str]"]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except FileNotFoundError:
        return []
