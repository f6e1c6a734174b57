"""An archive as tables: ``rows`` and ``files``, for questions in SQL that only read."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb
import msgspec

from daemons.formats.archive.columns import COLUMNS
from experiments.archive.engine import engine, literal
from experiments.archive.files import chosen
from experiments.archive.reading import dataset_of
from experiments.archive.selection import Selection

__all__ = ["QUERY_FORMAT", "QueryAnswer", "QueryColumn", "answer", "condition_of", "opened"]

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
        InputError: as :func:`experiments.archive.files.chosen`.
    """
    # By names alone the engine would take any table for one of ours, with nothing in the columns that it lacks.
    files = chosen(folder, selection, paths)
    # As plain texts, which every comparison takes.
    columns = [f"{one.name}::VARCHAR AS {one.name}" if one.kind == "name" else one.name for one in COLUMNS]
    with engine() as connection:
        connection.register("archived", dataset_of([one.file for one in files]))
        connection.execute(
            f"CREATE VIEW rows AS SELECT {', '.join(columns)} FROM archived WHERE {condition_of(selection)}"
        )
        connection.execute(
            "CREATE TABLE files (file VARCHAR, host VARCHAR, session VARCHAR, start_ns BIGINT, end_ns BIGINT)"
        )
        connection.executemany(
            "INSERT INTO files VALUES (?, ?, ?, ?, ?)",
            [(str(one.file), one.facts.host, one.name.session, one.name.start_ns, one.name.end_ns) for one in files],
        )
        connection.execute("SET enable_external_access = false")
        connection.execute("SET lock_configuration = true")
        yield connection


def condition_of(selection: Selection) -> str:
    """Write what is selected, but for the receiver, as a condition of SQL on the archive's columns."""
    conditions = ["true"]
    conditions += [] if selection.from_ns is None else [f"arrival_ns >= {selection.from_ns}"]
    conditions += [] if selection.to_ns is None else [f"arrival_ns < {selection.to_ns}"]
    conditions += [f"stream IN ({', '.join(map(literal, selection.streams))})"] if selection.streams else []
    return " AND ".join(conditions)


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
