"""Looking at what other processes change meanwhile: what goes between two looks is not there, and no error."""

import fnmatch
import os
from pathlib import Path

__all__ = ["matching"]


def matching(folder: Path, pattern: str) -> list[Path]:
    """Return what matches a pattern below a folder in which others make and remove; sorted.

    ``Path.glob`` ends with an error where a folder goes between its being listed and its being read (Python 3.11).
    """
    places = [folder]
    for part in pattern.split("/"):
        places = [place / name for place in places for name in _names(place) if fnmatch.fnmatchcase(name, part)]
    return sorted(places)


def _names(place: Path) -> list[str]:
    try:
        return os.listdir(place)  # noqa: PTH208 at once, and not one by one
    except (FileNotFoundError, NotADirectoryError, ProcessLookupError):
        return []
