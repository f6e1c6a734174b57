"""The rows of a run's CSV file as the table ``rows``, with the archive's columns, for exports."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb

from daemons.formats.archive.columns import COLUMNS
from experiments.archive.engine import engine, literal
from experiments.archive.selection import Selection
from experiments.archive.tables import condition_of
from experiments.errors import InputError
from experiments.results.rows import RowsTable, integer, table_of, validity_of
from experiments.results.run import load_run

__all__ = ["run_opened"]

_WRITTEN_AS = {"sequence": "sequence_id", "forwarder_ns": "tokyo_time", "arrival_ns": "frankfurt_time"}
_LATENCIES = {"end_to_end_ns": "end_to_end_latency_ms", "backbone_ns": "backbone_latency_ms"}
_TYPES = {"name": "VARCHAR", "int64": "BIGINT", "int32": "INTEGER", "bool": "BOOLEAN"}


@contextmanager
def run_opened(source: Path, selection: Selection, paths: tuple[str, ...] = ()) -> Iterator[duckdb.DuckDBPyConnection]:
    """Open what is selected of a run's rows.

    Args:
        source: its CSV or JSON file, or a folder with one run.
        selection: which of its rows.
        paths: of these paths alone; of all when none is named.

    Raises:
        InputError: it has no such rows, or a file is unusable, as :func:`experiments.results.run.load_run` tells it.
    """
    # Whatever is wrong with a row is told there, with its line.
    run = load_run(source, selection=selection, without=frozenset({"sequence", "event_id"}))
    if run.rows_source is None:
        raise InputError(source, None, "has no rows", "put the run's CSV file beside its JSON file")
    if unknown := [name for name in paths if name not in run.series]:
        known = ", ".join(map(repr, run.series))
        why = f"has no such rows of path {unknown[0]!r}"
        raise InputError(run.rows_source, None, why, f"there are those of {known}")
    table = table_of(run.rows_source, next(iter(run.series)))
    columns = ", ".join(f"({_cell(table, one.name)})::{_TYPES[one.kind]} AS {one.name}" for one in COLUMNS)
    wanted = f"path IN ({', '.join(map(literal, paths))})" if paths else "true"
    with engine() as connection:
        connection.execute(f"CREATE TABLE cells AS SELECT {columns} FROM {table.rows}", [table.source])
        connection.execute(f"CREATE VIEW rows AS SELECT * FROM cells WHERE {wanted} AND {condition_of(selection)}")
        yield connection


def _cell(table: RowsTable, name: str) -> str:
    """Give the expression of a column of the archive; NULL where the file has none of that kind."""
    written = _WRITTEN_AS.get(name, name)
    if name == "path":
        return f"coalesce({table.cell(name)}, '')" if name in table.names else literal(table.default_path)
    if name == "validity":
        return validity_of(table)
    if name in ("stream", "kind", "stamp"):
        return f"coalesce({table.cell(name)}, '')"
    if name == "cause":
        return table.cell(name)
    if name == "delayed":
        return f"coalesce({table.cell(name)} = '1', false)"
    if name in _LATENCIES:
        cell = table.cell(_LATENCIES[name])
        # As it is written, where that is to the nanosecond: a float of it may be beside.
        return f"coalesce(TRY_CAST({cell} AS DECIMAL(30, 6)) * 1000000, round(TRY_CAST({cell} AS DOUBLE) * 1e6))"
    if name == "event_time_ns" and name not in table.names:
        return f"({integer(table.cell('binance_time'))}) * 1000000"
    return integer(table.cell(written))
