"""What a report contains, as values; the templates only lay it out."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from daemons.formats.summary import BackboneLatencies, ClockSummary, Distribution, PathSummary, TailCause
from daemons.measurement.segments import SEGMENTS, TOTAL
from daemons.measurement.tail.causes import MEANINGS, Cause
from experiments.archive.selection import EVERYTHING, Selection
from experiments.comparison.compute import Compared, compare_in_full
from experiments.comparison.figures import Options
from experiments.comparison.model import Comparison, Metric
from experiments.comparison.sides import Side
from experiments.errors import InputError
from experiments.report import figures
from experiments.report.colophon import program, written
from experiments.report.pooling import pool_runs
from experiments.report.timeline import HourCells, hour_cells, timeline
from experiments.results.columns import Integers, collected, pieces
from experiments.results.run import Run, find_runs, load_run
from experiments.results.series import PathSeries, unused_columns
from experiments.statistics.sample import Sample

__all__ = ["ClockRow", "Document", "Drawing", "OwnDelayRow", "RunRow", "TailRow", "build_document", "runs_of"]


@dataclass(frozen=True)
class Drawing:
    """A figure with its title and the sentence that says how to read it."""

    title: str
    caption: str
    drawn: figures.Drawn


@dataclass(frozen=True)
class ClockRow:
    """One clock during one run."""

    run: str
    role: str
    clock: ClockSummary
    rtt_ms: float | None = None
    cross_check: str = ""


@dataclass(frozen=True)
class OwnDelayRow:
    """The measurer's own share on one path of one run, beside what is left for the network."""

    run: str
    path: str
    host_delay: Distribution
    hold: Distribution
    one_way_delay: Distribution


@dataclass(frozen=True)
class SegmentRows:
    """The parts of the delay on one path of one run, in their order, and the total that their means add up to.

    Attributes:
        error_ms: how far the total may be off because of clocks and of the step of event times; None if not known.
    """

    run: str
    path: str
    parts: dict[str, Distribution]
    total: Distribution
    error_ms: float | None

    @property
    def sum_of_means_ms(self) -> float:
        """What the means of the parts add up to; those of events without an event time begin at the forwarder."""
        return sum((part.avg_ms or 0.0) * part.sample_count for part in self.parts.values()) / self.total.sample_count


@dataclass(frozen=True)
class TailRow:
    """What put events into the tail of one path of one run.

    Attributes:
        of: all events of that tail.
    """

    run: str
    path: str
    cause: Cause
    found: TailCause
    of: int

    @property
    def share(self) -> float:
        """The part of that tail, in percent."""
        return 100 * self.found.events / self.of

    @property
    def meaning(self) -> str:
        """The cause in words."""
        return MEANINGS[self.cause]


@dataclass(frozen=True)
class RunRow:
    """One run of several."""

    name: str
    start: str
    rows: int
    median: dict[str, float | None]


@dataclass(frozen=True)
class Document:
    """A report."""

    folder: str
    written: str
    program: str
    comparison: Comparison
    drawings: list[Drawing]
    missing_drawings: list[str]
    clocks: list[ClockRow]
    own_delays: list[OwnDelayRow]
    segments: list[SegmentRows]
    tails: list[TailRow]
    runs: list[RunRow]


def runs_of(
    folder: Path,
    paths: tuple[str, ...] = (),
    selection: Selection = EVERYTHING,
    metric: Metric | None = None,
) -> list[Run]:
    """Read all runs of a folder: their selected rows, and of an archive the paths that are named.

    Args:
        folder: of the runs, or an archive's.
        paths: those that are named; all by default.
        selection: which rows.
        metric: the only one that is wanted, so that columns which it does not need are not read.

    Raises:
        InputError: the folder has no run, or one that is unusable.
    """
    sources = find_runs(folder)
    if not sources:
        raise InputError(folder, None, "holds no results", "name the folder with the JSON and CSV files of a run")
    # Several runs are put together with all that they have; one is compared as a race.
    without = unused_columns(metric, race=True) if metric is not None and len(sources) == 1 else frozenset[str]()
    return [load_run(source, selection=selection, paths=paths, without=without) for source in sources]


def build_document(folder: Path, runs: list[Run], paths: tuple[str, ...], options: Options) -> Document:
    """Compare the two paths of a folder's runs, and draw.

    Raises:
        InputError: a run has no rows.
    """
    first, second = pool_runs(folder, runs, paths)
    compared = compare_in_full(first, second, options)
    drawings, missing = _draw(first, second, compared, options)
    segments = [rows for run in runs for rows in _segment_rows(run)]
    if segments:
        drawings.append(_parts(segments))
    return Document(
        folder=folder.resolve().name,
        written=written(),
        program=program(),
        comparison=compared.comparison,
        drawings=drawings,
        missing_drawings=missing,
        clocks=[row for run in runs for row in _clock_rows(run)],
        own_delays=[row for run in runs for row in _own_delay_rows(run)],
        segments=segments,
        tails=[row for run in runs for row in _tail_rows(run)],
        runs=[_run_row(run, options) for run in runs] if len(runs) > 1 else [],
    )


def _draw(first: Side, second: Side, compared: Compared, options: Options) -> tuple[list[Drawing], list[str]]:
    """Draw what the data allow; name what they do not."""
    one, two = first.series, second.series
    assert one is not None
    assert two is not None
    drawings: list[Drawing] = []
    missing: list[str] = []
    lead = None if compared.later is None else compared.later.negated()
    if lead is not None:
        drawings.append(_lead(lead, first, second))
    timed = [series.timed_samples(options.metric) for series in (one, two)]
    curves = [
        figures.Curve(side.label, Sample(values)) for side, (_, values) in zip((first, second), timed, strict=True)
    ]
    if all(len(curve.sample) > 1 for curve in curves):
        drawings += _distributions(curves)
        drawings.append(_over_time(curves, [times for times, _ in timed]))
    else:
        missing.append("distributions of latency: a path has no sample of it, for its events carry no event time")
    hours = _hours_of_latency(one, two, options) if lead is None else _hours_of_lead(one, compared.first_rows, lead)
    if isinstance(hours, Drawing):
        drawings.append(hours)
    else:
        missing.append(hours)
    return drawings, missing


def _lead(lead: Sample, first: Side, second: Side) -> Drawing:
    return Drawing(
        "Lead",
        f"How much earlier {second.label} had the same event than {first.label}, both stamped by one clock. The "
        "outermost thousandth on either side is not drawn.",
        figures.lead_histogram(lead, first.label, second.label),
    )


def _distributions(curves: list[figures.Curve]) -> list[Drawing]:
    return [
        Drawing(
            "Cumulative distribution",
            "The share of samples that took at most so long. Steeper is steadier, further left is faster.",
            figures.cdf(curves),
        ),
        Drawing(
            "Histogram",
            "Both paths on the same 120 bins. The outermost thousandth on either side is not drawn.",
            figures.histogram(curves),
        ),
        Drawing(
            "Percentile spectrum",
            "The tail, stretched: each division to the right is ten times rarer. Curves end where fewer than ten "
            "samples lie beyond.",
            figures.percentile_spectrum(curves),
        ),
    ]


def _over_time(curves: list[figures.Curve], times: Sequence[Integers]) -> Drawing:
    start = min(int(instants[piece].min()) for instants in times for piece in pieces(instants))
    lines = [
        (curve.label, timeline(instants, curve.sample.values, start))
        for curve, instants in zip(curves, times, strict=True)
    ]
    return Drawing(
        "Over time",
        "Median (line) and the range from p5 to p95 (band), in up to 240 bins of equal length.",
        figures.time_series(lines),
    )


def _hours_of_lead(one: PathSeries, rows: Integers, lead: Sample) -> Drawing | str:
    """Draw the leads of the events that the first path had in these rows, in each hour."""
    arrivals = collected(np.int64, (one.arrival_ns[rows[piece]] for piece in pieces(rows, one.arrival_ns)))
    return _hours(hour_cells(arrivals, lead.values), "lead", "median lead, ms")


def _hours_of_latency(one: PathSeries, two: PathSeries, options: Options) -> Drawing | str:
    own, other = (hour_cells(*each.timed_samples(options.metric)) for each in (two, one))
    baseline = float(np.nanmedian(other.values)) if other.hours else 0.0
    return _hours(own, f"latency of {two.name} (that of {one.name} is {baseline:.1f} ms)", "median, ms")


def _hours(cells: HourCells, what: str, unit: str) -> Drawing | str:
    """Draw the heat map when there is more than one hour to show."""
    if cells.hours < 2:
        return "hour of day: the runs fall into one hour; repeat them with --every 1h --for 24h"
    return Drawing("Hour of day", f"Median {what} in each hour that was measured.", figures.heat_map(cells, unit))


def _clock_rows(run: Run) -> list[ClockRow]:
    summary = run.summary
    if summary is None:
        return []
    rows = [] if summary.clock is None else [ClockRow(run.source.stem, "receiver", summary.clock)]
    rows += [_peer_row(run, name, path) for name, path in summary.paths.items() if path.link is not None]
    return rows


def _peer_row(run: Run, name: str, path: PathSummary) -> ClockRow:
    link = path.link
    assert link is not None
    check = ""
    if link.clock_offset_ms is not None and link.clock_offset_error_ms is not None:
        check = f"{link.clock_offset_ms:+.3f} ± {link.clock_offset_error_ms:.3f} ms against the receiver, by the link"
    return ClockRow(
        run.source.stem, f"forwarder of {name}", link.peer_clock or ClockSummary(), link.rtt_ms.median_ms, check
    )


def _own_delay_rows(run: Run) -> list[OwnDelayRow]:
    paths = {} if run.summary is None else run.summary.paths
    rows = []
    for name, path in paths.items():
        backbone = path.backbone or BackboneLatencies()
        if path.host_delay_ms.sample_count or backbone.one_way_delay.sample_count:
            rows.append(
                OwnDelayRow(run.source.stem, name, path.host_delay_ms, backbone.forwarder_hold, backbone.one_way_delay)
            )
    return rows


def _segment_rows(run: Run) -> list[SegmentRows]:
    paths = {} if run.summary is None else run.summary.paths
    rows = []
    for name, path in paths.items():
        known = path.segments or {}
        total = known.get(TOTAL)
        if total is not None and total.sample_count:
            parts: dict[str, Distribution] = {
                part: known[part] for part in SEGMENTS if part in known and known[part].sample_count
            }
            rows.append(SegmentRows(run.source.stem, name, parts, total, path.error_bound_ms.get("end_to_end")))
    return rows


def _tail_rows(run: Run) -> list[TailRow]:
    paths = {} if run.summary is None else run.summary.paths
    return [
        TailRow(run.source.stem, name, cause, path.tail[cause], sum(one.events for one in path.tail.values()))
        for name, path in paths.items()
        for cause in Cause
        if cause in path.tail
    ]


def _parts(segments: list[SegmentRows]) -> Drawing:
    several = len({rows.run for rows in segments}) > 1
    stacks = [
        figures.Stack(
            f"{rows.path}{f', {rows.run}' if several else ''}, {what}",
            {name: getattr(part, field) or 0.0 for name, part in rows.parts.items()},
        )
        for rows in segments
        for what, field in (("median", "median_ms"), ("p99", "p99_ms"))
    ]
    return Drawing(
        "Parts of the delay",
        "Median and p99 of each part of sampled events' delay, from the exchange's clock to where they were handled, "
        "one after the other. Only means add up; the table has them.",
        figures.stacked(stacks),
    )


def _run_row(run: Run, options: Options) -> RunRow:
    medians = {
        name: (float(np.median(values)) if len(values := series.samples(options.metric)) else None)
        for name, series in run.series.items()
    }
    first = min(int(series.arrival_ns[series.arrival_ns != 0].min()) for series in run.series.values())
    return RunRow(
        name=run.source.stem if run.source.stem != "results" else run.source.parent.name,
        start=datetime.fromtimestamp(first // 10**9, UTC).strftime("%Y-%m-%d %H:%M"),
        rows=sum(len(series) for series in run.series.values()),
        median=medians,
    )
