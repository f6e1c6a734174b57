"""What ``experiment query``, ``experiment export`` and ``experiment import`` do."""

import csv
import io
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import click
import duckdb
import msgspec

from daemons.errors import ConfigError, ResultsError
from daemons.service.console.screen import MISSING, Grid, screen, sentence
from experiments.archive.bucket import Bucket, at_hand
from experiments.archive.export import export
from experiments.archive.selection import Selection, is_archive
from experiments.archive.tables import QueryAnswer, answer, opened
from experiments.errors import InputError
from experiments.results.exporting import run_opened
from experiments.results.foreign import imported
from experiments.results.mapping import Mapping
from experiments.results.run import find_runs

__all__ = ["ask", "export_rows", "import_rows"]


def ask(folder: Path | Bucket, question: str, paths: tuple[str, ...], selection: Selection, form: str) -> None:
    """Answer a question about an archive, as ``json``, ``csv`` or, for "", a table.

    Raises:
        LatencyError: the archive has no such rows, or the question cannot be answered.
    """
    with at_hand(folder, selection, paths) as here, opened(here, selection, paths) as connection:
        try:
            found = answer(connection, question)
        except (ValueError, duckdb.Error) as error:
            raise ConfigError(
                "SQL", str(error).splitlines()[0], "the tables are rows and files (docs/archive.md)"
            ) from error
    if form == "json":
        # Times and decimals as text; what 63 bits do not hold, too.
        click.echo(msgspec.json.format(msgspec.json.encode(found, enc_hook=str), indent=2))
    elif form == "csv":
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows([[one.name for one in found.columns], *found.rows])
        click.echo(text.getvalue(), nl=False)
    else:
        _print(found)


def _print(found: QueryAnswer) -> None:
    grid = Grid(
        "", tuple(one.name for one in found.columns), {one.name for one in found.columns if one.type == "VARCHAR"}
    )
    for row in found.rows:
        grid.add(*(MISSING if value is None else str(value) for value in row))
    screen().print(grid)


def export_rows(folder: Path | Bucket, file: Path, paths: tuple[str, ...], selection: Selection) -> None:
    """Write rows of an archive, or of a run, to a file.

    Raises:
        LatencyError: there are no such rows, they cannot be read, or the file cannot be written.
    """
    with at_hand(folder, selection, paths) as here, _rows_of(here)(here, selection, paths) as connection:
        try:
            count = _written(connection, file)
        except duckdb.Error as error:
            why = f"a file cannot be read: {str(error).splitlines()[0]}"
            raise InputError(here, None, why, "fetch it again, or remove it") from error
    sentence(screen(), f"{file}: {count:,} rows")


def _rows_of(source: Path) -> Callable[..., AbstractContextManager[duckdb.DuckDBPyConnection]]:
    """Say what opens a source; a folder without a run is asked as an archive, which says what it lacks."""
    return run_opened if source.is_file() or (not is_archive(source) and find_runs(source)) else opened


def import_rows(source: Path, file: Path, mapping: Mapping) -> None:
    """Write the rows of another recorder's file to a file of ours.

    Raises:
        LatencyError: the one cannot be read, or the other not written.
    """
    with imported(source, mapping) as connection:
        count = _written(connection, file)
    sentence(screen(), f"{file}: {count:,} rows of path {mapping.path!r}")


def _written(connection: duckdb.DuckDBPyConnection, file: Path) -> int:
    try:
        return export(connection, file)
    except OSError as error:
        raise ResultsError(f"{file}: cannot be written: {error.strerror or error}; give another name") from error
