"""``experiment report``: a comparison as a page to read, print and send."""

from pathlib import Path

import click

from daemons.errors import ResultsError
from daemons.service.extra import require_extra
from daemons.service.settings.numbers import Number
from experiments.archive.bucket import Bucket, Source, at_hand
from experiments.archive.selection import Selection, selecting

__all__ = ["report_command"]


@click.command(name="report")
@click.argument("folder", type=Source())
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="[default: FOLDER/report.html; report.html here for a bucket]",
)
@click.option(
    "--path", "paths", multiple=True, metavar="NAME", help="Path to report on, twice or more; all by default."
)
@selecting
@click.option(
    "--metric", type=click.Choice(["end-to-end", "backbone"]), default="end-to-end", show_default=True, help="Latency."
)
@click.option("--margin-ms", type=Number(0), default=0.05, show_default=True, help="As for compare.")
@click.option("--seed", type=click.IntRange(0), default=1, show_default=True, help="Of the resampling.")
@click.option("--topology", metavar="NAME|FILE", help="What was measured, for the price a day of each path.")
def report_command(
    folder: Path | Bucket,
    output: Path | None,
    paths: tuple[str, ...],
    selection: Selection,
    metric: str,
    margin_ms: float,
    seed: int,
    topology: str | None,
) -> None:
    """Write a report about the runs in FOLDER and below: one HTML file, and Markdown beside it.

    All races in the folder are taken together, or all runs of two single paths; more than two paths are ranked. An
    archive's folder, or `s3://BUCKET/PREFIX`, is one race. The HTML file holds its figures and style and fetches
    nothing.
    """
    require_extra("report")
    # Help and completion need no matplotlib, which takes most of a second, and no tables.
    from daemons.service.console.screen import screen, sentence  # noqa: PLC0415
    from experiments.comparison.figures import Options  # noqa: PLC0415
    from experiments.comparison.model import METRICS  # noqa: PLC0415
    from experiments.report.pages import pages_of  # noqa: PLC0415
    from experiments.runs.manifest import recorded_prices  # noqa: PLC0415

    prices = recorded_prices(folder) if isinstance(folder, Path) else {}
    if topology is not None:
        from experiments.commands.hunting import priced  # noqa: PLC0415

        prices = priced(topology).usd_per_day
    options = Options(metric=METRICS[metric], margin_ms=margin_ms, seed=seed)
    with at_hand(folder, selection, paths) as here:
        pages = pages_of(here, paths, options, selection, prices)
    page = output or (folder / "report.html" if isinstance(folder, Path) else Path("report.html"))
    try:
        page.write_text(pages.html, encoding="utf-8")
        page.with_suffix(".md").write_text(pages.markdown, encoding="utf-8")
    except OSError as error:
        raise ResultsError(f"{page}: cannot be written: {error.strerror}; give another --output") from error
    console = screen()
    sentence(console, pages.sentence)
    sentence(console, f"{page} {page.with_suffix('.md')}")
