"""Compute a comparison of two paths: as a race when one run saw the same events on both, else as two runs."""

import math
from dataclasses import dataclass, field, replace

import msgspec
import numpy as np

from daemons.formats.summary import PathSummary
from experiments.comparison.caveats import caveats_of
from experiments.comparison.figures import Evidence, Options, delay_figures, loss_figure
from experiments.comparison.model import ClockTrust, Comparison, Figure, Metric, RaceFigures, SideFigures
from experiments.comparison.resolution import Resolution, at_common_step, request_steps_ms
from experiments.comparison.sides import Side
from experiments.comparison.verdict import judge, milliseconds
from experiments.errors import InputError
from experiments.results.changes import Changes
from experiments.results.columns import ColumnBuffer, Floats, Integers, collected, let_go, pieces
from experiments.results.series import PathSeries
from experiments.statistics.bootstrap import Interval, resample, resample_paired
from experiments.statistics.describe import Description, describe, percentile
from experiments.statistics.loss import Loss, from_flags, from_sequences, wilson
from experiments.statistics.pairing import Pairs, pair
from experiments.statistics.sample import Sample

__all__ = ["Compared", "compare", "compare_in_full"]

# Fewer common events than a median needs are no race.
_FEWEST_PAIRS = 6
_NO_ROWS: Integers = np.zeros(0, np.int64)
_NO_LEADS: Floats = np.zeros(0)
_LEAD_QUANTILES = {"p01": 0.01, "p05": 0.05, "p25": 0.25, "p75": 0.75, "p95": 0.95, "p99": 0.99}


@dataclass(frozen=True)
class Compared:
    """A comparison and, of a race, what its figures were computed from, for who draws it.

    Attributes:
        comparison: the figures.
        first_rows: rows in the first path's series of the events that both have, in order of their first arrivals.
        later: how much later the second path had each of them, in ms; None where it was no race.
    """

    comparison: Comparison
    first_rows: Integers = field(default_factory=lambda: _NO_ROWS)
    later: Sample | None = None


def compare(first: Side, second: Side, options: Options) -> Comparison:
    """Compare two paths.

    Raises:
        InputError: there is nothing to compare, with the file and the reason.
    """
    return compare_in_full(first, second, options).comparison


def compare_in_full(first: Side, second: Side, options: Options) -> Compared:
    """Compare two paths, and keep what takes long to compute.

    Raises:
        InputError: as :func:`compare`.
    """
    together = first.run.source == second.run.source
    if options.round_trip:
        samples = [_samples(side, options.metric) for side in (first, second)]
        assert samples[0] is not None
        assert samples[1] is not None
        resolution = request_steps_ms(samples[0].values, samples[1].values)
    else:
        first, second, resolution = at_common_step(first, second, options.metric)
    found = _race(first, second, options) if together else _independent(first, second, options, resolution)
    comparison = msgspec.structs.replace(
        found.comparison,
        first=_with_step(found.comparison.first, resolution.steps_ms[0]),
        second=_with_step(found.comparison.second, resolution.steps_ms[1]),
        caveats=[*found.comparison.caveats, *resolution.caveats],
    )
    return replace(found, comparison=comparison)


def _with_step(figures: SideFigures, step_ms: float | None) -> SideFigures:
    clock_ms = figures.clock_bound_ms
    bound_ms = None if clock_ms is None or step_ms is None else clock_ms + step_ms
    return msgspec.structs.replace(figures, time_step_ms=step_ms, error_bound_ms=bound_ms)


def _independent(first: Side, second: Side, options: Options, resolution: Resolution) -> Compared:
    """Compare two runs that saw different events, at different times."""
    samples = [_samples(side, options.metric) for side in (first, second)]
    described = [_describe(side, values, options.metric) for side, values in zip((first, second), samples, strict=True)]
    enough = [values for values in samples if values is not None and len(values) > 1]
    evidence = Evidence()
    if len(enough) == len(samples):
        # Resamples of two runs are independent of each other: different seeds.
        resamples = (resample(values, options.seed + index, options.repetitions) for index, values in enumerate(enough))
        evidence = Evidence(tuple(resamples))
    note = _why_empty((first, second), described, options.metric)
    figures = delay_figures(described[0], described[1], evidence, options, note)
    median = next(figure for figure in figures if figure.name == "median")
    clock = ClockTrust(needed=False)
    if not options.round_trip:
        clock = _clock_trust(first, second, median, options.metric)
    if why := _below_resolution(resolution, median):
        clock = msgspec.structs.replace(clock, refused=clock.refused or why)
    losses = (_loss(first), _loss(second))
    measured = _measured((first, second), described, losses, evidence)
    return Compared(_assemble(measured, figures, None, clock, evidence, options))


def _race(first: Side, second: Side, options: Options) -> Compared:
    """Compare two paths event by event."""
    one, two = first.series, second.series
    if one is None or two is None:
        raise InputError(
            first.run.source,
            None,
            "a race is compared event by event",
            "put the run's CSV file beside its JSON file",
        )
    pairs = pair(one, two)
    if len(pairs.lead_ms) < _FEWEST_PAIRS:
        raise InputError(
            first.run.rows_source or first.run.source,
            None,
            f"{first.path!r} and {second.path!r} share {len(pairs.lead_ms)} events",
            "let them carry the same streams at the same time, for longer",
        )
    latencies = _latencies(one, two, pairs, options.metric)
    # How much earlier the second was is of no more use: it is how much later, negated.
    later = Sample(collected(np.float64, (-pairs.lead_ms[piece] for piece in pieces(pairs.lead_ms))))
    pairs = replace(pairs, second=_NO_ROWS, lead_ms=_NO_LEADS)
    has_latency = len(latencies[0]) >= _FEWEST_PAIRS
    described = [describe(values) if has_latency else Description(0) for values in latencies]
    evidence = Evidence(tuple(resample_paired(latencies, options.seed, options.repetitions)) if has_latency else ())
    lead = Evidence((resample(later, options.seed, options.repetitions),))
    note = "" if has_latency else "these events carry no event time, so only the lead is known"
    figures = delay_figures(described[0], described[1], evidence, options, note)
    median = _median_of_leads(next(figure for figure in figures if figure.name == "median"), later, lead, options)
    figures = [median if figure.name == "median" else figure for figure in figures]
    losses = (from_flags(pairs.missing_first), from_flags(pairs.missing_second))
    race = _race_figures(pairs, later, median, options)
    clock = ClockTrust(needed=False)
    measured = _measured((first, second), described, losses, evidence if has_latency else lead)
    return Compared(_assemble(measured, figures, race, clock, lead, options), pairs.first, later)


def _latencies(first: PathSeries, second: PathSeries, pairs: Pairs, metric: Metric) -> list[Sample]:
    """Give the latencies of events that have one on both paths, in order of the pairs.

    One event's latency on both paths differs by its lead, so one known event time serves both.
    """
    columns = [first.end_to_end_ms, second.end_to_end_ms]
    if metric == "backbone_ms":
        columns = [first.backbone_ms, second.backbone_ms]
    found = ColumnBuffer(dict.fromkeys(("first", "second", "changes of first", "changes of second"), np.float64))
    # One event is of the same stream and run on both paths; the order is that of the pairs.
    changes = [Changes(len(first.streams), first.parts) for _ in columns]
    for piece in pieces(pairs.first, pairs.second):
        rows = pairs.first[piece]
        one, two = columns[0][rows], columns[1][pairs.second[piece]]
        timed = ~np.isnan(one) & ~np.isnan(two)
        values = {"first": one[timed], "second": two[timed]}
        streams = first.stream[rows][timed]
        moved = {
            f"changes of {name}": of.of(values[name], streams, rows[timed])
            for name, of in zip(values, changes, strict=True)
        }
        found.append({**values, **moved})
        let_go(*columns, first.stream)
    made = found.columns()
    return [Sample(made[name], changes=made[f"changes of {name}"]) for name in ("first", "second")]


def _median_of_leads(figure: Figure, later: Sample, lead: Evidence, options: Options) -> Figure:
    """Replace the difference of medians by the median difference, which pairing knows far better."""
    resampled = lead.resamples[0].quantiles([0.5])[0.5]
    estimate = later.quantile(0.5)
    why = lead.why_no_interval(0.5)
    return Figure(
        name="median",
        unit="ms",
        first=figure.first,
        second=figure.second,
        difference=estimate,
        interval=None if why else lead.interval(resampled, estimate, options.confidence),
        claim=not why and lead.interval(resampled, estimate, options.joint_confidence).excludes(0),
        note=why,
    )


def _race_figures(pairs: Pairs, later: Sample, median: Figure, options: Options) -> RaceFigures:
    """Say how much earlier the second path was, of which ``later`` is the contrary."""
    count = len(later)
    not_earlier = collected(np.bool_, (later.values[piece] >= 0 for piece in pieces(later.values)))
    behind = from_flags(not_earlier)
    share = wilson(behind, options.confidence)
    interval = median.interval
    quantiles = {name: percentile(later, 1 - p) for name, p in _LEAD_QUANTILES.items()}
    return RaceFigures(
        pairs=count,
        median_lead_ms=0.0 - later.quantile(0.5),
        median_lead_interval=Interval(-interval.high, -interval.low, interval.confidence) if interval else None,
        mean_lead_ms=-later.mean,
        lead_quantiles_ms={name: None if value is None else 0.0 - value for name, value in quantiles.items()},
        stddev_lead_ms=math.sqrt(later.variance(ddof=1)),
        win_share=1 - behind.lost / count,
        win_share_interval=Interval(1 - share.high, 1 - share.low, share.confidence),
        ties=later.count(0.0),
        only_first=pairs.only_first,
        only_second=pairs.only_second,
    )


def _samples(side: Side, metric: Metric) -> Sample | None:
    if side.series is None:
        return None
    return Sample(side.series.samples(metric), changes=side.series.changes(metric))


def _describe(side: Side, samples: Sample | None, metric: Metric) -> Description:
    """Describe the rows, or, without them, take over what the receiver computed."""
    if samples is not None:
        return describe(samples)
    summary = side.summary
    assert summary is not None
    if metric == "end_to_end_ms":
        return Description(
            count=summary.sample_count,
            mean=summary.avg_latency_ms,
            median=summary.median_latency_ms,
            p95=summary.p95_latency_ms,
            p99=summary.p99_latency_ms,
            p999=summary.p999_latency_ms,
            min=summary.min_latency_ms,
            max=summary.max_latency_ms,
            stddev=summary.jitter_stddev_ms,
            jitter=summary.jitter_rfc3550_ms,
        )
    if isinstance(summary, PathSummary):
        known = summary.backbone
        if known is None:
            return Description(0)
        return Description(
            count=known.sample_count,
            mean=known.avg_ms,
            median=known.median_ms,
            p95=known.p95_ms,
            p99=known.p99_ms,
            p999=known.p999_ms,
            min=known.min_ms,
            max=known.max_ms,
            stddev=known.stddev_ms,
            jitter=known.jitter_rfc3550_ms,
        )
    count = summary.sample_count if summary.backbone_avg_latency_ms is not None else 0
    return Description(count=count, mean=summary.backbone_avg_latency_ms, median=summary.backbone_median_latency_ms)


def _why_empty(sides: tuple[Side, Side], described: list[Description], metric: Metric) -> str:
    empty = [side.label for side, one in zip(sides, described, strict=True) if not one.count]
    if not empty:
        return ""
    why = (
        "its events carry no event time"
        if metric == "end_to_end_ms"
        else "only events that came through a forwarder have one"
    )
    return f"no sample on {' and '.join(empty)}: {why}"


def _loss(side: Side) -> Loss | None:
    """Count loss from sequence numbers in the rows, or else from the receiver's own count."""
    summary = side.summary
    if side.series is not None:
        # On a feed the receiver itself numbers the rows, which says nothing of what never came.
        return None if side.series.is_feed else from_sequences(side.series)
    if summary is None or summary.events_lost is None:
        return None
    arrived = summary.events if isinstance(summary, PathSummary) else summary.sample_count
    return Loss(arrived + summary.events_lost, summary.events_lost)


def _below_resolution(resolution: Resolution, median: Figure) -> str:
    """Say why the steps of the times allow no difference in delay to be named, or ""."""
    if resolution.refused or median.difference is None or abs(median.difference) >= resolution.least_ms:
        return resolution.refused
    return (
        f"the medians differ by {milliseconds(abs(median.difference))}, less than the step of "
        f"{milliseconds(resolution.least_ms)} in which one side was written; record both as finely"
    )


def _clock_trust(first: Side, second: Side, median: Figure, metric: Metric) -> ClockTrust:
    """Decide whether the clocks allow to name a difference between one-way figures of two runs."""
    for side in (first, second):
        clocks = side.clocks[:1] if metric == "end_to_end_ms" else side.clocks
        if any(clock is not None and clock.synchronized is False for clock in clocks):
            return ClockTrust(needed=True, refused=f"a clock of {side.label} was not synchronized during its run")
    bounds = [side.clock_bound_ms(metric) for side in (first, second)]
    if bounds[0] is None or bounds[1] is None:
        return ClockTrust(needed=True)
    bound = bounds[0] + bounds[1]
    if median.difference is None or bound < abs(median.difference):
        return ClockTrust(needed=True, bound_ms=bound)
    why = (
        f"the medians differ by {milliseconds(abs(median.difference))}, and the clocks are known only to "
        f"{milliseconds(bound)} together; race the two paths, which needs no clocks"
    )
    return ClockTrust(needed=True, bound_ms=bound, refused=why)


@dataclass(frozen=True)
class _Measured:
    """What was measured of one side."""

    side: Side
    statistics: Description
    loss: Loss | None
    effective_count: float | None


def _measured(
    sides: tuple[Side, Side],
    described: list[Description],
    losses: tuple[Loss | None, Loss | None],
    evidence: Evidence,
) -> tuple[_Measured, _Measured]:
    worth: list[float | None] = [one.effective_count for one in evidence.resamples] or [None]
    return (
        _Measured(sides[0], described[0], losses[0], worth[0]),
        _Measured(sides[1], described[1], losses[1], worth[-1]),
    )


def _assemble(
    measured: tuple[_Measured, _Measured],
    figures: list[Figure],
    race: RaceFigures | None,
    clock: ClockTrust,
    evidence: Evidence,
    options: Options,
) -> Comparison:
    first, second = measured
    sides = (first.side, second.side)
    described = [first.statistics, second.statistics]
    if not options.round_trip:
        figures = [*figures, loss_figure(first.loss, second.loss, options)]
    return Comparison(
        metric=options.metric,
        first=_side_figures(first, options.metric),
        second=_side_figures(second, options.metric),
        figures=figures,
        race=race,
        clock=clock,
        verdict=judge((sides[0].label, sides[1].label), figures, race, clock, options.margin_ms),
        caveats=[] if options.round_trip else caveats_of(sides, described, race=race, metric=options.metric),
        margin_ms=options.margin_ms,
        confidence=options.confidence,
        repetitions=options.repetitions,
        block_samples=max((one.block_samples for one in evidence.resamples), default=None),
        blocks=evidence.blocks if evidence.resamples else None,
        seed=options.seed,
    )


def _side_figures(measured: _Measured, metric: Metric) -> SideFigures:
    side = measured.side
    series, run = side.series, side.run.summary
    return SideFigures(
        label=side.label,
        source=side.run.source.name,
        path=side.path,
        streams=sorted(name for name in series.first_line if name) if series is not None else [],
        statistics=measured.statistics,
        effective_count=measured.effective_count,
        rows=len(series) if series is not None else None,
        invalid=dict(series.invalid) if series is not None else {},
        delayed=series.delayed if series is not None else 0,
        loss=measured.loss,
        clock_bound_ms=side.clock_bound_ms(metric),
        start=run.start if run is not None else None,
        end=run.end if run is not None else None,
    )
