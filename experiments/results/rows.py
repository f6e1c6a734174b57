"""The CSV file of a run: ours, and the six columns of the programs it replaces.

The engine reads it and turns cells into numbers; it comes back in batches of columns, so that the memory needed is
that of the columns. All that could silently give a wrong latency is checked on every row: the number of fields, the
magnitude of every time (which tells milliseconds from nanoseconds), and that latencies agree with the times beside
them.
"""

import csv
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import numpy as np
import pyarrow as pa

from daemons.formats.rows import ORIGINAL_COLUMNS
from daemons.records import Validity
from experiments.archive.engine import EngineError, batches, engine, literal, pattern_of
from experiments.errors import InputError
from experiments.results.gathering import NAMES, SAMPLED, Gathering, first_true, named, numbers_of
from experiments.results.series import COLUMNS, Flags, Floats, Integers, PathSeries

__all__ = ["RowsTable", "header_of", "integer", "line_that_ends_otherwise", "load_rows", "table_of", "validity_of"]

# The original Rust programs call this column differently in their files than in their README.
_WRITTEN_AS = {"latency_ms": "end_to_end_latency_ms"}
# Epoch times between 2001 and 2286, by unit: a value outside is in another unit or no time at all.
_NANOSECONDS = (10**18, 10**19 - 1)
_MILLISECONDS = (10**12, 10**13 - 1)
# A latency may differ from the times beside it by the rounding of the event time to whole milliseconds.
_TOLERANCE_MS = 1.5
_INT64_MAX = 2**63 - 1
_INTEGERS = ("frankfurt_time", "sequence_id", "event_time_ns", "binance_time", "tokyo_time")
_FLOATS = ("end_to_end_latency_ms", "backbone_latency_ms")
# Cells that rows without a usable figure may hold anything in.
_OF_SAMPLES = frozenset({"event_time_ns", "binance_time", "tokyo_time", *_FLOATS})
# What each thread reads ahead: more than the longest line that is read, and no faster when larger.
_BUFFER_BYTES = 2 << 20
# The line of the first row: the header stands on the first.
_FIRST_LINE = 2


def load_rows(path: Path, default_path: str, without: frozenset[str] = frozenset()) -> dict[str, PathSeries]:
    """Read a results CSV file.

    Args:
        path: the file.
        default_path: the name of the path for files that have no ``path`` column.
        without: columns of the series that are not to be kept.

    Returns:
        The series of each path, in order of first appearance.

    Raises:
        InputError: names the file and the line.
    """
    table = table_of(path, default_path)
    gathering, line = Gathering(without), _FIRST_LINE
    with engine() as connection:
        try:
            for batch in batches(connection, table.question(), [table.source]):
                gathering.add(_Checks(table, batch, line).checked(), line)
                line += len(batch)
        except EngineError as error:
            _explain(path, len(table.names), line, error)
    if line == _FIRST_LINE:
        raise InputError(path, 1, "no rows: the run recorded nothing", "see the run's log for why no event arrived")
    return gathering.series()


def table_of(path: Path, default_path: str) -> "RowsTable":
    """Open a results CSV file, as far as its header and its end say that it is one; for the arguments see above.

    Raises:
        InputError: it is none, or its last row is cut off.
    """
    try:
        table = RowsTable(path, _checked_header(path), default_path)
        _check_last_line(path)
    except (OSError, UnicodeDecodeError) as error:
        raise _unreadable(path, error) from error
    return table


def header_of(path: Path) -> list[str]:
    """Give the names of a file's columns, as this project calls them; none where it is empty.

    Raises:
        OSError, UnicodeDecodeError, csv.Error: it cannot be read.
    """
    # A spreadsheet that saved the file may have put a byte-order mark before it.
    with path.open(newline="", encoding="utf-8-sig") as file:
        header = next(csv.reader(file), [])
    # Spreadsheets and databases write names as they like: some in capitals.
    names = [name.strip().lower() for name in header]
    return [_WRITTEN_AS.get(name, name) for name in names]


def _checked_header(path: Path) -> list[str]:
    try:
        names = header_of(path)
    except csv.Error as error:
        raise InputError(path, 1, f"not CSV: {error}", "fetch the file again") from error
    if not names:
        raise InputError(path, 1, "the file is empty", "the run did not start; see its log")
    if twice := sorted(name for name, times in Counter(names).items() if times > 1):
        # Which of the two is meant cannot be known, and no row has as many fields as there are different names.
        raise InputError(path, 1, f"column {', '.join(twice)} stands twice", "leave one of each in the file")
    if missing := [name for name in ORIGINAL_COLUMNS if name not in names]:
        remedy = "give the CSV that latency-receiver --csv-output wrote"
        if len(names) == 1 and names[0].count(";") >= len(ORIGINAL_COLUMNS) - 1:
            remedy = "save it with commas between the cells, and points in numbers"
        raise InputError(path, 1, f"no column {', '.join(missing)}", remedy)
    return names


def _unreadable(path: Path, error: OSError | UnicodeDecodeError) -> InputError:
    if isinstance(error, OSError):
        return InputError(path, None, f"cannot be read: {error}", "check the name and the permissions")
    return InputError(
        path, None, f"cannot be read: not UTF-8 text ({error.reason})", "save it as UTF-8, or fetch it again"
    )


def _check_last_line(path: Path) -> None:
    """Refuse a last row without its newline: its last number may be missing digits."""
    with path.open("rb") as file:
        file.seek(-1, 2)
        if (last := file.read(1)) == b"\n":
            return
        if last == b"\r":
            raise InputError(path, None, "its lines end in CR alone", "save it with lines that end in LF")
        file.seek(0)
        lines = sum(piece.count(b"\n") for piece in iter(lambda: file.read(1 << 20), b"")) + 1
    raise InputError(
        path, lines, "the last row is cut off: no end of line", "delete that line, or fetch the file again"
    )


def _explain(path: Path, width: int, line: int, refusal: EngineError) -> NoReturn:
    """Say on which line the engine's reader stumbled: it reads ahead, in pieces, and does not always tell."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = csv.reader(file)
            for line, row in enumerate(rows, start=1):  # noqa: PLR1704 - the last one is told
                if len(row) not in {0, width}:
                    last = ": the last row is cut off" if next(rows, None) is None else ""
                    raise InputError(
                        path,
                        line,
                        f"{len(row)} fields where the header names {width}{last}",
                        "delete that line, or fetch the file again",
                    ) from refusal
    except UnicodeDecodeError as error:
        raise _unreadable(path, error) from error
    except csv.Error as error:
        raise InputError(path, line, f"not CSV after this line: {error}", "fetch the file again") from error
    if (other := line_that_ends_otherwise(path)) is not None:
        raise InputError(
            path, other, "it ends otherwise than those before: in LF or in CR LF", "save the file with one of the two"
        ) from refusal
    why = str(refusal).splitlines()[0]
    raise InputError(path, line, f"not CSV in or before this line: {why}", "fetch the file again") from refusal


def line_that_ends_otherwise(path: Path) -> int | None:
    """Find the first line that ends in LF alone where those before end in CR LF, or the other way round.

    Two files put together, or a header that was edited on Windows, are such a mixture, which the engine refuses.
    """
    with path.open("rb") as file:
        ends = None
        for number, line in enumerate(file, start=1):
            if ends is not None and line.endswith(b"\r\n") != ends:
                return number
            ends = line.endswith(b"\r\n")
    return None


@dataclass(frozen=True)
class RowsTable:
    """A file as the engine sees it: a column of texts for each name of the header.

    Attributes:
        path: the file.
        names: of its columns, in order.
        default_path: see :func:`load_rows`.
    """

    path: Path
    names: list[str]
    default_path: str

    @property
    def source(self) -> str:
        """Name the file to the engine."""
        return pattern_of(str(self.path))

    @property
    def rows(self) -> str:
        """Give the table to select from; the file's name is its only parameter."""
        columns = ", ".join(f"{_column(place)}: 'VARCHAR'" for place in range(len(self.names)))
        return (
            "read_csv(?, auto_detect = false, header = true, delim = ',', quote = '\"', escape = '\"', "
            f"buffer_size = {_BUFFER_BYTES}, columns = {{{columns}}})"
        )

    def cell(self, name: str) -> str:
        """Give the expression of a column's text; NULL where it is empty, or the file has no such column."""
        return _column(self.names.index(name)) if name in self.names else "NULL::VARCHAR"

    def question(self) -> str:
        """Ask for the columns of :class:`Gathering`, and what the checks need beside them."""
        sampled = f"{validity_of(self)} IN ({', '.join(map(literal, SAMPLED))})"
        cells = {
            name: f"CASE WHEN {sampled} THEN {self.cell(name)} END" if name in _OF_SAMPLES else self.cell(name)
            for name in (*_INTEGERS, *_FLOATS)
        }
        numbers = {name: integer(cells[name]) for name in _INTEGERS}
        numbers |= {name: f"TRY_CAST({cells[name]} AS DOUBLE)" for name in _FLOATS}
        mistakes = " ".join(
            f"WHEN ({cells[name]}) IS NOT NULL AND ({number}) IS NULL THEN {self.names.index(name)}"
            for name, number in numbers.items()
            if name in self.names
        )
        default = literal(self.default_path)
        path = f"coalesce({self.cell('path')}, '')" if "path" in self.names else default
        figures = [f"coalesce({numbers[name]}, 0) AS {name}" for name in _INTEGERS]
        figures += [f"{numbers[name]} AS {name}" for name in _FLOATS]
        return (
            f"SELECT {', '.join(figures)}, {_identity(self.cell('event_id'))} AS event_id, {path} AS path, "
            f"coalesce({self.cell('stream')}, '') AS stream, {validity_of(self)} AS validity, "
            f"coalesce({self.cell('delayed')} = '1', false) AS delayed, "
            f"(CASE {mistakes} ELSE -1 END)::SMALLINT AS mistake FROM {self.rows}"
        )

    def text(self, name: str, row: int) -> str:
        """Give what stands in a cell, for a message."""
        with engine() as connection:
            question = f"SELECT {self.cell(name)} FROM {self.rows} LIMIT 1 OFFSET {row}"
            found = connection.execute(question, [self.source]).fetchone()
        assert found is not None
        return str(found[0])


def _column(place: int) -> str:
    return f"c{place}"


def validity_of(table: RowsTable) -> str:
    """Give the expression of a row's validity; files of other programs have right rows alone."""
    return f"coalesce({table.cell('validity')}, '')" if "validity" in table.names else literal(Validity.OK)


def integer(cell: str) -> str:
    """Take digits alone for a number: the engine would round fractions, and powers of ten short of digits."""
    return f"CASE WHEN regexp_full_match({cell}, ' *[+-]?[0-9]+ *') THEN TRY_CAST({cell} AS BIGINT) END"


def _identity(cell: str) -> str:
    """Turn an exchange's id into an integer; one that is not a number (a range, say) is hashed to 63 bits.

    Two of ten million hashed ids collide with a probability of about 5 in a million.
    """
    return f"CASE WHEN {cell} IS NULL THEN 0 ELSE coalesce({integer(cell)}, (hash({cell}) >> 1)::BIGINT) END"


class _Checks:
    """The checks of one batch."""

    def __init__(self, table: RowsTable, batch: pa.RecordBatch, line: int) -> None:
        self._table = table
        self._batch = batch
        self._line = line
        # Only a row that was found right has times that must be plausible: the clock behind another may stand at 1970.
        self._right: Flags = named(batch, "validity", Validity.OK)

    def checked(self) -> pa.RecordBatch:
        """Give the batch with the columns of a series.

        Raises:
            InputError: a cell is no number, or contradicts its column or its row.
        """
        self._check_numbers()
        arrival = self._times("frankfurt_time", _NANOSECONDS)
        event_ns = self._times("event_time_ns", _NANOSECONDS)
        binance_ns = self._times("binance_time", _MILLISECONDS) * 10**6
        tokyo = self._times("tokyo_time", _NANOSECONDS)
        end_to_end = self._finite("end_to_end_latency_ms")
        backbone = self._finite("backbone_latency_ms")
        self._check_latency("end_to_end_latency_ms", end_to_end, arrival, event_ns)
        self._check_latency("end_to_end_latency_ms", end_to_end, arrival, binance_ns)
        self._check_latency("backbone_latency_ms", backbone, arrival, tokyo)
        # Files of other programs have the event time in milliseconds only.
        told = event_ns if "event_time_ns" in self._table.names else binance_ns
        columns = {
            "sequence": self._batch.column("sequence_id"),
            "arrival_ns": arrival,
            "end_to_end_ms": end_to_end,
            "backbone_ms": backbone,
            "event_fraction_ns": (told % 1_000_000_000).astype(np.int32),
            "forwarder_fraction_ns": (tokyo % 1_000_000_000).astype(np.int32),
            "event_id": self._batch.column("event_id"),
            **{name: self._batch.column(name) for name in (*NAMES, "delayed")},
        }
        assert columns.keys() >= COLUMNS.keys() - {"live"}
        return pa.RecordBatch.from_pydict(columns)

    def _check_numbers(self) -> None:
        mistakes = numbers_of(self._batch, "mistake")
        if (row := first_true(mistakes >= 0)) is not None:
            name = self._table.names[int(mistakes[row])]
            self._refuse(row, f"{name} {self._text(name, row)!r} is not a number", "fix or delete the row")

    def _times(self, name: str, limits: tuple[int, int]) -> Integers:
        """Give a column of epoch times, 0 where there is none, and refuse right rows whose time is in another unit."""
        result: Integers = numbers_of(self._batch, name)
        low, high = limits[0], min(limits[1], _INT64_MAX)
        if (row := first_true(self._right & (result != 0) & ((result < low) | (result > high)))) is not None:
            value = int(result[row])
            unit = "nanoseconds" if limits is _NANOSECONDS else "milliseconds"
            self._refuse(
                row,
                f"{name} {value} is not an epoch time in {unit}{_guess_unit(value)}",
                "convert the file to one unit per column before comparing",
            )
        return result

    def _finite(self, name: str) -> Floats:
        result: Floats = numbers_of(self._batch, name)
        if (row := first_true(np.isinf(result))) is not None:
            self._refuse(row, f"{name} {self._text(name, row)!r} is not finite", "fix or delete the row")
        return result

    def _check_latency(self, name: str, latency: Floats, arrival: Integers, origin: Integers) -> None:
        known = (origin != 0) & (arrival != 0) & ~np.isnan(latency)
        off = np.where(known, np.abs((arrival - origin) / 1e6 - np.nan_to_num(latency)), 0)
        if (row := first_true(off > _TOLERANCE_MS)) is not None:
            implied = float((arrival - origin)[row] / 1e6)
            self._refuse(
                row,
                f"{name} {latency[row]:g} contradicts the times in its row, which are {implied:.3f} ms apart",
                "the column is not in milliseconds, or rows were edited: fetch the file again",
            )

    def _text(self, name: str, row: int) -> str:
        return self._table.text(name, self._line - _FIRST_LINE + row)

    def _refuse(self, row: int, why: str, remedy: str) -> NoReturn:
        raise InputError(self._table.path, self._line + row, why, remedy)


def _guess_unit(value: int) -> str:
    digits = len(str(abs(value)))
    units = {10: "seconds", 13: "milliseconds", 16: "microseconds", 19: "nanoseconds"}
    return f" (it looks like {units[digits]})" if digits in units else ""
