"""Other recorders' CSV files as rows of ours, by a mapping of their columns.

Recorders write times in whatever unit their exchange has, some change it from one day to the next, and some write
dates: every cell is read exactly, as decimals, and what cannot be read is refused with its row.
"""

import csv
import gzip
import io
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb

from daemons.measurement.judgement import ABSURD_NS
from daemons.records import Validity
from experiments.archive.engine import engine, literal, pattern_of
from experiments.errors import InputError
from experiments.results.mapping import UNITS, Mapping, TimeColumn
from experiments.results.rows import line_that_ends_otherwise

__all__ = ["imported"]

# Powers of ten that an epoch time has between 2001 and 2286, by unit: they never overlap.
_DIGITS = {"s": 9, "ms": 12, "us": 15, "ns": 18}
_EARLIEST_NS = 10 ** _DIGITS["ns"]
_DELIMITERS = ",;\t|"
_NUMBER = r" *[0-9]+([.,][0-9]*)? *"
_MOMENT = r" *[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}:[0-9]{2}([.][0-9]{1,9})?(Z|[+-][0-9]{2}(:?[0-9]{2})?)? *"


@contextmanager
def imported(file: Path, mapping: Mapping) -> Iterator[duckdb.DuckDBPyConnection]:
    """Open a file as the table ``rows``, with the archive's columns.

    Raises:
        InputError: it cannot be read, has no such column, or a cell is no time or number, with its row.
    """
    header, delimiter = _header_of(file)
    table = _Table(file, header, delimiter)
    with engine() as connection:
        try:
            connection.execute(f"CREATE TABLE cells AS SELECT {table.cells(mapping)} FROM {table.rows}")
            _refuse_mistakes(connection, file, mapping)
            connection.execute(_VIEW.format(path=literal(mapping.path)))
            yield connection
        except duckdb.Error as error:
            if file.suffix != ".gz" and (other := line_that_ends_otherwise(file)) is not None:
                mixed = "it ends otherwise than those before: in LF or in CR LF"
                raise InputError(file, other, mixed, "save the file with one of the two") from error
            why = f"not CSV of {len(header)} columns: {str(error).splitlines()[0]}"
            raise InputError(file, None, why, "fetch the file again, or save it as UTF-8") from error


class _Table:
    def __init__(self, file: Path, header: list[str], delimiter: str) -> None:
        self._file, self._header, self._delimiter = file, header, delimiter

    @property
    def rows(self) -> str:
        columns = ", ".join(f"c{place}: 'VARCHAR'" for place in range(len(self._header)))
        return (
            f"read_csv({literal(pattern_of(str(self._file)))}, auto_detect = false, header = true, "
            f"delim = {literal(self._delimiter)}, quote = '\"', escape = '\"', columns = {{{columns}}})"
        )

    def cells(self, mapping: Mapping) -> str:
        """Give each value beside the text that it was read from."""
        times = {"arrival": mapping.arrival, "event": mapping.event_time, "forwarder": mapping.forwarder}
        numbers = {"id": mapping.event_id, "sequence": mapping.sequence}
        found = ["row_number() OVER () AS place"]
        for name, column in times.items():
            text = self._text(column.name if column else None)
            found += [f"{text} AS {name}_text", f"{_nanoseconds(text, column.unit if column else None)} AS {name}_ns"]
        for name, number in numbers.items():
            text = self._text(number)
            found += [f"{text} AS {name}_text", f"{_integer(text)} AS {name}"]
        stream = self._text(mapping.stream_column) if mapping.stream_column else literal(mapping.stream)
        found.append(f"coalesce({stream}, '') AS stream")
        return ", ".join(found)

    def _text(self, name: str | None) -> str:
        if name is None:
            return "NULL::VARCHAR"
        places = [place for place, known in enumerate(self._header) if known.lower() == name.strip().lower()]
        if not places:
            raise InputError(self._file, 1, f"no column {name!r}", f"there are {', '.join(self._header)}")
        return f"nullif(trim(c{places[0]}), '')"


def _header_of(file: Path) -> tuple[list[str], str]:
    """Give the names of the columns, and what separates them."""
    try:
        with gzip.open(file, "rb") if file.suffix == ".gz" else file.open("rb") as opened:
            line = opened.readline(1 << 20)
        text = line.decode("utf-8-sig").rstrip("\r\n")
    except OSError as error:
        raise InputError(file, None, f"cannot be read: {error}", "check the name and the permissions") from error
    except UnicodeDecodeError as error:
        raise InputError(file, 1, f"not UTF-8 text ({error.reason})", "save it as UTF-8") from error
    if not text.strip():
        raise InputError(file, 1, "no header: the first line names the columns", "put one above the rows")
    delimiter = max(_DELIMITERS, key=text.count)
    try:
        header = [name.strip() for name in next(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter))]
    except csv.Error as error:
        remedy = "save it with lines that end in LF"
        raise InputError(file, 1, f"its first line is no CSV: {error}", remedy) from error
    if twice := [name for name, count in Counter(name.lower() for name in header).items() if count > 1]:
        raise InputError(file, 1, f"column {', '.join(twice)} stands twice", "leave one of each in the file")
    return header, delimiter


def _nanoseconds(text: str, unit: str | None) -> str:
    """Read a time exactly: a number in a unit, or a moment in ISO 8601, which is UTC unless it says otherwise."""
    number = f"TRY_CAST(replace({text}, ',', '.') AS DECIMAL(29, 9))"
    if unit is not None:
        factor = str(UNITS[unit])
    else:
        cases = " ".join(
            f"WHEN {number} >= {10 ** _DIGITS[name]} AND {number} < {10 ** (_DIGITS[name] + 1)} THEN {of}"
            for name, of in UNITS.items()
        )
        factor = f"(CASE {cases} END)"
    # Whole and broken parts apart: their product with the factor has more digits than a decimal.
    whole = f"trunc({number})::HUGEINT"
    broken = f"round(({number} - trunc({number}))::DECIMAL(10, 9) * ({factor})::DECIMAL(10, 0))::HUGEINT"
    moment = (
        f"(epoch_us(TRY_CAST(regexp_replace({text}, '([.][0-9]{{6}})[0-9]+', '\\1') || "
        f"(CASE WHEN regexp_matches({text}, '(Z|[+-][0-9]{{2}}(:?[0-9]{{2}})?)$') THEN '' ELSE 'Z' END) "
        "AS TIMESTAMPTZ))::HUGEINT * 1000 "
        f"+ rpad(regexp_extract({text}, '[.][0-9]{{6}}([0-9]{{1,3}})', 1), 3, '0')::HUGEINT)"
    )
    return (
        f"TRY_CAST(CASE WHEN regexp_full_match({text}, '{_NUMBER}') THEN {whole} * {factor} + {broken} "
        f"WHEN regexp_full_match({text}, '{_MOMENT}') THEN {moment} END AS BIGINT)"
    )


# A spreadsheet that has saved the file has made numbers such as 1.7E+18 of them, whose digits are lost.
_NO_NUMBER = "is no whole number below 2^63"


def _integer(text: str) -> str:
    return f"CASE WHEN regexp_full_match({text}, '[0-9]+') THEN TRY_CAST({text} AS BIGINT) END"


def _refuse_mistakes(connection: duckdb.DuckDBPyConnection, file: Path, mapping: Mapping) -> None:
    """Refuse the first row whose cells are not what they are said to be."""
    checks = {
        "arrival": (
            mapping.arrival.name,
            f"arrival_ns IS NULL OR arrival_ns < {_EARLIEST_NS}",
            _no_time(mapping.arrival),
        ),
        "id": (mapping.event_id, "id_text IS NOT NULL AND id IS NULL", _NO_NUMBER),
        "sequence": (mapping.sequence, "sequence_text IS NOT NULL AND sequence IS NULL", _NO_NUMBER),
    }
    for name, column in {"event": mapping.event_time, "forwarder": mapping.forwarder}.items():
        if column is not None:
            wrong = f"{name}_text IS NOT NULL AND ({name}_ns IS NULL OR {name}_ns < {_EARLIEST_NS})"
            checks[name] = (column.name, wrong, _no_time(column))
    for name, (title, wrong, why) in checks.items():
        found = connection.execute(
            f"SELECT place, {name}_text FROM cells WHERE {wrong} ORDER BY place LIMIT 1"
        ).fetchone()
        if found is not None:
            place, text = found
            remedy = "name another column, or" if why is _NO_NUMBER else "name the unit, as in COLUMN:us, or"
            raise InputError(file, place + 1, f"{title} {text or ''!r} {why}", f"{remedy} mend the row")
    if connection.execute("SELECT count(*) FROM cells").fetchone() == (0,):
        raise InputError(file, 1, "no rows", "give a file with rows")


def _no_time(column: TimeColumn) -> str:
    unit = f"in {column.unit}" if column.unit else "in s, ms, us or ns"
    return f"is no epoch time {unit} between 2001 and 2262, and no moment in ISO 8601"


_TOOK = "(arrival_ns - event_ns)"
_VIEW = f"""
CREATE VIEW rows AS SELECT {{path}} AS path, stream, '' AS kind, NULL::INT AS connection, sequence, id AS event_id,
    event_ns AS event_time_ns, forwarder_ns, NULL::BIGINT AS departure_ns, arrival_ns,
    CASE WHEN {_TOOK} BETWEEN 0 AND {ABSURD_NS} THEN {_TOOK} END AS end_to_end_ns,
    CASE WHEN arrival_ns >= forwarder_ns THEN arrival_ns - forwarder_ns END AS backbone_ns, 'user' AS stamp,
    CASE WHEN event_ns IS NULL THEN {literal(Validity.WITHOUT_EVENT_TIME)}
        WHEN {_TOOK} < 0 OR arrival_ns < forwarder_ns THEN {literal(Validity.NEGATIVE)}
        WHEN {_TOOK} > {ABSURD_NS} THEN {literal(Validity.ABSURD)} ELSE {literal(Validity.OK)} END AS validity,
    false AS delayed, NULL AS cause, NULL AS tcp_rtt_ns, NULL AS tcp_retransmitted, NULL AS tcp_out_of_order
    FROM cells
"""
