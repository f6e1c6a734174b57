"""``experiment report``: a comparison as a page to read, print and send."""

from pathlib import Path

import click

from daemons.errors import ResultsError
from daemons.service.numbers import Number
from daemons.service.screen import screen, sentence
from experiments.archive.selection import Selection, selecting

__all__ = ["report_command"]


@click.command(name="report")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--output", type=click.Path(path_type=Path), metavar="FILE", help="[default: FOLDER/report.html]")
@click.option(
    "--path", "paths", multiple=True, metavar="NAME", help="Path to report on, twice or more; all by default."
)
@selecting
@click.option(
    "--metric", type=click.Choice(["end-to-end", "backbone"]), default="end-to-end", show_default=True, help="Latency."
)
@click.option("--margin-ms", type=Number(0), default=0.05, show_default=True, help="As for compare.")
@click.option("--seed", type=click.IntRange(0), default=1, show_default=True, help="Of the resampling.")
def report_command(
    folder: Path,
    output: Path | None,
    paths: tuple[str, ...],
    from_ns: int | None,
    to_ns: int | None,
    streams: tuple[str, ...],
    metric: str,
    margin_ms: float,
    seed: int,
) -> None:
    """Write a report about the runs in FOLDER and below: one HTML file, and Markdown beside it.

    All races in the folder are taken together, or all runs of two single paths; more than two paths are ranked. An
    archive's folder is one race. The HTML file holds its figures and style and fetches nothing.
    """
    # Help and completion need no matplotlib, which takes most of a second.
    from experiments.comparison.figures import Options  # noqa: PLC0415
    from experiments.comparison.model import METRICS  # noqa: PLC0415
    from experiments.report.pages import pages_of  # noqa: PLC0415

    options = Options(metric=METRICS[metric], margin_ms=margin_ms, seed=seed)
    pages = pages_of(folder, paths, options, Selection(from_ns, to_ns, streams))
    page = output or folder / "report.html"
    try:
        page.write_text(pages.html, encoding="utf-8")
        page.with_suffix(".md").write_text(pages.markdown, encoding="utf-8")
    except OSError as error:
        raise ResultsError(f"{page}: cannot be written: {error.strerror}; give another --output") from error
    console = screen()
    sentence(console, pages.sentence)
    sentence(console, f"{page} {page.with_suffix('.md')}")
