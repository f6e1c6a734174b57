"""``experiment query``: anything else, of an archive, in SQL."""

from pathlib import Path

import click

from daemons.service.extra import require_extra
from experiments.archive.bucket import Bucket, Source
from experiments.archive.selection import Selection, selecting

__all__ = ["query_command"]


@click.command(name="query")
@click.argument("folder", type=Source(exists=True, file_okay=False))
@click.argument("question", metavar="SQL")
@click.option("--path", "paths", multiple=True, metavar="NAME", help="Only this path; repeatable.")
@selecting
@click.option("--csv", "as_csv", is_flag=True, help="Write the answer as CSV.")
@click.option("--json", "as_json", is_flag=True, help="Write the answer as JSON.")
def query_command(
    folder: Path | Bucket,
    question: str,
    paths: tuple[str, ...],
    selection: Selection,
    *,
    as_csv: bool,
    as_json: bool,
) -> None:
    """Ask an archive in SQL.

    FOLDER is an archive's, or `s3://BUCKET/PREFIX`; SQL is one SELECT of DuckDB's dialect. The tables are `rows`, with
    the columns of the archive, and `files`. Only files that can have selected rows are opened, and nothing can be
    written.
    """
    require_extra("compare")
    from experiments.commands.asking import ask  # noqa: PLC0415 - the engine is of no use to --help

    ask(folder, question, paths, selection, "json" if as_json else "csv" if as_csv else "")
