"""The CSV file of a run: ours, and the six columns of the programs it replaces.

The file is read in small chunks, each turned into columns, so that the memory needed is that of the columns. All
that could silently give a wrong latency is checked on every row: the number of fields, the magnitude of every time
(which tells milliseconds from nanoseconds), and that latencies agree with the times beside them.
"""

import csv
import itertools
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from daemons.formats.rows import ORIGINAL_COLUMNS
from daemons.records import Validity
from experiments.errors import InputError
from experiments.results.series import ColumnBuffer, Flags, Floats, Integers, PathSeries

__all__ = ["load_rows"]

# The original Rust programs call this column differently in their files than in their README.
_WRITTEN_AS = {"latency_ms": "end_to_end_latency_ms"}
# Chunks that fit the processor's cache: 2,000 rows parse 1.7 times as fast as 32,000.
_CHUNK_ROWS = 2000
# Epoch times between 2001 and 2286, by unit: a value outside is in another unit or no time at all.
_NANOSECONDS = (10**18, 10**19 - 1)
_MILLISECONDS = (10**12, 10**13 - 1)
# A latency may differ from the times beside it by the rounding of the event time to whole milliseconds.
_TOLERANCE_MS = 1.5
_INT64_MAX = 2**63 - 1
# Rows whose latencies are samples, and rows whose arrival is right although a clock elsewhere was not: a lead between
# two arrivals at one host does not depend on it.
_SAMPLED = frozenset({Validity.OK, Validity.WITHOUT_EVENT_TIME})
_ARRIVED = _SAMPLED | {Validity.NEGATIVE, Validity.ABSURD}

Row = list[str]


def load_rows(path: Path, default_path: str) -> dict[str, PathSeries]:
    """Read a results CSV file.

    Args:
        path: the file.
        default_path: the name of the path for files that have no ``path`` column.

    Returns:
        The series of each path, in order of first appearance.

    Raises:
        InputError: names the file and the line.
    """
    try:
        # A spreadsheet that saved the file may have put a byte-order mark before it.
        with path.open(newline="", encoding="utf-8-sig") as file:
            return _Reader(path, default_path).read(csv.reader(file))
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(path, None, f"cannot be read: {error}", "check the name and the permissions") from error


class _Reader:
    """Reads one file; holds what the chunks have in common."""

    def __init__(self, path: Path, default_path: str) -> None:
        self.path = path
        self.default_path = default_path
        self.index: dict[str, int] = {}
        self.buffers: dict[str, ColumnBuffer] = {}
        self.streams: dict[str, int] = {}
        self.first_line: dict[tuple[str, str], int] = {}
        self.invalid: dict[str, Counter[str]] = {}
        self.delayed: Counter[str] = Counter()

    def read(self, rows: Iterator[Row]) -> dict[str, PathSeries]:
        self._read_header(rows)
        line = 2
        while chunk := self._next_chunk(rows, line):
            self._check_widths(chunk, line)
            self._add_chunk(chunk, line)
            line += len(chunk)
        if line == 2:
            raise self._error(1, "no rows: the run recorded nothing", "see the run's log for why no event arrived")
        self._check_last_line()
        return {name: self._series(name, buffer) for name, buffer in self.buffers.items()}

    def _next_chunk(self, rows: Iterator[Row], line: int) -> list[Row]:
        chunk: list[Row] = []
        try:
            chunk.extend(itertools.islice(rows, _CHUNK_ROWS))
        except csv.Error as error:
            raise self._error(line, f"not CSV at or after this line: {error}", "fetch the file again") from error
        return chunk

    def _read_header(self, rows: Iterator[Row]) -> None:
        header = next(rows, None)
        if header is None:
            raise self._error(1, "the file is empty", "the run did not start; see its log")
        names = [_WRITTEN_AS.get(name.strip(), name.strip()) for name in header]
        if twice := sorted(name for name, times in Counter(names).items() if times > 1):
            # Which of the two is meant cannot be known, and no row has as many fields as there are different names.
            raise self._error(1, f"column {', '.join(twice)} stands twice", "leave one of each in the file")
        self.index = {name: position for position, name in enumerate(names)}
        missing = [name for name in ORIGINAL_COLUMNS if name not in self.index]
        if missing:
            raise self._error(
                1, f"no column {', '.join(missing)}", "give the CSV that latency-receiver --csv-output wrote"
            )

    def _check_widths(self, chunk: list[Row], line: int) -> None:
        width = len(self.index)
        if {len(row) for row in chunk} == {width}:
            return
        position, row = next((i, row) for i, row in enumerate(chunk) if len(row) != width)
        last = position == len(chunk) - 1 and len(chunk) < _CHUNK_ROWS
        raise self._error(
            line + position,
            f"{len(row)} fields where the header names {width}" + (": the last row is cut off" if last else ""),
            "delete that line, or fetch the file again",
        )

    def _check_last_line(self) -> None:
        """Refuse a last row without its newline: its last number may be missing digits."""
        with self.path.open("rb") as file:
            file.seek(-1, 2)
            if file.read(1) == b"\n":
                return
            file.seek(0)
            lines = sum(piece.count(b"\n") for piece in iter(lambda: file.read(1 << 20), b"")) + 1
        raise self._error(lines, "the last row is cut off: no end of line", "delete that line, or fetch the file again")

    def _add_chunk(self, chunk: list[Row], line: int) -> None:
        fields = list(zip(*chunk, strict=True))

        def column(name: str) -> Sequence[str] | None:
            return fields[self.index[name]] if name in self.index else None

        validity = column("validity") or ("ok",) * len(chunk)
        unsampled = np.fromiter((v not in _SAMPLED for v in validity), np.bool_)
        # Only a row that was found right has times that must be plausible: the clock behind another may stand at 1970.
        right = np.fromiter((v == Validity.OK for v in validity), np.bool_)

        def sampled(name: str) -> Sequence[str] | None:
            """Give the cells of a column, empty in rows that are no samples: what they hold may be anything."""
            cells = column(name)
            if cells is None or not unsampled.any():
                return cells
            return ["" if out else cell for cell, out in zip(cells, unsampled.tolist(), strict=True)]

        arrival = self._times(column("frankfurt_time"), "frankfurt_time", _NANOSECONDS, right, line)
        end_to_end = self._floats(sampled("end_to_end_latency_ms"), "end_to_end_latency_ms", line)
        backbone = self._floats(sampled("backbone_latency_ms"), "backbone_latency_ms", line)
        event_ns = self._times(sampled("event_time_ns"), "event_time_ns", _NANOSECONDS, right, line)
        binance_ms = self._times(sampled("binance_time"), "binance_time", _MILLISECONDS, right, line)
        tokyo = self._times(sampled("tokyo_time"), "tokyo_time", _NANOSECONDS, right, line)
        self._check_latency("end_to_end_latency_ms", end_to_end, arrival, event_ns, line)
        self._check_latency("end_to_end_latency_ms", end_to_end, arrival, binance_ms * 10**6, line)
        self._check_latency("backbone_latency_ms", backbone, arrival, tokyo, line)

        paths = column("path") or (self.default_path,) * len(chunk)
        streams = column("stream") or ("",) * len(chunk)
        delayed = column("delayed") or ("0",) * len(chunk)
        live = np.fromiter((v in _ARRIVED and d != "1" for v, d in zip(validity, delayed, strict=True)), np.bool_)
        # Files of other programs have the event time in milliseconds only.
        told = event_ns if "event_time_ns" in self.index else binance_ms * 10**6
        columns: dict[str, npt.NDArray[Any]] = {
            "sequence": self._integers(column("sequence_id"), "sequence_id", line),
            "arrival_ns": arrival,
            "end_to_end_ms": end_to_end,
            "backbone_ms": backbone,
            "event_fraction_ns": (told % 1_000_000_000).astype(np.int32),
            "forwarder_fraction_ns": (tokyo % 1_000_000_000).astype(np.int32),
            "event_id": _identities(column("event_id"), len(chunk)),
            "stream": np.fromiter((self._stream_code(name) for name in streams), np.uint16, len(chunk)),
            "live": live & (arrival != 0),
        }
        for name in dict.fromkeys(paths):
            mine = np.fromiter((other == name for other in paths), np.bool_, len(chunk))
            self._add_path(name, columns, mine)
            self._account(name, line, mine, streams, validity, delayed)

    def _add_path(self, name: str, columns: dict[str, npt.NDArray[Any]], mine: Flags) -> None:
        buffer = self.buffers.setdefault(name, ColumnBuffer())
        buffer.append(columns if mine.all() else {key: values[mine] for key, values in columns.items()})

    def _account(
        self,
        name: str,
        line: int,
        mine: Flags,
        streams: Sequence[str],
        validity: Sequence[str],
        delayed: Sequence[str],
    ) -> None:
        """Count what is not a sample, and remember where each stream first appeared."""
        invalid = self.invalid.setdefault(name, Counter())
        positions: list[int] = np.flatnonzero(mine).tolist()
        for position in positions:
            if delayed[position] == "1" or validity[position] == Validity.DELAYED:
                self.delayed[name] += 1
            elif validity[position] not in _SAMPLED:
                invalid[validity[position]] += 1
            if (name, streams[position]) not in self.first_line:
                self.first_line[name, streams[position]] = line + position

    def _stream_code(self, name: str) -> int:
        return self.streams.setdefault(name, len(self.streams))

    def _series(self, name: str, buffer: ColumnBuffer) -> PathSeries:
        return PathSeries(
            name=name,
            **buffer.columns(),
            streams=tuple(self.streams),
            first_line={stream: line for (path, stream), line in self.first_line.items() if path == name},
            invalid=dict(self.invalid[name]),
            delayed=self.delayed[name],
        )

    def _floats(self, values: Sequence[str] | None, name: str, line: int) -> Floats:
        assert values is not None
        try:
            result = np.array([float(value) if value else np.nan for value in values])
        except ValueError as error:
            raise self._not_a_number(values, name, line, float) from error
        if np.isinf(result).any():
            position = int(np.flatnonzero(np.isinf(result))[0])
            raise self._error(line + position, f"{name} {values[position]!r} is not finite", "fix or delete the row")
        return result

    def _integers(self, values: Sequence[str] | None, name: str, line: int) -> Integers:
        """Turn a column into integers; an empty cell becomes 0."""
        if values is None:
            return np.zeros(1, np.int64)
        try:
            return np.array([int(value) if value else 0 for value in values], np.int64)
        except (ValueError, OverflowError) as error:
            raise self._not_a_number(values, name, line, _int64) from error

    def _times(
        self, values: Sequence[str] | None, name: str, limits: tuple[int, int], right: Flags, line: int
    ) -> Integers:
        """Turn a column of epoch times into integers, and refuse right rows whose time must be in another unit."""
        result = self._integers(values, name, line)
        wrong = right & (result != 0) & ((result < limits[0]) | (result > min(limits[1], _INT64_MAX)))
        if wrong.any():
            position = int(np.flatnonzero(wrong)[0])
            value = int(result[position])
            unit = "nanoseconds" if limits is _NANOSECONDS else "milliseconds"
            raise self._error(
                line + position,
                f"{name} {value} is not an epoch time in {unit}{_guess_unit(value)}",
                "convert the file to one unit per column before comparing",
            )
        return result

    def _check_latency(self, name: str, latency: Floats, arrival: Integers, origin: Integers, line: int) -> None:
        known = (origin != 0) & (arrival != 0) & ~np.isnan(latency)
        off = np.where(known, np.abs((arrival - origin) / 1e6 - np.nan_to_num(latency)), 0)
        if (off > _TOLERANCE_MS).any():
            position = int(np.flatnonzero(off > _TOLERANCE_MS)[0])
            implied = float((arrival - origin)[position] / 1e6)
            raise self._error(
                line + position,
                f"{name} {latency[position]:g} contradicts the times in its row, which are {implied:.3f} ms apart",
                "the column is not in milliseconds, or rows were edited: fetch the file again",
            )

    def _not_a_number(
        self, values: Sequence[str], name: str, line: int, convert: Callable[[str], object]
    ) -> InputError:
        for position, value in enumerate(values):
            try:
                convert(value or "0")
            except (ValueError, OverflowError):
                return self._error(line + position, f"{name} {value!r} is not a number", "fix or delete the row")
        raise AssertionError(f"{name}: the column was refused but every cell converts")

    def _error(self, line: int, why: str, remedy: str) -> InputError:
        return InputError(self.path, line, why, remedy)


def _int64(value: str) -> int:
    number = int(value)
    if not -_INT64_MAX <= number <= _INT64_MAX:
        raise OverflowError
    return number


def _identities(values: Sequence[str] | None, rows: int) -> Integers:
    """Turn exchange ids into integers; an id that is not a number (a range, say) is hashed to 63 bits.

    Two of ten million hashed ids collide with a probability of about 5 in a million; ids are compared only within
    one process, so the hash need not be stable.
    """
    if values is None:
        return np.zeros(rows, np.int64)
    try:
        return np.array([int(value) if value else 0 for value in values], np.int64)
    except (ValueError, OverflowError):
        return np.array([_identity(value) for value in values], np.int64)


def _identity(value: str) -> int:
    try:
        return _int64(value or "0")
    except (ValueError, OverflowError):
        return hash(value) & _INT64_MAX


def _guess_unit(value: int) -> str:
    digits = len(str(abs(value)))
    units = {10: "seconds", 13: "milliseconds", 16: "microseconds", 19: "nanoseconds"}
    return f" (it looks like {units[digits]})" if digits in units else ""
