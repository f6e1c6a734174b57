"""Columns of numbers: in memory while they are short, beyond it in temporary files without a name.

A long column is an array like any other, mapped from its file, so nobody need know which it is. Mapped pages count as
memory while they are in use: who goes through a column in :func:`pieces` lets go of each, and holds no more than one.
"""

import io
import mmap
import tempfile
import weakref
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from daemons.errors import ResultsError
from experiments.scratch import scratch_folder

__all__ = [
    "PIECE",
    "ColumnBuffer",
    "Flags",
    "Floats",
    "Integers",
    "Zones",
    "collected",
    "let_go",
    "pieces",
]

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

PIECE = 1 << 18
"""Rows of a piece: what is computed with it fits a processor's cache, and calls for it are few."""
_IN_MEMORY = 1 << 22
"""Bytes of a column in memory at most."""


class _Column:
    """A column that grows at its end."""

    def __init__(self, dtype: npt.DTypeLike) -> None:
        self._dtype = np.dtype(dtype)
        self._parts: list[npt.NDArray[Any]] = []
        self._bytes = 0
        self._file: io.FileIO | None = None

    def append(self, values: npt.NDArray[Any]) -> None:
        """Append values.

        Raises:
            ResultsError: the temporary folder has no room for them.
        """
        # Copied where it is kept: it may be a part of what its owner is done with.
        part = np.array(values, self._dtype) if self._file is None else np.ascontiguousarray(values, self._dtype)
        self._parts.append(part)
        self._bytes += part.nbytes
        if self._bytes > _IN_MEMORY or self._file is not None:
            self._write()

    def array(self) -> npt.NDArray[Any]:
        """Give what was appended; nothing may be appended any more."""
        if self._file is None:
            return np.concatenate(self._parts) if self._parts else np.zeros(0, self._dtype)
        with self._file as file:
            return np.frombuffer(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ), self._dtype)

    def _write(self) -> None:
        try:
            if self._file is None:
                # Unbuffered: what there is no room for is known here, and not when the file is closed.
                folder = scratch_folder()
                self._file = tempfile.TemporaryFile(prefix="experiment-", dir=folder, buffering=0)  # noqa: SIM115 - closed below
                weakref.finalize(self, self._file.close)
            for part in self._parts:
                rest = part.view(np.uint8).data
                while rest:
                    rest = rest[self._file.write(rest) :]
        except OSError as error:
            why = f"{scratch_folder()}: no room for long columns: {error.strerror}"
            raise ResultsError(f"{why}; make some, or set TMPDIR to another folder") from error
        self._parts, self._bytes = [], 0


class ColumnBuffer:
    """Columns that grow together.

    Args:
        dtypes: by name.
    """

    def __init__(self, dtypes: Mapping[str, Any]) -> None:
        self._columns = {name: _Column(dtype) for name, dtype in dtypes.items()}

    def append(self, rows: Mapping[str, npt.NDArray[Any]]) -> None:
        """Append equally long pieces of all columns; what else there is, is left out."""
        for name, column in self._columns.items():
            column.append(rows[name])

    def columns(self) -> dict[str, Any]:
        """Give each column; nothing may be appended any more."""
        return {name: column.array() for name, column in self._columns.items()}


def collected(dtype: npt.DTypeLike, parts: Iterable[npt.NDArray[Any]]) -> npt.NDArray[Any]:
    """Give a column of parts, as they come."""
    column = _Column(dtype)
    for part in parts:
        column.append(part)
    return column.array()


def pieces(*columns: npt.NDArray[Any], at: Iterable[slice] | None = None) -> Iterator[slice]:
    """Go through equally long columns: give the places of each piece, and let go of it before the next.

    Args:
        columns: all of them that are read there.
        at: the pieces, where they are others than all of :data:`PIECE` rows.
    """
    count = len(columns[0])
    for piece in at or (slice(start, min(start + PIECE, count)) for start in range(0, count, PIECE)):
        yield piece
        let_go(*columns)


def let_go(*columns: npt.NDArray[Any]) -> None:
    """Keep nothing of columns in files in this process's memory; they can be read as before."""
    for column in columns:
        if (mapping := _mapping(column)) is not None:
            # Of a file that is only read this drops nothing but what this process has mapped: madvise(2).
            mapping.madvise(mmap.MADV_DONTNEED)


def _mapping(column: npt.NDArray[Any]) -> mmap.mmap | None:
    """Give the mapping that a column is a part of."""
    base: Any = column
    while isinstance(base, np.ndarray):
        base = base.base
    found = base.obj if isinstance(base, memoryview) else base
    return found if isinstance(found, mmap.mmap) else None


class Zones:
    """Where in a column values of a span may lie: the least and the largest of each piece."""

    def __init__(self) -> None:
        self._zones: list[tuple[slice, int, int]] = []

    def add(self, piece: slice, values: Integers) -> None:
        """Take the values of a piece that count."""
        if len(values):
            self._zones.append((piece, int(values.min()), int(values.max())))

    def within(self, low: int, high: int) -> Iterator[slice]:
        """Give the pieces that may have values from ``low`` to ``high``, which is included."""
        return (piece for piece, least, largest in self._zones if largest >= low and least <= high)
