"""Where large temporary files go: to a disk, where the machine has one for them, and not into its memory."""

import os
import tempfile
from pathlib import Path

from daemons.errors import ResultsError

__all__ = ["scratch_folder"]

_NAMED_BY = ("TMPDIR", "TEMP", "TMP")
_LARGE = Path("/var/tmp")  # noqa: S108 every user's: files in it have no name, or lie in a folder of their own


def scratch_folder() -> Path:
    """Return the folder for temporary files of any size.

    It is the one that the user names by ``TMPDIR`` (``TEMP``, ``TMP``); else ``/var/tmp``, which is meant for large
    ones, where ``/tmp`` may lie in memory (file-hierarchy(7)); where that cannot be written, Python's own choice.

    Raises:
        ResultsError: what the user names cannot be written.
    """
    for name in _NAMED_BY:
        if named := os.environ.get(name):
            if not _is_writable(Path(named)):
                raise ResultsError(
                    f"{named}, which {name} names for temporary files: is no folder that can be written; "
                    f"create it, or set {name} to another"
                )
            return Path(named)
    return _LARGE if _is_writable(_LARGE) else Path(tempfile.gettempdir())


def _is_writable(folder: Path) -> bool:
    return folder.is_dir() and os.access(folder, os.W_OK | os.X_OK)
