"""``experiment import``: the raw files of egress validation runs, into the tables of this project."""

from pathlib import Path

import click

__all__ = ["import_command"]


@click.command(name="import")
@click.argument("folder", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--reference", metavar="NAME", help="Run to compare the others with.  [default: one named *baseline*]")
@click.option("--json", "as_json", is_flag=True, help="Write all figures as JSON instead of tables.")
def import_command(folder: Path, reference: str | None, *, as_json: bool) -> None:
    """Recompute egress validation runs from their raw samples.

    FOLDER is a run folder, or holds several. Prints what the run published (its statistics files, and the table in
    FOLDER/published.json where there is one), what its samples say, and why the two differ; then compares the runs,
    warm with warm and cold with cold.
    """
    from experiments.commands.auditing import audit_folder  # noqa: PLC0415 - numpy is of no use to --help

    audit_folder(folder, reference, as_json=as_json)
