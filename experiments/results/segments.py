"""The rows of an archive, as the series of its paths: the same columns as of a CSV file, for the same statistics."""

from dataclasses import replace
from itertools import groupby, pairwise
from pathlib import Path

import msgspec

from daemons.formats.archive.columns import SegmentFacts
from daemons.formats.archive.layout import SegmentName
from daemons.formats.summary import ClockSummary, RowsSummary, RunClock, RunSummary
from experiments.archive.engine import EngineError, batches, engine, literal, pattern_of
from experiments.archive.facts import facts_in
from experiments.archive.selection import Selection, segments_of
from experiments.errors import InputError
from experiments.results.gathering import SAMPLED, Gathering
from experiments.results.series import PathSeries

__all__ = ["load_segments"]

Files = list[tuple[SegmentName, Path]]

_SAMPLED = f"validity IN ({', '.join(map(literal, SAMPLED))})"
_COLUMNS = f"""
    coalesce(sequence, 0) AS sequence, arrival_ns,
    CASE WHEN {_SAMPLED} THEN end_to_end_ns / 1e6 END AS end_to_end_ms,
    CASE WHEN {_SAMPLED} THEN backbone_ns / 1e6 END AS backbone_ms,
    CASE WHEN {_SAMPLED} THEN (coalesce(event_time_ns, 0) % 1000000000)::INT ELSE 0 END AS event_fraction_ns,
    CASE WHEN {_SAMPLED} THEN (coalesce(forwarder_ns, 0) % 1000000000)::INT ELSE 0 END AS forwarder_fraction_ns,
    coalesce(event_id, 0) AS event_id, path::VARCHAR AS path, stream::VARCHAR AS stream,
    validity::VARCHAR AS validity, delayed
"""


def load_segments(
    folder: Path, selection: Selection, paths: tuple[str, ...] = ()
) -> tuple[dict[str, PathSeries], RunSummary]:
    """Read the selected rows of an archive's folder.

    Returns:
        The series of each path, and what the files say of the host's clock and of rows that were lost.

    Raises:
        InputError: there are no such rows, or a file is damaged, or none of ours.
    """
    files = segments_of(folder, selection, paths)
    facts = [facts_in(file) for _name, file in files]
    by_path: dict[str, Files] = {}
    for one, file in zip(facts, files, strict=True):
        by_path.setdefault(one.path, []).append(file)
    sessions = _sessions(files)
    series = {}
    for path, its in by_path.items():
        found = _series(folder, its, sessions, selection).get(path)
        if found is not None:
            series[path] = found
    if not series:
        raise InputError(folder, None, "no such rows in the archive", "give another --from, --to, --path or --stream")
    return series, _summary(series, facts)


def _series(folder: Path, files: Files, sessions: list[str], selection: Selection) -> dict[str, PathSeries]:
    """Read one path's files, each life of the receiver as a run of its own where none overlaps another."""
    lives: list[Files] = [files]
    if len(sessions) > 1:
        lives = [[one for one in files if one[0].session == session] for session in sessions]
    gathering, rows, starts = Gathering(), 0, []
    with engine() as connection:
        for life in lives:
            starts.append(rows)
            if not life:
                continue
            question, values = _question(life, selection)
            try:
                for batch in batches(connection, question, values):
                    gathering.add(batch, 0)
                    rows += len(batch)
            except EngineError as error:
                why = str(error).splitlines()[0]
                raise InputError(
                    folder, None, f"a file cannot be read: {why}", "fetch it again, or remove it"
                ) from error
    return {name: replace(one, parts=tuple(starts)) for name, one in gathering.series().items()}


def _question(files: Files, selection: Selection) -> tuple[str, list[object]]:
    conditions, values = ["true"], []
    for condition, value in (("arrival_ns >= ?", selection.from_ns), ("arrival_ns < ?", selection.to_ns)):
        if value is not None:
            conditions.append(condition)
            values.append(value)
    if selection.streams:
        conditions.append(f"stream IN ({', '.join(map(literal, selection.streams))})")
    names = ", ".join(literal(pattern_of(str(file))) for _name, file in files)
    # A file is sorted by arrival, and so are its path's files, but for those that the clock came back to.
    again = any(one.end_ns > other.start_ns for (one, _), (other, _) in pairwise(files))
    order = " ORDER BY arrival_ns" if again else ""
    question = (
        f"SELECT {_COLUMNS} FROM read_parquet([{names}], hive_partitioning = false, union_by_name = true) "
        f"WHERE {' AND '.join(conditions)}{order}"
    )
    return question, [*values]


def _sessions(files: Files) -> list[str]:
    """Name the lives of receivers in order of time; none where two of them overlap, as those of two receivers do."""
    order = [name for name, _group in groupby(name.session for name, _file in files)]
    return order if len(order) == len(set(order)) else []


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
