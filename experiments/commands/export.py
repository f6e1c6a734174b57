"""``experiment export``: rows of an archive, or of a run, for other programs."""

from pathlib import Path

import click

from daemons.service.extra import require_extra
from experiments.archive.bucket import Bucket, Source
from experiments.archive.selection import Selection, selecting

__all__ = ["export_command"]

_SUFFIXES = (".npz", ".csv", ".arrow")


def _known(ctx: click.Context, param: click.Parameter, file: Path) -> Path:
    if file.suffix not in _SUFFIXES:
        raise click.BadParameter(f"{file.name!r} ends in none of {', '.join(_SUFFIXES)}", ctx, param)
    return file


@click.command(name="export")
@click.argument("source", type=Source(exists=True))
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False), callback=_known)
@click.option("--path", "paths", multiple=True, metavar="NAME", help="Only this path; repeatable.")
@selecting
def export_command(
    source: Path | Bucket,
    file: Path,
    paths: tuple[str, ...],
    selection: Selection,
) -> None:
    """Write rows to FILE for other programs.

    SOURCE is an archive's folder, `s3://BUCKET/PREFIX`, or a run: its CSV file or its folder. FILE's suffix says how:
    .npz is hftbacktest's feed input (of one path's live samples, so that a strategy is replayed with measured latency),
    .csv is what receivers write, .arrow has all of the archive's columns.
    """
    if file.suffix == ".npz" and len(paths) != 1:
        raise click.UsageError("hftbacktest replays one feed: name its path with --path")
    require_extra("compare")
    from experiments.commands.asking import export_rows  # noqa: PLC0415 - the engine is of no use to --help

    export_rows(source, file, paths, selection)
