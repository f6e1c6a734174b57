"""The folder that a run's results go to."""

import time
from pathlib import Path

from daemons.errors import ConfigError, ResultsError

__all__ = ["new_folder"]


def new_folder(wanted: Path | None, kind: str) -> Path:
    """Make the folder of a run; one that holds something already is refused, so that runs do not mix.

    Args:
        wanted: its name; by default made from the kind and the time.
        kind: of run.

    Raises:
        ConfigError: it holds something.
        ResultsError: it cannot be made.
    """
    folder = wanted or Path(time.strftime(f"{kind}-%Y%m%d-%H%M%S", time.gmtime()))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise ConfigError("--output", f"{folder} is not empty", "name a new folder: runs do not mix")
    except OSError as error:
        raise ResultsError(f"{folder}: {error.strerror}; choose a folder that is writable") from error
    return folder
