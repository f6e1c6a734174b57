"""An archive as tables: ``rows`` and ``files``, for questions in SQL that only read."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb
import msgspec

from daemons.formats.archive.columns import COLUMNS
from experiments.archive.engine import engine, literal, pattern_of
from experiments.archive.facts import facts_in
from experiments.archive.selection import Selection, segments_of
from experiments.errors import InputError

__all__ = ["QUERY_FORMAT", "QueryAnswer", "QueryColumn", "answer", "opened"]

QUERY_FORMAT = "backbone-latency-query/1"


class QueryColumn(msgspec.Struct, frozen=True):
    """A column of an answer; ``type`` as the engine calls it."""

    name: str
    type: str


class QueryAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """What a question gave: columns, and rows of as many values each."""

    format: str = QUERY_FORMAT
    columns: list[QueryColumn]
    rows: list[list[Any]]


@contextmanager
def opened(folder: Path, selection: Selection, paths: tuple[str, ...] = ()) -> Iterator[duckdb.DuckDBPyConnection]:
    """Open what is selected of an archive; nothing else on this machine can be read through it.

    Raises:
        InputError: there are no such rows, or one of the files is none of an archive.
    """
    files = segments_of(folder, selection, paths)
    if not files:
        raise InputError(folder, None, "no such rows in the archive", "give another --from, --to or --path")
    for _name, file in files:
        # By names alone the engine would take any table for one of ours, with nothing in the columns that it lacks.
        facts_in(file)
    names = [str(file) for _name, file in files]
    conditions = ["true"]
    conditions += [] if selection.from_ns is None else [f"arrival_ns >= {selection.from_ns}"]
    conditions += [] if selection.to_ns is None else [f"arrival_ns < {selection.to_ns}"]
    conditions += [f"stream IN ({', '.join(map(literal, selection.streams))})"] if selection.streams else []
    # As plain texts, which every comparison takes.
    columns = [f"{one.name}::VARCHAR AS {one.name}" if one.kind == "name" else one.name for one in COLUMNS]
    with engine() as connection:
        _create(
            connection,
            folder,
            f"CREATE VIEW rows AS SELECT {', '.join(columns)} "
            f"FROM read_parquet([{', '.join(literal(pattern_of(name)) for name in names)}], "
            f"hive_partitioning = false, union_by_name = true) WHERE {' AND '.join(conditions)}",
        )
        connection.execute("CREATE TABLE files (file VARCHAR, session VARCHAR, start_ns BIGINT, end_ns BIGINT)")
        connection.executemany(
            "INSERT INTO files VALUES (?, ?, ?, ?)",
            [(str(file), name.session, name.start_ns, name.end_ns) for name, file in files],
        )
        connection.execute(f"SET allowed_paths = [{', '.join(map(literal, names))}]")
        connection.execute("SET enable_external_access = false")
        connection.execute("SET lock_configuration = true")
        yield connection


def _create(connection: duckdb.DuckDBPyConnection, folder: Path, view: str) -> None:
    """Make a view, for which the engine opens the files: each was whole when it was written."""
    try:
        connection.execute(view)
    except duckdb.Error as error:
        why = str(error).splitlines()[0]
        raise InputError(folder, None, f"a file cannot be read: {why}", "fetch it again, or remove it") from error


def answer(connection: duckdb.DuckDBPyConnection, question: str) -> QueryAnswer:
    """Answer one question.

    Raises:
        ValueError: it is none, or would write.
        duckdb.Error: it cannot be answered.
    """
    statements = connection.extract_statements(question)
    if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
        raise ValueError("give one SELECT: questions only read")
    given = connection.execute(statements[0])
    columns = [QueryColumn(str(one[0]), str(one[1])) for one in given.description or []]
    return QueryAnswer(columns=columns, rows=[list(row) for row in given.fetchall()])
