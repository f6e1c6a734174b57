"""Lay a document out as one HTML file that needs nothing else, and as Markdown."""

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from markupsafe import Markup

from daemons.measurement.percentile import PERCENTILES, minimum_samples
from experiments.comparison.model import Comparison, Figure
from experiments.comparison.wording import figure_title, format_interval, format_value
from experiments.ranking.table import place, seen_from
from experiments.report.document import Document
from experiments.report.ways import WaysDocument

__all__ = ["environment", "render_html", "render_markdown", "render_ways_html", "render_ways_markdown"]


def render_html(document: Document) -> str:
    """Give the report as HTML."""
    return environment().get_template("report.html.j2").render(_context(document))


def render_markdown(document: Document) -> str:
    """Give the report as Markdown, without figures."""
    return environment().get_template("report.md.j2").render(_context(document))


def render_ways_html(document: WaysDocument) -> str:
    """Give the report on more than two paths as HTML."""
    return environment().get_template("ways.html.j2").render(_ways(document))


def render_ways_markdown(document: WaysDocument) -> str:
    """Give the report on more than two paths as Markdown, without figures."""
    return environment().get_template("ways.md.j2").render(_ways(document))


def _ways(document: WaysDocument) -> dict[str, object]:
    ranking = document.ranking
    headline, *besides = ranking.sentence.split("; ")
    names = [path.path for path in ranking.paths]
    matrix = {row: [None if row == column else seen_from(ranking, row, column) for column in names] for row in names}
    return {
        "document": document,
        "ranking": ranking,
        "headline": headline,
        "besides": besides,
        "matrix": matrix,
        "place_of": place,
        "priced": any(path.price_per_day is not None for path in ranking.paths),
    }


def environment() -> Environment:
    """Make what lays templates out."""
    made = Environment(
        loader=PackageLoader("experiments.report"),
        autoescape=select_autoescape(enabled_extensions=("html.j2",), default_for_string=False),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters["value"] = lambda value, unit="ms", signed=False: format_value(value, unit, signed=signed)
    made.filters["interval"] = format_interval
    made.filters["svg"] = Markup
    made.globals["title_of"] = figure_title
    return made


def _context(document: Document) -> dict[str, object]:
    comparison = document.comparison
    headline, *besides = comparison.verdict.sentence.split("; ")
    return {
        "headline": headline,
        "besides": besides,
        "document": document,
        "comparison": comparison,
        "keys": _key_figures(comparison),
        "difference_of": _difference,
        "needed": {name: minimum_samples(p) for name, p in PERCENTILES.items()},
    }


def _difference(figure: Figure) -> str:
    text = format_value(figure.difference, figure.unit, signed=True)
    return text if figure.relative is None else f"{text} ({figure.relative * 100:+.0f} %)"


def _key_figures(comparison: Comparison) -> list[tuple[str, str, str]]:
    """Choose what stands in large type below the verdict: title, value, and what it is worth."""
    found: list[tuple[str, str, str]] = []
    race, confidence = comparison.race, f"{comparison.confidence * 100:.0f} % CI"
    if race is not None:
        interval = race.median_lead_interval
        found.append(
            (
                f"median lead of {comparison.second.label}",
                f"{format_value(race.median_lead_ms, 'ms', signed=True)} ms",
                f"{confidence} {format_interval(interval, 'ms')}" if interval is not None else "no interval",
            )
        )
        found.append((f"{comparison.second.label} first", f"{race.win_share * 100:.1f} %", f"of {race.pairs:,} events"))
    else:
        median = comparison.figure("median")
        found.append(
            (
                "median difference",
                f"{format_value(median.difference, 'ms', signed=True)} ms",
                f"{confidence} {format_interval(median.interval, 'ms')}"
                if median.interval is not None
                else median.note,
            )
        )
    spread = comparison.figure("stddev")
    if spread.relative is not None:
        interval = spread.relative_interval
        reach = f"{confidence} {interval.low * 100:.0f} to {interval.high * 100:.0f} %" if interval else spread.note
        found.append(("jitter (standard deviation)", f"{spread.relative * 100:+.0f} %", reach))
    loss = comparison.figure("loss")
    if loss.difference is not None:
        found.append(
            (
                "loss",
                f"{format_value(loss.difference, 'share', signed=True)} pp",
                f"{format_value(loss.first, 'share')} against {format_value(loss.second, 'share')} %",
            )
        )
    return found
