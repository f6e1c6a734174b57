"""What ``experiment query`` and ``experiment export`` do."""

import csv
import io
from pathlib import Path

import click
import duckdb
import msgspec

from daemons.errors import ConfigError, ResultsError
from daemons.service.screen import MISSING, Grid, screen, sentence
from experiments.archive.export import export
from experiments.archive.selection import Selection
from experiments.archive.tables import QueryAnswer, answer, opened
from experiments.errors import InputError

__all__ = ["ask", "export_rows"]


def ask(folder: Path, question: str, paths: tuple[str, ...], selection: Selection, form: str) -> None:
    """Answer a question about an archive, as ``json``, ``csv`` or, for "", a table.

    Raises:
        LatencyError: the archive has no such rows, or the question cannot be answered.
    """
    with opened(folder, selection, paths) as connection:
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


def export_rows(folder: Path, file: Path, paths: tuple[str, ...], selection: Selection) -> None:
    """Write rows of an archive to a file.

    Raises:
        LatencyError: the archive has no such rows, or the file cannot be written.
    """
    with opened(folder, selection, paths) as connection:
        try:
            count = export(connection, file)
        except duckdb.Error as error:
            why = f"a file cannot be read: {str(error).splitlines()[0]}"
            raise InputError(folder, None, why, "fetch it again, or remove it") from error
        except OSError as error:
            raise ResultsError(f"{file}: cannot be written: {error.strerror or error}; give another name") from error
    sentence(screen(), f"{file}: {count:,} rows")
