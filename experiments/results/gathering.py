"""Batches of rows into the columns of each path: the same for a CSV file and for an archive."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from daemons.records import Validity
from experiments.results.columns import ColumnBuffer, Flags, Integers
from experiments.results.series import COLUMNS, PathSeries, nothing

__all__ = ["ARRIVED", "NAMES", "SAMPLED", "Gathering", "first_true", "named", "numbers_of"]

SAMPLED = (Validity.OK, Validity.WITHOUT_EVENT_TIME)
"""Rows whose latencies are samples."""
ARRIVED = (*SAMPLED, Validity.NEGATIVE, Validity.ABSURD)
"""Rows whose arrival is right although a clock elsewhere was not: a lead between two arrivals does not depend on it."""
NAMES = ("path", "stream", "validity")
"""Columns of a batch that are names; all others are numbers and flags."""


@dataclass
class _Path:
    """What is known so far of one path."""

    buffer: ColumnBuffer
    rows: int = 0
    through_forwarder: bool = False
    first_line: dict[str, int] = field(default_factory=dict)
    invalid: Counter[str] = field(default_factory=Counter)
    delayed: int = 0


class Gathering:
    """Takes batches, in order; gives the series of each path, in order of first appearance.

    Args:
        without: columns of the series that are not to be kept.
    """

    def __init__(self, without: frozenset[str] = frozenset()) -> None:
        self._without = without
        self._kept = {name: dtype for name, dtype in COLUMNS.items() if name not in without}
        self._paths: dict[str, _Path] = {}
        self._streams: dict[str, int] = {}

    def add(self, batch: pa.RecordBatch, line: int) -> None:
        """Take a batch: the columns of :data:`experiments.results.series.COLUMNS`, :data:`NAMES` and ``delayed``.

        Args:
            batch: without nulls, but for latencies.
            line: of its first row, for messages; 0 where rows have no lines.
        """
        columns = {name: numbers_of(batch, name) for name in batch.schema.names if name not in NAMES}
        delayed = columns.pop("delayed")
        paths, path_names = _coded(batch, "path")
        streams, stream_names = _coded(batch, "stream")
        validity, reasons = _coded(batch, "validity")
        codes = np.array([self._streams.setdefault(name, len(self._streams)) for name in stream_names], np.uint16)
        columns["stream"] = codes[streams]
        arrived = np.array([reason in ARRIVED for reason in reasons], np.bool_)
        columns["live"] = arrived[validity] & ~delayed & (columns["arrival_ns"] != 0)
        waited = delayed | (validity == _index(reasons, Validity.DELAYED))
        for code, name in enumerate(path_names):
            path = self._paths.setdefault(name, _Path(ColumnBuffer(self._kept)))
            mine = None if len(path_names) == 1 else np.flatnonzero(paths == code)
            path.buffer.append(columns if mine is None else {key: values[mine] for key, values in columns.items()})
            path.rows += len(batch) if mine is None else len(mine)
            path.through_forwarder |= not np.isnan(_of(columns["backbone_ms"], mine)).all()
            path.delayed += int(_of(waited, mine).sum())
            counts = np.bincount(_of(validity, mine)[~_of(waited, mine)], minlength=len(reasons)).tolist()
            path.invalid.update(
                {
                    reason: count
                    for reason, count in zip(reasons, counts, strict=True)
                    if count and reason not in SAMPLED
                }
            )
            _note_first(path.first_line, _of(streams, mine), stream_names, mine, line)

    def series(self) -> dict[str, PathSeries]:
        """Give what was gathered."""
        columns: dict[str, dict[str, Any]] = {
            name: path.buffer.columns() | {column: nothing(column, path.rows) for column in self._without}
            for name, path in self._paths.items()
        }
        return {
            name: PathSeries(
                name=name,
                **columns[name],
                streams=tuple(self._streams),
                first_line=path.first_line,
                invalid=dict(path.invalid),
                delayed=path.delayed,
                through_forwarder=path.through_forwarder,
            )
            for name, path in self._paths.items()
        }


def numbers_of(batch: pa.RecordBatch, name: str) -> npt.NDArray[Any]:
    """Give a column as an array; of a column of floats nulls are NaN."""
    return np.asarray(batch.column(name).to_numpy(zero_copy_only=False))


def named(batch: pa.RecordBatch, column: str, name: str) -> Flags:
    """Tell the rows in which a column has a certain name."""
    codes, names = _coded(batch, column)
    return np.equal(codes, _index(names, name))


def _coded(batch: pa.RecordBatch, name: str) -> tuple[npt.NDArray[np.int32], list[str]]:
    """Give a column of names as numbers, and what they stand for, in order of first appearance."""
    column = batch.column(name)
    encoded = column.dictionary_encode()
    return np.asarray(encoded.indices.to_numpy(zero_copy_only=False)), encoded.dictionary.to_pylist()


def _index(names: list[str], name: str) -> int:
    return names.index(name) if name in names else -1


def _of(values: npt.NDArray[Any], rows: Integers | None) -> npt.NDArray[Any]:
    return values if rows is None else values[rows]


def _note_first(
    known: dict[str, int], streams: npt.NDArray[np.int32], names: list[str], rows: Integers | None, line: int
) -> None:
    """Remember the line of each stream's first row."""
    found: list[tuple[int, str]] = []
    for code in np.flatnonzero(np.bincount(streams, minlength=len(names))).tolist():
        if names[code] not in known:
            first = int((streams == code).argmax())
            found.append((first if rows is None else int(rows[first]), names[code]))
    for first, name in sorted(found):
        known[name] = line + first if line else 0


def first_true(flags: Flags) -> int | None:
    """Give the place of the first flag that is set."""
    return int(flags.argmax()) if flags.any() else None
