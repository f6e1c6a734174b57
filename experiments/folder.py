"""The folder that a run's results go to."""

import os
import time
from pathlib import Path

from daemons.errors import ConfigError, ResultsError

__all__ = ["new_folder", "write_whole"]


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


def write_whole(file: Path, content: bytes) -> None:
    """Write a file whole or not at all, on the disk when this returns.

    Raises:
        ResultsError: it cannot be written.
    """
    part = file.with_name(f".{file.name}.part")
    try:
        with part.open("wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        part.replace(file)
    except OSError as error:
        raise ResultsError(f"{file}: cannot be written: {error.strerror}; free space or check permissions") from error
