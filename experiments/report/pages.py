"""The two pages of a report: on two paths, or on more."""

from pathlib import Path
from typing import NamedTuple

from experiments.archive.selection import EVERYTHING, Selection
from experiments.comparison.figures import Options
from experiments.report.document import build_document, runs_of
from experiments.report.pooling import pool_ways
from experiments.report.render import render_html, render_markdown, render_ways_html, render_ways_markdown
from experiments.report.ways import build_ways

__all__ = ["ReportPages", "pages_of"]


class ReportPages(NamedTuple):
    """What is written, and the answer in a sentence."""

    html: str
    markdown: str
    sentence: str


def pages_of(folder: Path, paths: tuple[str, ...], options: Options, selection: Selection = EVERYTHING) -> ReportPages:
    """Read all runs of a folder, compare or rank, draw, and lay out.

    Raises:
        InputError: the folder has no run, or one that is unusable.
        ConfigError: the paths do not exist, or are not obvious.
    """
    runs = runs_of(folder, paths, selection)
    if (race := pool_ways(folder, runs, paths)) is not None:
        ways = build_ways(folder, race, options)
        return ReportPages(render_ways_html(ways), render_ways_markdown(ways), ways.ranking.sentence)
    document = build_document(folder, runs, paths, options)
    return ReportPages(render_html(document), render_markdown(document), document.comparison.verdict.sentence)
