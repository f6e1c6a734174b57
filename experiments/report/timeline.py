"""Samples over time: medians and bands for a line, medians per hour for a heat map."""

from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np

from experiments.results.columns import Flags, Floats, Integers, Zones, let_go, pieces

__all__ = ["HourCells", "Timeline", "bins_of_time", "hour_cells", "timeline"]

_BINS = 240
_STRIPS = 60
_FEWEST_PER_BIN = 5
_HOUR_NS = 3_600_000_000_000


@dataclass(frozen=True)
class Timeline:
    """Medians and the p5 to p95 band, in ms, at seconds since the start of the whole comparison."""

    seconds: Floats
    median: Floats
    low: Floats
    high: Floats

    def lone(self) -> Flags:
        """Mark bins whose neighbours on both sides are empty."""
        filled = np.concatenate([[False], ~np.isnan(self.median), [False]])
        return np.asarray(filled[1:-1] & ~filled[:-2] & ~filled[2:])


@dataclass(frozen=True)
class HourCells:
    """Medians by day, or path (rows), and hour of day in UTC (columns); NaN where nothing was measured."""

    days: list[str]
    values: Floats

    @property
    def hours(self) -> int:
        """Give how many hours have a value."""
        return int(np.count_nonzero(~np.isnan(self.values)))


def timeline(times_ns: Integers, values: Floats, start_ns: int) -> Timeline:
    """Reduce samples to at most 240 bins of equal length; a bin with nothing in it breaks the line.

    Args:
        times_ns: arrival times, not necessarily in order.
        values: in ms.
        start_ns: the zero of the time axis.
    """
    times, ordered = times_ns, values
    if any((np.diff(times_ns[max(0, piece.start - 1) : piece.stop]) < 0).any() for piece in pieces(times_ns)):
        order = np.argsort(times_ns, kind="stable")
        times, ordered = times_ns[order], values[order]
    bins = max(1, min(_BINS, len(times) // _FEWEST_PER_BIN))
    edges = np.linspace(times[0], times[-1] + 1, bins + 1)
    cuts = np.searchsorted(times, edges)
    levels = np.full((3, bins), np.nan)
    for index in range(bins):
        piece = ordered[cuts[index] : cuts[index + 1]]
        if len(piece):
            levels[:, index] = np.quantile(piece, [0.05, 0.5, 0.95])
        let_go(times, ordered)
    middles = (edges[:-1] + edges[1:]) / 2
    return Timeline((middles - start_ns) / 1e9, levels[1], levels[0], levels[2])


def bins_of_time(times_ns: Integers, values: Floats) -> tuple[Floats, Floats]:
    """Reduce series over the same events to the medians of at most 60 bins of equal length.

    Args:
        times_ns: of the events, in order.
        values: series x events.

    Returns:
        The edges of the bins, in seconds since the first event, and series x bins; NaN where a bin is empty.
    """
    bins = max(1, min(_STRIPS, len(times_ns) // _FEWEST_PER_BIN))
    edges = np.linspace(times_ns[0], times_ns[-1] + 1, bins + 1)
    cuts = np.searchsorted(times_ns, edges)
    medians = np.full((len(values), bins), np.nan)
    for index in range(bins):
        piece = values[:, cuts[index] : cuts[index + 1]]
        if piece.shape[1]:
            medians[:, index] = np.median(piece, axis=1)
    return (edges - times_ns[0]) / 1e9, medians


def hour_cells(times_ns: Integers, values: Floats) -> HourCells:
    """Give the median of each hour."""
    zones = Zones()
    hours: set[int] = set()
    for piece in pieces(times_ns):
        own = times_ns[piece] // _HOUR_NS
        zones.add(piece, own)
        hours.update(np.unique(own).tolist())
    days = sorted({hour // 24 for hour in hours})
    cells = np.full((len(days), 24), np.nan)
    for hour in hours:
        its = [
            values[piece][times_ns[piece] // _HOUR_NS == hour]
            for piece in pieces(times_ns, values, at=zones.within(hour, hour))
        ]
        cells[days.index(hour // 24), hour % 24] = np.median(np.concatenate(its))
    names = [datetime.fromtimestamp(day * 86_400, UTC).strftime("%Y-%m-%d") for day in days]
    return HourCells(names, cells)
