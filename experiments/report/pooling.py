"""The runs of a folder as the two sides of one comparison.

Races are pooled path by path, and so are runs of one path each (a baseline and a backbone run, or many of each in
turn), in order of time. The block bootstrap then sees what changes from run to run as what it is: dependence.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from daemons.errors import ConfigError
from daemons.formats.summary import ClockSummary, PathSummary, RunSummary
from experiments.comparison.sides import Side, sides_of
from experiments.errors import InputError
from experiments.results.columns import pieces
from experiments.results.run import Run
from experiments.results.series import COLUMNS, PathSeries

__all__ = ["pool_runs", "pool_ways"]


def pool_runs(folder: Path, runs: Sequence[Run], paths: tuple[str, ...] = ()) -> tuple[Side, Side]:
    """Pool runs into two sides.

    Args:
        folder: where they came from, for messages.
        runs: in any order.
        paths: names of the two paths; by default the two that there are.

    Raises:
        InputError: a run has no rows.
        ConfigError: there are not two paths, or more and none chosen.
    """
    ordered = _in_order(runs)
    names = paths or _names(ordered)
    if len(names) != 2:
        raise ConfigError("--path", f"{folder} has paths {', '.join(names)}", "name two, or more to rank them")
    # Among races, one in which a path stayed silent shows nothing about the two.
    if races := [run for run in ordered if all(name in run.series for name in names)]:
        return _sides_of_races(races, paths)
    sides = [_merge([run for run in ordered if name in run.series], (name,)) for name in names]
    first, second = (Side(name, name, run) for name, run in zip(names, sides, strict=True))
    return (second, first) if second.series is not None and second.series.is_feed and not paths else (first, second)


def pool_ways(folder: Path, runs: Sequence[Run], paths: tuple[str, ...] = ()) -> Run | None:
    """Pool races of more than two paths into one run of all of them; None where there are not so many.

    Args:
        folder: where they came from, for messages.
        runs: in any order; races in which one of the paths stayed silent are left out.
        paths: names of the paths; by default all that there are.

    Raises:
        InputError: a run has no rows.
        ConfigError: there is no race that has all the paths.
    """
    ordered = _in_order(runs)
    names = tuple(dict.fromkeys(paths)) or _names(ordered)
    if len(names) < 3:
        return None
    if not (races := [run for run in ordered if all(name in run.series for name in names)]):
        has = "; ".join(f"{run.source} has {', '.join(run.series)}" for run in ordered)
        raise ConfigError(
            "--path", f"no race in {folder} has all of {', '.join(names)}: {has}", "name those of one race"
        )
    merged = _merge(races, names)
    return replace(merged, series={name: merged.series[name] for name in names})


def _in_order(runs: Sequence[Run]) -> list[Run]:
    for run in runs:
        if not run.series:
            raise InputError(run.source, None, "has no CSV file beside it", "a report needs the rows of every run")
    return sorted(runs, key=_first_arrival)


def _names(runs: Sequence[Run]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for run in runs for name in run.series))


def _sides_of_races(runs: list[Run], paths: tuple[str, ...]) -> tuple[Side, Side]:
    names = paths or tuple(runs[0].series)
    return sides_of([_merge(runs, names)], paths)


def _first_arrival(run: Run) -> int:
    return min(
        int(series.arrival_ns[piece].min()) for series in run.series.values() for piece in pieces(series.arrival_ns)
    )


def _merge(runs: list[Run], names: tuple[str, ...]) -> Run:
    if len(runs) == 1:
        return runs[0]
    series = {name: _concatenate([run.series[name] for run in runs]) for name in names}
    summaries = [run.summary for run in runs if run.summary is not None]
    summary = _merge_summaries(summaries) if len(summaries) == len(runs) else None
    return Run(runs[0].source, summary, series, runs[0].rows_source)


def _concatenate(parts: list[PathSeries]) -> PathSeries:
    """Join the rows of a path; ids are marked with their run, for a simulator counts anew in each."""
    streams = tuple(dict.fromkeys(name for part in parts for name in part.streams))
    columns: dict[str, Any] = {name: np.concatenate([getattr(part, name) for part in parts]) for name in COLUMNS}
    columns["stream"] = np.concatenate(
        [np.array([streams.index(name) for name in part.streams], np.uint16)[part.stream] for part in parts]
    )
    columns["event_id"] = np.concatenate(
        [np.where(part.event_id == 0, 0, part.event_id ^ (index << 56)) for index, part in enumerate(parts)]
    )
    invalid: dict[str, int] = {}
    for part in parts:
        for reason, count in part.invalid.items():
            invalid[reason] = invalid.get(reason, 0) + count
    first_line = {name: line for part in reversed(parts) for name, line in part.first_line.items()}
    return PathSeries(
        name=parts[0].name,
        **columns,
        streams=streams,
        first_line=first_line,
        invalid=invalid,
        delayed=sum(part.delayed for part in parts),
        parts=tuple(np.cumsum([0, *(len(part) for part in parts[:-1])]).tolist()),
    )


def _merge_summaries(summaries: list[RunSummary]) -> RunSummary:
    """Keep of each figure what the whole may be trusted for: the worst clock, the sum of counts."""
    first = summaries[0]
    paths = {
        name: _merge_paths([summary.paths[name] for summary in summaries if name in summary.paths])
        for name in dict.fromkeys(name for summary in summaries for name in summary.paths)
    }
    return msgspec.structs.replace(
        first,
        sample_count=sum(summary.sample_count for summary in summaries),
        start=min((summary.start for summary in summaries if summary.start), default=None),
        end=max((summary.end for summary in summaries if summary.end), default=None),
        complete=all(summary.complete for summary in summaries),
        clock=_worst([summary.clock for summary in summaries]),
        paths=paths,
        race=[],
    )


def _merge_paths(parts: list[PathSummary]) -> PathSummary:
    links = [part.link for part in parts if part.link is not None]
    peer = _worst([one.peer_clock for one in links])
    link = msgspec.structs.replace(links[0], peer_clock=peer) if links else None
    return msgspec.structs.replace(
        parts[0],
        events=sum(part.events for part in parts),
        sample_count=sum(part.sample_count for part in parts),
        sessions=1 + sum(max(0, (part.sessions or 1) - 1) for part in parts),
        link=link,
    )


def _worst(clocks: list[ClockSummary | None]) -> ClockSummary | None:
    known = [clock for clock in clocks if clock is not None]
    if len(known) != len(clocks) or not known:
        return None
    bounds = [clock.error_bound_ms for clock in known]
    return msgspec.structs.replace(
        known[0],
        synchronized=all(clock.synchronized is not False for clock in known),
        error_bound_ms=None if None in bounds else max(bound for bound in bounds if bound is not None),
        steps=sum(clock.steps for clock in known),
    )
