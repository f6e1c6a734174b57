"""``experiment import``: what others recorded, in the tables of this project."""

from pathlib import Path

import click

from daemons.service.extra import require_extra
from experiments.results.mapping import UNITS, Mapping, TimeColumn

__all__ = ["import_command"]


class _Time(click.ParamType[TimeColumn]):
    """``COLUMN`` or ``COLUMN:UNIT``."""

    name = "column"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> TimeColumn:
        """Convert what was given."""
        name, colon, unit = str(value).rpartition(":")
        if not colon:
            return TimeColumn(str(value))
        if unit not in UNITS:
            self.fail(f"{unit!r} is no unit; write COLUMN:UNIT with one of {', '.join(UNITS)}", param, ctx)
        return TimeColumn(name, unit)


@click.command(name="import")
@click.argument("source", type=click.Path(path_type=Path, exists=True))
@click.argument("output", required=False, type=click.Path(path_type=Path, dir_okay=False))
@click.option("--arrival", type=_Time(), metavar="COLUMN[:UNIT]", help="When events arrived at the recorder.")
@click.option(
    "--event-time", type=_Time(), metavar="COLUMN[:UNIT]", help="When they happened, by the exchange's clock."
)
@click.option("--forwarder-time", type=_Time(), metavar="COLUMN[:UNIT]", help="When they passed a forwarder.")
@click.option("--event-id", metavar="COLUMN", help="The exchange's ids, by which two paths race.")
@click.option("--sequence", metavar="COLUMN", help="A forwarder's numbers, by which losses show.")
@click.option("--stream-column", metavar="COLUMN", help="Names of streams.")
@click.option("--stream", metavar="NAME", help="The stream's name, where no column has it.")
@click.option("--path", "path_name", metavar="NAME", help="The path's name.  [default: SOURCE's]")
@click.option("--reference", metavar="NAME", help="Run to compare the others with.  [default: one named *baseline*]")
@click.option("--json", "as_json", is_flag=True, help="Write all figures as JSON instead of tables.")
def import_command(
    source: Path,
    output: Path | None,
    arrival: TimeColumn | None,
    event_time: TimeColumn | None,
    forwarder_time: TimeColumn | None,
    event_id: str | None,
    sequence: str | None,
    stream_column: str | None,
    stream: str | None,
    path_name: str | None,
    reference: str | None,
    *,
    as_json: bool,
) -> None:
    """Take in what others recorded: another recorder's CSV file, or egress validation runs.

    A SOURCE that is a CSV file (or .csv.gz) becomes OUTPUT, a results table (.csv) that compare and report take, or
    one of the files that export writes. Options say which of its columns is what; units are s, ms, us or ns, and
    without one each cell's size says it. Moments in ISO 8601 are read, too.

    A SOURCE that is a folder is a run folder, or holds several. Prints what the run published (its statistics files,
    and the table in FOLDER/published.json where there is one), what its samples say, and why the two differ; then
    compares the runs, warm with warm and cold with cold.
    """
    mapped = (arrival, event_time, forwarder_time, event_id, sequence, stream_column, stream)
    if source.is_dir():
        if output is not None or path_name is not None or any(one is not None for one in mapped):
            raise click.UsageError(f"{source} is a folder of egress runs, which has no columns to map")
        require_extra("compare")
        from experiments.commands.auditing import audit_folder  # noqa: PLC0415 - numpy is of no use to --help

        audit_folder(source, reference, as_json=as_json)
        return
    if as_json or reference is not None:
        raise click.UsageError("--json and --reference are for folders of egress runs")
    if output is None or arrival is None:
        raise click.UsageError("name OUTPUT, and the column of arrivals: import rec.csv run.csv --arrival COLUMN")
    require_extra("compare")
    from experiments.commands.asking import import_rows  # noqa: PLC0415 - the engine is of no use to --help

    name = path_name or source.name.removesuffix(".gz").removesuffix(".csv")
    mapping = Mapping(name, arrival, event_time, forwarder_time, event_id, sequence, stream_column, stream or "")
    import_rows(source, output, mapping)
