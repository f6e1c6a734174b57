"""The columnar engine, DuckDB: how it is opened, how files are named to it, how its rows come back.

It scans, filters, sorts and joins; statistics are computed elsewhere, on the columns that it gives.
"""

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import duckdb
import pyarrow as pa

from experiments.scratch import scratch_folder

__all__ = ["EngineError", "batches", "engine", "literal", "pattern_of"]

# What sorts and joins may hold before they spill to a temporary folder; scans need less.
_MEMORY = "768MB"
# Rows a batch: columns of so many fit a processor's cache, and calls for them are few.
_BATCH_ROWS = 131_072


class EngineError(Exception):
    """The engine refused a question, or what it read; its text has the reason in its first line."""


@contextmanager
def engine() -> Iterator[duckdb.DuckDBPyConnection]:
    """Open an engine of its own, in memory, with a folder to spill to; nothing is fetched from anywhere by itself."""
    with tempfile.TemporaryDirectory(prefix="experiment-", dir=scratch_folder()) as spill:
        config: dict[str, str | bool | int | float | list[str]] = {
            "memory_limit": _MEMORY,
            "temp_directory": spill,
            "autoinstall_known_extensions": False,
            "autoload_known_extensions": False,
        }
        connection = duckdb.connect(":memory:", config=config)
        # Where a program is given by `-c` it would come on standard output, before the JSON, after two seconds.
        connection.execute("SET enable_progress_bar = false")
        try:
            yield connection
        finally:
            connection.close()


def batches(
    connection: duckdb.DuckDBPyConnection, question: str, values: Sequence[object] = ()
) -> Iterator[pa.RecordBatch]:
    """Ask, and give the answer in batches while it is computed, in the order of the rows.

    Raises:
        EngineError: the engine cannot answer, or cannot go on.
    """
    try:
        answer = connection.sql(question, params=list(values) or None).to_arrow_reader(_BATCH_ROWS)
    except duckdb.Error as error:
        raise EngineError(str(error)) from error
    while True:
        # What fails on the way comes through Arrow, as an error of reading.
        try:
            batch = answer.read_next_batch()
        except StopIteration:
            return
        except (OSError, pa.ArrowException, duckdb.Error) as error:
            raise EngineError(str(error)) from error
        yield batch


def literal(text: str) -> str:
    """Write a text as SQL does."""
    return "'" + text.replace("'", "''") + "'"


def pattern_of(file: str) -> str:
    """Write a file's name as the pattern that matches it alone: the engine takes every name for a pattern."""
    return "".join(f"[{mark}]" if mark in "[*?" else mark for mark in file)
