"""Which two paths a comparison is about."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from daemons.errors import ConfigError
from daemons.formats.summary import ClockSummary, PathSummary, RunSummary
from experiments.comparison.model import Metric
from experiments.errors import InputError
from experiments.results.run import Run, load_run
from experiments.results.series import PathSeries

__all__ = ["Side", "Steps", "choose_sides", "sides_of"]

Steps = Mapping[str, tuple[int, int]]
"""By stream, the step of the time that a latency begins with, and of the arrival, in nanoseconds."""


@dataclass(frozen=True)
class Side:
    """One path of one run, and the name it goes by in the comparison."""

    label: str
    path: str
    run: Run

    @property
    def series(self) -> PathSeries | None:
        """Give the rows, or None when there is no CSV file."""
        return self.run.series.get(self.path)

    @property
    def summary(self) -> PathSummary | RunSummary | None:
        """Give the summary of the path; older files have one only for the whole run."""
        whole = self.run.summary
        if whole is None or not whole.paths:
            return whole
        return whole.paths.get(self.path)

    def steps_ns(self, metric: Metric) -> Steps | None:
        """Give the steps in which the two times behind a latency were told, by stream; None when nothing shows them."""
        if self.series is not None:
            return self.series.steps_ns(metric)
        summary = self.summary
        return summary.steps_ns(metric) if isinstance(summary, PathSummary) else None

    @property
    def clocks(self) -> list[ClockSummary | None]:
        """Give the clocks that an end-to-end figure (the first) and a backbone figure (both) depend on."""
        summary = self.summary
        link = summary.link if isinstance(summary, PathSummary) else None
        return [
            self.run.summary.clock if self.run.summary is not None else None,
            link.peer_clock if link is not None else None,
        ]

    def clock_bound_ms(self, metric: Metric) -> float | None:
        """Give the largest error that clocks can cause in a one-way figure, None when it is not known.

        An end-to-end figure also rests on the exchange's clock, of which nothing is known but that it is the
        same one on both sides.
        """
        clocks = self.clocks[:1] if metric == "end_to_end_ms" else self.clocks
        bounds = [clock.error_bound_ms if clock is not None else None for clock in clocks]
        return None if None in bounds else sum(bound for bound in bounds if bound is not None)


def choose_sides(sources: list[Path], paths: tuple[str, ...] = ()) -> tuple[Side, Side]:
    """Load one or two sources and choose a path of each, or two paths of one.

    Args:
        sources: one run (its paths are compared as a race) or two.
        paths: names of the two paths; chosen by default when that is unambiguous.

    Raises:
        InputError: a file is unusable, or the two have no stream in common.
        ConfigError: the paths are not named and not obvious, or do not exist.
    """
    return sides_of([load_run(source) for source in dict.fromkeys(sources)], paths)


def sides_of(runs: list[Run], paths: tuple[str, ...] = ()) -> tuple[Side, Side]:
    """Choose the two paths from one or two loaded runs; see :func:`choose_sides`."""
    if len(runs) == 1:
        first, second = _paths_of_race(runs[0], paths)
        sides = [Side(first, first, runs[0]), Side(second, second, runs[0])]
    else:
        if paths and len(paths) != 2:
            raise ConfigError("--path", f"{len(paths)} given for two sources", "name one per source, or none")
        chosen = paths or tuple(run.default_path() for run in runs)
        sides = [Side(name, name, run) for name, run in zip(chosen, runs, strict=True)]
        if chosen[0] == chosen[1]:
            sides = [replace(side, label=label) for side, label in zip(sides, _file_labels(runs), strict=True)]
    for side in sides:
        if side.path not in side.run.path_names():
            known = ", ".join(side.run.path_names())
            raise ConfigError("--path", f"{side.path!r} is not in {side.run.source}", f"it has {known}")
    return _with_common_streams(sides[0], sides[1])


def _paths_of_race(run: Run, paths: tuple[str, ...]) -> tuple[str, str]:
    names = run.path_names()
    if len(paths) == 2:
        return paths[0], paths[1]
    if len(names) < 2:
        raise ConfigError(str(run.source), f"has one path, {names[0]!r}", "give a second file to compare it with")
    if len(names) > 2:
        # Without --path a race of more is ranked, so this one was asked about by a single name.
        raise ConfigError("--path", f"{run.source} has paths {', '.join(names)}", "choose two: --path A --path B")
    # The feed is what one has without us: the reference.
    primary = run.default_path()
    reference = next(name for name in names if name != primary)
    return reference, primary


def _file_labels(runs: list[Run]) -> list[str]:
    stems = [run.source.stem for run in runs]
    if stems[0] != stems[1]:
        return stems
    return [str(run.source.parent.name or run.source.parent) for run in runs] if _parents_differ(runs) else ["A", "B"]


def _parents_differ(runs: list[Run]) -> bool:
    return runs[0].source.parent.name != runs[1].source.parent.name


def _with_common_streams(first: Side, second: Side) -> tuple[Side, Side]:
    """Keep the streams that both sides have; a trade stream's latency says nothing about a depth stream's."""
    one, two = first.series, second.series
    if one is None or two is None:
        return first, second
    names_one, names_two = set(one.first_line), set(two.first_line)
    if "" in names_one | names_two or names_one == names_two:
        return first, second
    common = names_one & names_two
    if not common:
        stream, line = next(iter(two.first_line.items()))
        raise InputError(
            second.run.rows_source or second.run.source,
            line or None,
            f"stream {stream!r} is not in {first.run.rows_source}, which has {', '.join(sorted(names_one))}",
            "compare runs of the same stream",
        )
    return _restrict(first, one, common), _restrict(second, two, common)


def _restrict(side: Side, series: PathSeries, streams: set[str]) -> Side:
    return replace(side, run=replace(side.run, series={**side.run.series, side.path: series.only_streams(streams)}))
