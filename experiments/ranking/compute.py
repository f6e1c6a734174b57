"""Rank the paths of a race: which is first, by how much, how steadily, and which cannot be told apart."""

from collections.abc import Mapping, Sequence

import numpy as np

from experiments.comparison.figures import BEYOND_PERCENTILE, Options
from experiments.errors import InputError
from experiments.ranking.hours import hours_of_day
from experiments.ranking.model import PathPair, RankedPath, Ranking
from experiments.ranking.pairs import pairs_of
from experiments.ranking.verdict import inseparable, judge
from experiments.results.run import Run
from experiments.results.series import Flags, Floats, PathSeries, observed_step_ns
from experiments.statistics.describe import percentile
from experiments.statistics.field import Field, align, lags_ms
from experiments.statistics.loss import from_flags
from experiments.statistics.simultaneous import Leads, median_leads

__all__ = ["rank"]

_FEWEST_EVENTS = 6
_FEWEST_FOR_MEDIAN = BEYOND_PERCENTILE * 2
# More of the events left out than this, for some path lacks them, is worth a word.
_MOST_LEFT_OUT = 0.1
# Arrivals told in steps below this are as fine as stamps are; above it, another program cut them.
_FINE_STEP_NS = 1_000


def rank(run: Run, names: Sequence[str], options: Options, prices: Mapping[str, float] | None = None) -> Ranking:
    """Rank the paths of one race.

    Args:
        run: with its rows.
        names: of the paths, in any order; one that brought nothing is left out, with a caveat.
        options: margin, confidence, seed and repetitions.
        prices: of paths, in US dollars a day.

    Raises:
        InputError: there are no rows, or the paths have too few events in common.
    """
    names = list(dict.fromkeys(names))
    present = [name for name in names if name in run.series]
    field = _field(run, names, present)
    leads = _leads(field, options)
    order = sorted(range(len(present)), key=lambda index: (leads.scores[index], index))
    present, field, leads = [present[index] for index in order], field.ordered(order), leads.ordered(order)
    lags = lags_ms(field.arrival_ns)
    series = [run.series[name] for name in present]
    step_ns = max(observed_step_ns(arrivals) for arrivals in field.arrival_ns)
    step_ms = step_ns / 1e6 if step_ns > _FINE_STEP_NS else 0.0
    pairs = pairs_of(present, field.arrival_ns, leads, lags, options, step_ms=step_ms)
    groups = inseparable(present, pairs)
    note = _why_undecided(leads)
    outcome, sentence = judge(present, pairs, groups, margin_ms=options.margin_ms, note=note)
    first = _first(field)
    return Ranking(
        source=(run.rows_source or run.source).name,
        streams=[name for name in field.streams if name],
        start=run.summary.start if run.summary is not None else None,
        end=run.summary.end if run.summary is not None else None,
        events=field.arrival_ns.shape[1],
        seen=field.seen,
        paths=[
            _path(series[at], at, pairs, lags[at], first[at], field.missing[at], (prices or {}).get(present[at]))
            for at in range(len(present))
        ],
        pairs=pairs,
        inseparable=groups,
        hours=hours_of_day(present, field.arrival_ns.min(axis=0), lags),
        outcome=outcome,
        sentence=sentence,
        caveats=_caveats(run, names, series, field, step_ms),
        margin_ms=options.margin_ms,
        confidence=options.confidence,
        repetitions=options.repetitions,
        block_samples=leads.block_samples,
        blocks=leads.blocks,
        effective_count=leads.effective_count,
        seed=options.seed,
    )


def _field(run: Run, names: Sequence[str], present: Sequence[str]) -> Field:
    if not run.series:
        remedy = "put the run's CSV file beside its JSON file"
        raise InputError(run.source, None, "a ranking is made event by event", remedy)
    field = align([run.series[name] for name in present]) if len(present) > 1 else None
    count = 0 if field is None else field.arrival_ns.shape[1]
    if field is None or count < _FEWEST_EVENTS:
        raise InputError(
            run.rows_source or run.source,
            None,
            f"{', '.join(names)} have {count} events in common",
            "let them carry the same streams at the same time, for longer, or name the others with --path",
        )
    return field


def _leads(field: Field, options: Options) -> Leads:
    return median_leads(
        field.arrival_ns, options.confidence, options.seed, options.repetitions, fewest=_FEWEST_FOR_MEDIAN
    )


def _why_undecided(leads: Leads) -> str:
    if not np.isnan(leads.low).any():
        return ""
    return (
        f"the events are worth {leads.effective_count:,.0f} independent ones, and intervals need {_FEWEST_FOR_MEDIAN}"
    )


def _first(field: Field) -> Flags:
    """Mark, of each path, the events that it had before all others."""
    earliest = field.arrival_ns.min(axis=0)
    at_once = field.arrival_ns == earliest
    return np.asarray(at_once & (at_once.sum(axis=0) == 1))


def _path(
    series: PathSeries,
    at: int,
    pairs: Sequence[PathPair],
    lags: Floats,
    first: Flags,
    missing: Flags,
    price: float | None,
) -> RankedPath:
    """Make the line of the path at place ``at``, counted from 0."""
    name = series.name
    earlier = sum(_relation(pair, name) == "earlier" for pair in pairs)
    later = sum(_relation(pair, name) == "later" for pair in pairs)
    # The pairs of the first path come first, in order of rank.
    lead = pairs[at - 1].lead if at else None
    return RankedPath(
        path=name,
        rank=at + 1,
        best_rank=1 + later,
        worst_rank=len({pair.second for pair in pairs}) + 1 - earlier,
        behind_ms=0.0 if lead is None else lead.value_ms,
        behind=None if lead is None else lead.interval,
        first_share=float(first.mean()),
        lag_stddev_ms=float(lags.std(ddof=1)),
        lag_p95_ms=percentile(lags, 0.95),
        lag_p99_ms=percentile(lags, 0.99),
        loss=from_flags(missing),
        rows=len(series),
        invalid=dict(series.invalid),
        delayed=series.delayed,
        price_per_day=price,
    )


def _relation(pair: PathPair, name: str) -> str:
    """Give the relation of a path to the other of a pair; "" where it is in neither place."""
    if pair.first == name:
        return pair.relation
    turned = {"earlier": "later", "later": "earlier"}
    return turned.get(pair.relation, pair.relation) if pair.second == name else ""


def _caveats(run: Run, names: Sequence[str], series: Sequence[PathSeries], field: Field, step_ms: float) -> list[str]:
    """List what a reader must know before relying on a ranking."""
    found = [f"{name} brought nothing and is not ranked" for name in names if name not in run.series]
    if field.arrival_ns.shape[1] < (1 - _MOST_LEFT_OUT) * field.seen:
        lost = [float(missing.mean()) if len(missing) else 0.0 for missing in field.missing]
        found.append(
            f"{field.arrival_ns.shape[1]:,} of {field.seen:,} events came on all paths, and those alone are ranked by; "
            f"{series[int(np.argmax(lost))].name} lacks the most"
        )
    if step_ms:
        found.append(f"arrivals are told in steps of {step_ms:g} ms; all intervals of leads are wider by that")
    for one in series:
        if one.delayed:
            found.append(f"{one.name}: {one.delayed:,} events waited in the forwarder while its link was down")
        if one.invalid:
            listed = ", ".join(f"{count:,} {reason}" for reason, count in sorted(one.invalid.items()))
            found.append(f"{one.name}: left out as invalid: {listed}")
    if run.unfinished:
        found.append("the run has not ended or was killed")
    elif run.summary is not None and not run.summary.complete:
        found.append("the run was ended before its time")
    return found
