"""What a report on more than two paths contains, as values."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from experiments.comparison.figures import Options
from experiments.ranking.compute import rank
from experiments.ranking.model import Ranking
from experiments.report import figures
from experiments.report.colophon import program, written
from experiments.report.document import Drawing
from experiments.report.timeline import HourCells, bins_of_time
from experiments.results.run import Run
from experiments.results.series import Floats
from experiments.statistics.field import align, lags_ms

__all__ = ["WaysDocument", "build_ways"]


@dataclass(frozen=True)
class WaysDocument:
    """A report."""

    folder: str
    written: str
    program: str
    ranking: Ranking
    drawings: list[Drawing]


def build_ways(folder: Path, race: Run, options: Options, prices: Mapping[str, float] | None = None) -> WaysDocument:
    """Rank the paths of a race, and draw; with what they cost a day, in US dollars.

    Raises:
        InputError: they have too few events in common.
    """
    ranking = rank(race, list(race.series), options, prices)
    names = [path.path for path in ranking.paths]
    field = align([race.series[name] for name in names])
    drawings = [_behind(ranking), _over_time(names, field.arrival_ns.min(axis=0), lags_ms(field.arrival_ns))]
    if ranking.hours:
        drawings.append(_hours(ranking, names))
    return WaysDocument(
        folder=folder.resolve().name,
        written=written(),
        program=program(),
        ranking=ranking,
        drawings=drawings,
    )


def _behind(ranking: Ranking) -> Drawing:
    bars = [
        figures.Bar(path.path, path.behind_ms, *((path.behind.low, path.behind.high) if path.behind else (None, None)))
        for path in ranking.paths
    ]
    first = ranking.paths[0].path
    return Drawing(
        f"Behind {first}",
        f"The median of how much later than {first} a path had the same event. All bars together hold at "
        f"{ranking.confidence * 100:.0f} %; one that reaches 0 cannot be told from {first}.",
        figures.intervals(bars, "median behind, ms"),
    )


def _over_time(names: list[str], times_ns: np.ndarray, lags: Floats) -> Drawing:
    seconds, medians = bins_of_time(times_ns, lags)
    behind = medians - np.nanmedian(medians[0])
    return Drawing(
        "Over time",
        f"Each path's median lag in up to 60 bins of equal length, less the run's median of {names[0]}. A path that is "
        "better for a while only changes its colour.",
        figures.strips(names, seconds, behind),
    )


def _hours(ranking: Ranking, names: list[str]) -> Drawing:
    values = np.full((len(names), 24), np.nan)
    for hour in ranking.hours:
        values[:, hour.hour] = [hour.behind_ms[name] for name in names]
    return Drawing(
        "Hour of day",
        "Each path's median lag behind the first of that hour of day.",
        figures.heat_map(HourCells(names, values), "median behind the first, ms"),
    )
