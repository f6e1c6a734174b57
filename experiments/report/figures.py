"""The figures of a report, as SVG to be put into the page.

Two colours that every kind of colour vision tells apart (Okabe and Ito), and a dash for the second path, so that the
figures survive a black-and-white printer. Colours are the page's variables, which are others on a dark screen. Text
stays text: it is set in the page's own font and can be searched. Each figure is drawn twice, wide and narrow, because
text that shrinks with its picture cannot be read on a phone; and it says in words what it shows, for those who do not
see it.
"""

import html
import io
import re
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure

from experiments.report.timeline import HourCells, Timeline
from experiments.results.columns import Floats
from experiments.statistics.sample import Sample

__all__ = [
    "Bar",
    "Curve",
    "Drawn",
    "Stack",
    "cdf",
    "heat_map",
    "histogram",
    "intervals",
    "lead_histogram",
    "percentile_spectrum",
    "stacked",
    "strips",
    "time_series",
]

_COLOURS = ("#0072B2", "#D55E00")
_DASHES: tuple[Any, ...] = ("-", (0, (5, 2)))
_INK = "#2b2f36"
_GRID = "#dfe3e8"
_WIDTHS = {"wide": 7.4, "narrow": 3.9}
"""In inches of 72 px: the column of a page, and a phone held upright."""
_NARROW_NAME = 16
"""Characters of a name in a line of a narrow picture."""

_VARIABLES = {
    "#0072b2": "--first",
    "#d55e00": "--second",
    "#2b2f36": "--ink",
    "#dfe3e8": "--rule",
    "#8a919c": "--axis",
    "#59606b": "--soft",
}
"""The page's variables for the colours drawn with."""
_STYLE: Any = {
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 9,
    "axes.edgecolor": "#8a919c",
    "axes.labelcolor": _INK,
    "axes.linewidth": 0.7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "xtick.color": "#59606b",
    "ytick.color": "#59606b",
    "text.color": _INK,
    "legend.frameon": False,
    "axes.unicode_minus": True,
}
_LEVELS = 600
_HATCHES = ("", "//", "..", "\\\\", "xx")


@dataclass(frozen=True)
class Curve:
    """One path's samples, in ms, and its name."""

    label: str
    sample: Sample


@dataclass(frozen=True)
class Bar:
    """A value in ms with the ends of its interval, where it has one, and its name."""

    label: str
    value: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Stack:
    """Parts that follow one another, in ms, and their name."""

    label: str
    parts: dict[str, float]


@dataclass(frozen=True)
class Drawn:
    """One figure in both widths, as SVG elements with their text alternative."""

    wide: str
    narrow: str


def cdf(curves: Sequence[Curve]) -> Drawn:
    """Draw which share of samples took at most how long."""

    def draw(axes: Axes) -> None:
        levels = np.linspace(0, 1, _LEVELS)
        for index, curve in enumerate(curves):
            axes.plot(curve.sample.quantiles(levels.tolist()), levels * 100, **_line(index, curve.label))
        axes.set_xlim(_body([curve.sample for curve in curves]))
        axes.set_ylim(0, 100)
        axes.set_xlabel("latency, ms")
        axes.set_ylabel("share of samples, %")

    return _render("cdf", draw, _told(curves), legend=True)


def stacked(stacks: Sequence[Stack]) -> Drawn:
    """Draw parts one after the other, a bar each; neighbours differ in shade and hatching."""
    names = list(dict.fromkeys(name for stack in stacks for name in stack.parts))

    def draw(axes: Axes) -> None:
        for index, name in enumerate(names):
            widths = [stack.parts.get(name, 0.0) for stack in stacks]
            lefts = [_before(stack, name) for stack in stacks]
            style: Any = {"color": _COLOURS[index % 2], "alpha": 1 - 0.3 * (index // 2), "hatch": _HATCHES[index % 5]}
            axes.barh(range(len(stacks)), widths, left=lefts, label=name, edgecolor=_GRID, **style)
        _name_rows(axes, [stack.label for stack in stacks])
        axes.invert_yaxis()
        axes.set_xlabel("ms")

    told = "; ".join(
        f"{stack.label}: {', '.join(f'{name} {value:.3f} ms' for name, value in stack.parts.items())}"
        for stack in stacks
    )
    return _render("stacked", draw, told, height=1.2 + 0.4 * len(stacks), legend=True)


def intervals(bars: Sequence[Bar], axis: str) -> Drawn:
    """Draw values with their intervals, one below the other; the first is what the others are held against."""

    def draw(axes: Axes) -> None:
        for place, bar in enumerate(bars):
            if bar.low is not None and bar.high is not None:
                axes.hlines(place, bar.low, bar.high, color=_COLOURS[0], linewidth=3, alpha=0.45)
            axes.plot([bar.value], [place], marker="o", color=_COLOURS[0], markersize=4.5, linestyle="")
        axes.axvline(0, color=_INK, linewidth=0.9)
        _name_rows(axes, [bar.label for bar in bars])
        axes.set_ylim(len(bars) - 0.5, -0.5)
        axes.set_xlabel(axis)

    told = "; ".join(
        f"{bar.label}: {bar.value:.3f} ms" + (f" ({bar.low:.3f} to {bar.high:.3f})" if bar.low is not None else "")
        for bar in bars
    )
    return _render("intervals", draw, told, height=0.9 + 0.3 * len(bars))


def strips(labels: Sequence[str], edges_seconds: Floats, values: Floats) -> Drawn:
    """Draw series over time as strips of colour, one below the other; white where there is nothing."""
    unit, seconds = _time_unit(float(edges_seconds[-1]))

    def draw(axes: Axes) -> None:
        rows = np.arange(len(labels) + 1) - 0.5
        drawn = axes.pcolormesh(edges_seconds / seconds, rows, np.ma.masked_invalid(values), cmap="cividis")
        # As one picture in the file: a path for each cell would be ten times as long.
        drawn.set_rasterized(True)
        _name_rows(axes, labels)
        axes.set_ylim(len(labels) - 0.5, -0.5)
        axes.set_xlabel(f"time since the start, {unit}")
        _explain_colours(axes, drawn, "median lag, ms")

    told = "; ".join(
        f"{label}: from {np.nanmin(line):.2f} to {np.nanmax(line):.2f} ms"
        for label, line in zip(labels, values, strict=True)
    )
    return _render("strips", draw, told, height=1.1 + 0.3 * len(labels), grid=False)


def _before(stack: Stack, name: str) -> float:
    """Give where a part begins: after all that stand before it."""
    names = list(stack.parts)
    return sum(stack.parts[each] for each in names[: names.index(name)]) if name in stack.parts else 0.0


def histogram(curves: Sequence[Curve]) -> Drawn:
    """Draw how the samples are distributed, both paths on common bins."""

    def draw(axes: Axes) -> None:
        low, high = _body([curve.sample for curve in curves])
        bins = np.linspace(low, high, 121)
        for index, curve in enumerate(curves):
            share = curve.sample.counts_between(bins) / len(curve.sample) * 100
            axes.stairs(share, bins, fill=True, color=_COLOURS[index], alpha=0.22)
            axes.stairs(share, bins, **_line(index, curve.label))
        axes.set_xlim(low, high)
        axes.set_xlabel("latency, ms")
        axes.set_ylabel("share of samples per bin, %")

    return _render("histogram", draw, _told(curves), legend=True)


def percentile_spectrum(curves: Sequence[Curve]) -> Drawn:
    """Draw latency by percentile on an axis that stretches the tail; it ends ten samples before the largest."""

    def draw(axes: Axes) -> None:
        deepest = 2.0
        for index, curve in enumerate(curves):
            last = max(len(curve.sample) / 10, 2.0)
            deepest = max(deepest, last)
            odds = np.geomspace(1, last, 300)
            axes.plot(odds, curve.sample.quantiles((1 - 1 / odds).tolist()), **_line(index, curve.label))
        ticks = {1: "min", 2: "p50", 10: "p90", 100: "p99", 1000: "p99.9", 10_000: "p99.99", 100_000: "p99.999"}
        shown = {odds: name for odds, name in ticks.items() if odds <= deepest}
        axes.set_xscale("log")
        axes.set_xticks(list(shown), list(shown.values()))
        axes.set_xticks([], minor=True)
        axes.set_xlim(1, deepest)
        axes.set_xlabel("percentile")
        axes.set_ylabel("latency, ms")

    return _render("spectrum", draw, _told(curves), legend=True)


def time_series(timelines: Sequence[tuple[str, Timeline]]) -> Drawn:
    """Draw the median over time, and the band between p5 and p95 around it."""

    def draw(axes: Axes) -> None:
        unit, seconds = _time_unit(max(float(line.seconds[-1]) for _, line in timelines))
        for index, (label, line) in enumerate(timelines):
            at = line.seconds / seconds
            axes.fill_between(at, line.low, line.high, color=_COLOURS[index], alpha=0.16, linewidth=0)
            axes.plot(at, line.median, **_line(index, label))
            # A bin without neighbours is neither line nor band: runs an hour apart are points with their range.
            lone = line.lone()
            axes.vlines(at[lone], line.low[lone], line.high[lone], color=_COLOURS[index], alpha=0.35, linewidth=1.2)
            axes.plot(
                at[lone], line.median[lone], color=_COLOURS[index], linestyle="", marker="os"[index], markersize=3
            )
        axes.set_xlabel(f"time since the start, {unit}")
        axes.set_ylabel("latency, ms")
        axes.margins(x=0)

    told = [
        f"{label}: medians from {np.nanmin(line.median):.2f} to {np.nanmax(line.median):.2f} ms"
        for label, line in timelines
    ]
    return _render("time", draw, "; ".join(told), legend=True)


def lead_histogram(lead_ms: Sample, first: str, second: str) -> Drawn:
    """Draw how much earlier the second path was, event by event."""

    def draw(axes: Axes) -> None:
        low, high = _body([lead_ms])
        low, high = min(low, 0.0), max(high, 0.0)
        margin = (high - low) * 0.14
        bins = np.linspace(low - margin, high + margin, 161)
        share = lead_ms.counts_between(bins) / len(lead_ms) * 100
        earlier = (bins[:-1] + bins[1:]) / 2 > 0
        for index, part in ((1, earlier), (0, ~earlier)):
            axes.stairs(np.where(part, share, 0), bins, fill=True, color=_COLOURS[index], alpha=0.75)
        axes.axvline(0, color=_INK, linewidth=0.9)
        median = lead_ms.quantile(0.5)
        axes.axvline(median, color=_INK, linewidth=0.9, linestyle=(0, (4, 2)))
        axes.annotate(
            f"median {median:.2f} ms",
            (median, 1.0),
            xycoords=("data", "axes fraction"),
            xytext=(-5 if median > (low + high) / 2 else 5, -4),
            textcoords="offset points",
            ha="right" if median > (low + high) / 2 else "left",
            va="top",
        )
        axes.set_xlim(bins[0], bins[-1])
        axes.set_xlabel(f"lead of {second}, ms")
        beside_zero: Any = {"xycoords": ("data", "axes fraction"), "textcoords": "offset points", "va": "bottom"}
        axes.annotate(f"{second} first →", (0, 1.01), xytext=(4, 2), ha="left", color=_COLOURS[1], **beside_zero)
        axes.annotate(f"← {first} first", (0, 1.01), xytext=(-4, 2), ha="right", color=_COLOURS[0], **beside_zero)
        axes.set_ylabel("share of events per bin, %")

    low, median, high = lead_ms.quantiles([0.05, 0.5, 0.95])
    earlier = lead_ms.counts_between(np.array([0.0, np.inf])).sum() - lead_ms.count(0.0)
    share = earlier / len(lead_ms) * 100
    told = (
        f"{second} against {first}: median lead {median:.2f} ms, "
        f"nine events in ten between {low:.2f} and {high:.2f} ms, {second} first in {share:.1f} %"
    )
    return _render("lead", draw, told)


def heat_map(cells: HourCells, unit: str) -> Drawn:
    """Draw the median per day, or path, and hour of day (UTC)."""

    def draw(axes: Axes) -> None:
        drawn = axes.imshow(np.ma.masked_invalid(cells.values), cmap="cividis", aspect="auto")
        # On a phone a cell has room for its colour alone.
        roomy = _roomy(axes)
        hours = range(0, 24, 1 if roomy else 4)
        axes.set_xticks(hours, [str(hour) for hour in hours])
        _name_rows(axes, cells.days)
        axes.tick_params(length=0)
        axes.set_xlabel("hour of day, UTC")
        for side in axes.spines.values():
            side.set_visible(False)
        low, high = float(np.nanmin(cells.values)), float(np.nanmax(cells.values))
        middle, decimals = (low + high) / 2, 0 if high - low > 10 else 1
        for (row, column), value in np.ndenumerate(cells.values):
            if roomy and not np.isnan(value):
                colour = "white" if value < middle else "#10131a"
                size = 6.2 if decimals else 7
                axes.text(column, row, f"{value:.{decimals}f}", ha="center", va="center", fontsize=size, color=colour)
        _explain_colours(axes, drawn, unit)

    told = f"{unit}: from {np.nanmin(cells.values):.2f} to {np.nanmax(cells.values):.2f} over {cells.hours} hours"
    return _render("hours", draw, told, height=1.1 + 0.32 * len(cells.days), grid=False)


def _roomy(axes: Axes) -> bool:
    assert axes.figure is not None
    return axes.figure.bbox.width > _WIDTHS["narrow"] * axes.figure.dpi


def _name_rows(axes: Axes, names: Sequence[str]) -> None:
    """Name what lies one below the other; on a phone in several lines, so that the names leave room for the rest."""
    folded = names if _roomy(axes) else [textwrap.fill(name, _NARROW_NAME) for name in names]
    axes.set_yticks(range(len(names)), list(folded))


def _explain_colours(axes: Axes, drawn: ScalarMappable, unit: str) -> None:
    """Say which colour is which value: at the side, and on a phone below."""
    assert axes.figure is not None
    place: Any = {"fraction": 0.04} if _roomy(axes) else {"location": "bottom", "fraction": 0.06, "aspect": 40}
    bar = axes.figure.colorbar(drawn, ax=axes, pad=0.015, **place)
    bar.set_label(unit)
    bar.outline.set_visible(False)


def _line(index: int, label: str) -> dict[str, Any]:
    return {"color": _COLOURS[index], "linestyle": _DASHES[index], "linewidth": 1.5, "label": label}


def _body(series: Sequence[Sample]) -> tuple[float, float]:
    """Give the range that holds all but the last thousandth on either side, so that one outlier hides nothing."""
    low = min(values.quantile(0.001) for values in series)
    high = max(values.quantile(0.999) for values in series)
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def _time_unit(span_seconds: float) -> tuple[str, float]:
    if span_seconds > 3 * 3600:
        return "h", 3600.0
    return ("min", 60.0) if span_seconds > 300 else ("s", 1.0)


def _told(curves: Sequence[Curve]) -> str:
    """Say in words what curves of latency show."""
    return "; ".join(
        f"{curve.label}: median {median:.2f} ms, p95 {p95:.2f} ms, p99 {p99:.2f} ms"
        for curve in curves
        for median, p95, p99 in [curve.sample.quantiles([0.5, 0.95, 0.99])]
    )


def _render(
    name: str, draw: Callable[[Axes], None], told: str, *, height: float = 2.9, legend: bool = False, grid: bool = True
) -> Drawn:
    """Draw one figure in both widths.

    Args:
        name: keeps its ids apart from those of other figures.
        draw: draws.
        told: what it shows, in words.
        height: in inches.
        legend: whether there are several lines to tell apart.
        grid: whether there is one.
    """
    drawn = {}
    for width, inches in _WIDTHS.items():
        with mpl.rc_context({**_STYLE, "svg.hashsalt": f"{name}-{width}"}):
            figure = Figure(figsize=(inches, height), layout="constrained")
            FigureCanvasSVG(figure)
            axes = figure.add_subplot()
            if grid:
                axes.grid(color=_GRID, linewidth=0.6)
            draw(axes)
            if legend:
                axes.legend(
                    loc="lower left", bbox_to_anchor=(0, 0.98), ncols=2 if width == "wide" else 1, handlelength=2.6
                )
            buffer = io.StringIO()
            figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
        drawn[width] = _for_page(buffer.getvalue(), width, told)
    return Drawn(**drawn)


def _for_page(svg: str, width: str, told: str) -> str:
    """Take an element out of a file: without ids that nothing uses and sizes of its own, in the page's colours."""
    svg = svg[svg.index("<svg") :]
    used = set(re.findall(r"#([\w.-]+)", svg))
    svg = re.sub(r' id="([^"]+)"', lambda found: found[0] if found[1] in used else "", svg)
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(
        r"(?<=: )#[0-9a-f]{6}\b",
        lambda found: f"var({_VARIABLES[found[0]]}, {found[0]})" if found[0] in _VARIABLES else found[0],
        svg,
    )
    head, rest = svg.split(">", 1)
    head = re.sub(r' (?:width|height)="[^"]*"', "", head)
    return f'{head} class="{width}" role="img" aria-label="{html.escape(told)}">{rest}'
