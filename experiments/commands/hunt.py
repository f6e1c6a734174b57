"""``experiment hunt``: which hosts, zones and networks of a deployment its race needs, and which may go."""

from pathlib import Path

import click

from daemons.service.extra import require_extra
from daemons.service.settings.numbers import Number
from experiments.archive.bucket import Bucket, Source
from experiments.archive.selection import Selection, selecting

__all__ = ["hunt_command"]


@click.command(name="hunt")
@click.argument("sources", nargs=-1, required=True, type=Source())
@click.option("--topology", required=True, metavar="NAME|FILE", help="What the deployment was built from.")
@selecting
@click.option(
    "--margin-ms", type=Number(0), default=0.05, show_default=True, help="Paths nearer to each other are as fast."
)
@click.option("--confidence", type=Number(0.5, 0.999), default=0.95, show_default=True, help="Of the intervals.")
@click.option("--seed", type=click.IntRange(0), default=1, show_default=True, help="Of the resampling.")
@click.option("--json", "as_json", is_flag=True, help="Write it as JSON instead of tables.")
def hunt_command(
    sources: tuple[Path | Bucket, ...],
    topology: str,
    selection: Selection,
    margin_ms: float,
    confidence: float,
    seed: int,
    *,
    as_json: bool,
) -> None:
    """Say which hosts of a deployment may go.

    SOURCES are races of the deployment's paths, one for each of its receivers: a results file, a run's folder, or an
    archive's folder or `s3://BUCKET/PREFIX`. The paths are ranked; what is shown to be later than another goes, of
    those that are as fast as each other the cheapest stays, and what could be the first stays. A forwarder or a
    network may go when all its paths go; those to a receiver whose race is not given do not. Prices are of the table
    that `provision cost` uses. Nothing is removed, and AWS is not asked.
    """
    require_extra("compare")
    from experiments.commands.hunting import hunt_in  # noqa: PLC0415 - numpy is of no use to --help

    hunt_in(sources, topology, selection, margin_ms, confidence, seed, as_json=as_json)
