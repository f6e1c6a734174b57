"""``experiment compare``: which of two paths, or of many, is faster, by how much, and how sure that is."""

from pathlib import Path

import click

from daemons.service.extra import require_extra
from daemons.service.settings.numbers import Number
from experiments.archive.bucket import Bucket, Source
from experiments.archive.selection import Selection, selecting

__all__ = ["compare_command"]


@click.command(name="compare")
@click.argument("sources", nargs=-1, required=True, type=Source())
@click.option(
    "--path",
    "paths",
    multiple=True,
    metavar="NAME",
    help="Path to compare; give it once per side, or as often as paths are to be ranked.  "
    "[default: the run's primary path; of a race all]",
)
@selecting
@click.option(
    "--metric",
    type=click.Choice(["end-to-end", "backbone"]),
    default="end-to-end",
    show_default=True,
    help="Event time to arrival, or forwarder to receiver.",
)
@click.option(
    "--margin-ms",
    type=Number(0),
    default=0.05,
    show_default=True,
    help="A smaller difference in delay is not worth naming.",
)
@click.option("--confidence", type=Number(0.5, 0.999), default=0.95, show_default=True, help="Of the intervals.")
@click.option("--seed", type=click.IntRange(0), default=1, show_default=True, help="Of the resampling.")
@click.option("--topology", metavar="NAME|FILE", help="What was measured, for the price a day of each path.")
@click.option("--json", "as_json", is_flag=True, help="Write the comparison as JSON instead of a table.")
def compare_command(
    sources: tuple[Path | Bucket, ...],
    paths: tuple[str, ...],
    selection: Selection,
    metric: str,
    margin_ms: float,
    confidence: float,
    seed: int,
    topology: str | None,
    *,
    as_json: bool,
) -> None:
    """Compare two runs, or rank the paths of one race.

    SOURCES are one or two results files (JSON or CSV; the other of the two is found beside it), run folders, or
    archives' folders or `s3://BUCKET/PREFIX`, of which only the files that the question is about are read.
    The result files of the earlier Rust programs are understood too. Differences are second minus first.
    A race of more than two paths is ranked: intervals of all differences hold together, and paths that cannot be told
    apart are named.

    Exits with 3 when clocks do not allow the comparison.
    """
    if len(sources) > 2:
        raise click.UsageError(f"{len(sources)} sources given; compare takes one race or two runs")
    require_extra("compare")
    from experiments.commands.comparing import compare_sources  # noqa: PLC0415 - numpy is of no use to --help

    prices = {}
    if topology is not None:
        from experiments.commands.hunting import priced  # noqa: PLC0415 - likewise

        prices = priced(topology).usd_per_day
    compare_sources(sources, paths, selection, metric, margin_ms, confidence, seed, prices, as_json=as_json)
