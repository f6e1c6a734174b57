"""What can be wrong with the files an experiment reads; part of the tree in ``daemons.errors``."""

from pathlib import Path

from daemons.errors import LatencyError

__all__ = ["InputError"]


class InputError(LatencyError):
    """A file that cannot be used: unreadable, cut off, in other units, or not what it is said to be.

    Args:
        path: the file, or where it lies in a bucket.
        line: the line at fault, from 1, or None where the fault is not in one line.
        why: the offending value and what is wrong with it.
        remedy: what to do about it.
    """

    exit_code = 2

    def __init__(self, path: Path | str, line: int | None, why: str, remedy: str) -> None:
        where = f"{path}:{line}" if line is not None else str(path)
        super().__init__(f"{where}: {why}; {remedy}")
        self.path = path
        self.line = line
        self.why = why
        self.remedy = remedy
