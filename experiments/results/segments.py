"""The rows of an archive, as the series of its paths: the same columns as of a CSV file, for the same statistics."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from daemons.formats.archive.columns import SegmentFacts
from daemons.formats.summary import ClockSummary, RowsSummary, RunClock, RunSummary
from experiments.archive.files import Segment, chosen, no_such_rows
from experiments.archive.reading import batches_of
from experiments.archive.selection import Selection
from experiments.results.gathering import NAMES, SAMPLED, Gathering
from experiments.results.series import Integers, PathSeries

__all__ = ["load_segments"]

_READ = {
    "sequence": "sequence",
    "arrival_ns": "arrival_ns",
    "end_to_end_ms": "end_to_end_ns",
    "event_fraction_ns": "event_time_ns",
    "forwarder_fraction_ns": "forwarder_ns",
    "event_id": "event_id",
}
"""By a series' column what it is made of."""
_ALWAYS = ("backbone_ns", *NAMES, "delayed")
"""Columns that are read in any case, for what they tell of the path."""
_SECOND_NS = 1_000_000_000


def load_segments(
    folder: Path, selection: Selection, paths: tuple[str, ...] = (), without: frozenset[str] = frozenset()
) -> tuple[dict[str, PathSeries], RunSummary]:
    """Read the selected rows of an archive's folder, as series without some of their columns.

    Returns:
        The series of each path, and what the files say of the host's clock and of rows that were lost.

    Raises:
        InputError: as :func:`experiments.archive.files.chosen`, or a file cannot be read on.
    """
    files = chosen(folder, selection, paths)
    by_path: dict[str, list[Segment]] = {}
    for one in files:
        by_path.setdefault(one.facts.path, []).append(one)
    runs = _runs(files)
    series = {}
    for path, its in by_path.items():
        found = _series(its, runs, selection, without).get(path)
        if found is not None:
            series[path] = found
    if not series:
        raise no_such_rows(folder)
    return series, _summary(series, [one.facts for one in files])


def _series(
    files: list[Segment], runs: list[str], selection: Selection, without: frozenset[str]
) -> dict[str, PathSeries]:
    """Read one path's files, each life of the receiver as a run of its own where none overlaps another."""
    lives = [files]
    if len(runs) > 1:
        lives = [[one for one in files if one.name.session == session] for session in runs]
    gathering, rows, starts, unsorted = Gathering(without), 0, [], False
    made = [column for column in _READ if column not in without]
    for life in lives:
        starts.append(rows)
        # A file is sorted by arrival, and so are its path's files, but for those that the clock came back to.
        unsorted |= any(one.facts.last_arrival_ns > other.facts.first_arrival_ns for one, other in pairwise(life))
        for one in life:
            for batch in batches_of(one.file, [*(_READ[column] for column in made), *_ALWAYS]):
                if len(wanted := _selected(batch, selection)):
                    gathering.add(_columns(wanted, made), 0)
                    rows += len(wanted)
    found = {name: replace(one, parts=tuple(starts)) for name, one in gathering.series().items()}
    return {name: one.in_order() for name, one in found.items()} if unsorted else found


def _selected(batch: pa.RecordBatch, selection: Selection) -> pa.RecordBatch:
    """Keep the rows that are asked for."""
    arrival = batch.column("arrival_ns")
    for compare, bound in ((pc.greater_equal, selection.from_ns), (pc.less, selection.to_ns)):
        if bound is not None:
            batch = batch.filter(compare(arrival, bound))
            arrival = batch.column("arrival_ns")
    if selection.streams:
        names = pa.array(selection.streams)
        batch = batch.filter(pc.is_in(batch.column("stream").dictionary_decode(), names))
    return batch


def _columns(batch: pa.RecordBatch, made: Sequence[str]) -> pa.RecordBatch:
    """Turn rows into columns of a series; figures and times of rows that are no samples are none."""
    sampled = pc.is_in(batch.column("validity").dictionary_decode(), pa.array(SAMPLED))

    def of_samples(name: str) -> pa.Array:
        return pc.if_else(sampled, batch.column(name), None)

    def milliseconds(name: str) -> pa.Array:
        return pc.divide(of_samples(name).cast(pa.float64(), safe=False), 1e6)

    def fraction(name: str) -> npt.NDArray[np.int32]:
        times: Integers = of_samples(name).fill_null(0).to_numpy(zero_copy_only=False)
        return np.remainder(times, _SECOND_NS).astype(np.int32)

    def plain(name: str) -> pa.Array:
        return batch.column(name).fill_null(0)

    makers = {"end_to_end_ms": milliseconds, "event_fraction_ns": fraction, "forwarder_fraction_ns": fraction}
    return pa.RecordBatch.from_pydict(
        {
            **{column: makers.get(column, plain)(_READ[column]) for column in made},
            "backbone_ms": milliseconds("backbone_ns"),
            **{name: batch.column(name) for name in (*NAMES, "delayed")},
        }
    )


def _runs(files: list[Segment]) -> list[str]:
    """Name the lives of receivers in order of time; none where two of them overlap, as after a clock was set back."""
    spans: dict[str, list[SegmentFacts]] = {}
    for one in files:
        spans.setdefault(one.name.session, []).append(one.facts)
    starts = {session: min(one.first_arrival_ns for one in its) for session, its in spans.items()}
    order = sorted(spans, key=lambda session: starts[session])
    overlap = any(
        max(one.last_arrival_ns for one in spans[session]) >= starts[after] for session, after in pairwise(order)
    )
    return [] if overlap else order


def _summary(series: dict[str, PathSeries], facts: list[SegmentFacts]) -> RunSummary:
    """Say of the whole what holds of every file: the worst of the clock."""
    clocks = [one.clock for one in facts]
    bounds = [clock.error_bound_ms for clock in clocks]
    known = [bound for bound in bounds if bound is not None]
    worst = ClockSummary(
        synchronized=all(bool(clock.synchronized) for clock in clocks),
        error_bound_ms=max(known) if len(known) == len(bounds) else None,
        source=clocks[-1].source,
        steps=max(clock.steps for clock in clocks),
    )
    rows = sum(len(one) for one in series.values())
    lost = [one.rows_lost for one in facts if one.rows_lost is not None]
    primary = next((name for name, one in series.items() if not one.is_feed), next(iter(series)))
    return RunSummary(
        setup_type="archive",
        sample_count=rows,
        primary_path=primary,
        host=facts[0].host,
        clock=RunClock(**msgspec.structs.asdict(worst)),
        csv=RowsSummary(rows=rows, rows_lost=sum(lost) if len(lost) == len(facts) else None),
    )
