"""The two pages of a report: on two paths, on more, or on doors."""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from experiments.archive.selection import EVERYTHING, Selection
from experiments.comparison.figures import Options
from experiments.doors.model import FILE
from experiments.report.document import build_document, runs_of
from experiments.report.doors import build_doors, render_doors_html, render_doors_markdown
from experiments.report.pooling import pool_ways
from experiments.report.render import render_html, render_markdown, render_ways_html, render_ways_markdown
from experiments.report.ways import build_ways

__all__ = ["ReportPages", "pages_of"]


class ReportPages(NamedTuple):
    """What is written, and the answer in a sentence."""

    html: str
    markdown: str
    sentence: str


def pages_of(
    folder: Path,
    paths: tuple[str, ...],
    options: Options,
    selection: Selection = EVERYTHING,
    prices: Mapping[str, float] | None = None,
) -> ReportPages:
    """Read all runs of a folder, compare or rank, draw, and lay out; with what paths cost a day, in US dollars.

    Raises:
        InputError: the folder has no run, or one that is unusable.
        ConfigError: the paths do not exist, or are not obvious.
    """
    if (folder / FILE).is_file():
        doors = build_doors(folder)
        return ReportPages(render_doors_html(doors), render_doors_markdown(doors), doors.run.sentence)
    runs = runs_of(folder, paths, selection, options.metric)
    if (race := pool_ways(folder, runs, paths)) is not None:
        ways = build_ways(folder, race, options, prices)
        return ReportPages(render_ways_html(ways), render_ways_markdown(ways), ways.ranking.sentence)
    document = build_document(folder, runs, paths, options)
    return ReportPages(render_html(document), render_markdown(document), document.comparison.verdict.sentence)
