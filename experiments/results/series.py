"""The samples of one path, as columns in arrival order.

Columns, not records: ten million rows are 450 MB here and would be ten times that as Python objects.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from daemons.measurement.time_step import STEPS_NS

__all__ = ["COLUMNS", "ColumnBuffer", "Flags", "Floats", "Integers", "PathSeries", "observed_step_ns"]

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

COLUMNS: Mapping[str, Any] = {
    "sequence": np.int64,
    "arrival_ns": np.int64,
    "end_to_end_ms": np.float64,
    "backbone_ms": np.float64,
    "event_fraction_ns": np.int32,
    "forwarder_fraction_ns": np.int32,
    "event_id": np.int64,
    "stream": np.uint16,
    "live": np.bool_,
}
_FIRST_CAPACITY = 4096


def observed_step_ns(times_ns: Integers) -> int:
    """Give the step (a second, ms, µs or ns) that all of these times are multiples of: what they show, not a promise.

    That as few as three times of a finer clock are all whole milliseconds by chance happens once in 10^9.
    """
    return next(step for step in STEPS_NS if not (times_ns % step).any())


class ColumnBuffer:
    """Columns that grow by doubling; memory beyond what was written is never touched, so it costs nothing."""

    def __init__(self) -> None:
        self._columns: dict[str, npt.NDArray[Any]] = {
            name: np.empty(_FIRST_CAPACITY, dtype) for name, dtype in COLUMNS.items()
        }
        self.size = 0

    def append(self, rows: Mapping[str, npt.NDArray[Any]]) -> None:
        """Append equally long pieces of all columns."""
        added = len(rows["arrival_ns"])
        needed = self.size + added
        for name, column in self._columns.items():
            if needed > len(column):
                larger = np.empty(max(needed, 2 * len(column)), column.dtype)
                larger[: self.size] = column[: self.size]
                self._columns[name] = larger
            self._columns[name][self.size : needed] = rows[name]
        self.size = needed

    def columns(self) -> dict[str, Any]:
        """Give the written part of each column, as views."""
        return {name: column[: self.size] for name, column in self._columns.items()}


@dataclass(frozen=True)
class PathSeries:
    """All rows of one path.

    Attributes:
        name: the path.
        sequence: the forwarder's sequence number, or 0 where there is none.
        arrival_ns: wall-clock arrival, epoch nanoseconds.
        end_to_end_ms: event time to arrival, NaN where the event had no time or the row is invalid.
        backbone_ms: forwarder stamp to arrival, NaN on a feed or where the row is invalid.
        event_fraction_ns: the event time beyond its whole second, which shows how finely the exchange told it; 0
            where there is none.
        forwarder_fraction_ns: the same of the arrival at the forwarder.
        event_id: the exchange's id, or 0 where the file has none.
        stream: index into ``streams``.
        live: False where the arrival says nothing of the path: its stamp was not to be trusted, or the event waited in
            the forwarder's buffer while its link was down.
        streams: names of the streams; ``("",)`` when the file does not name them.
        first_line: the line of the first row of each stream, for messages.
        invalid: rows by reason of invalidity.
        delayed: rows that waited in the forwarder while its link was down.
        parts: the row at which each run begins; more than one where runs were put together.
    """

    name: str
    sequence: Integers
    arrival_ns: Integers
    end_to_end_ms: Floats
    backbone_ms: Floats
    event_fraction_ns: npt.NDArray[np.int32]
    forwarder_fraction_ns: npt.NDArray[np.int32]
    event_id: Integers
    stream: npt.NDArray[np.uint16]
    live: Flags
    streams: tuple[str, ...] = ("",)
    first_line: Mapping[str, int] = field(default_factory=dict)
    invalid: Mapping[str, int] = field(default_factory=dict)
    delayed: int = 0
    parts: tuple[int, ...] = (0,)

    def __len__(self) -> int:
        return len(self.arrival_ns)

    @property
    def is_feed(self) -> bool:
        """Tell a feed from a link: nothing on a feed ever passed a forwarder."""
        return bool(np.isnan(self.backbone_ms).all())

    def samples(self, metric: str) -> Floats:
        """Give the live samples of ``end_to_end_ms`` or ``backbone_ms`` in arrival order, without NaN."""
        values: Floats = getattr(self, metric)
        return values[self.live & ~np.isnan(values)]

    def sample_times_ns(self, metric: str) -> Integers:
        """Give the arrival times of :meth:`samples`."""
        values: Floats = getattr(self, metric)
        return self.arrival_ns[self.live & ~np.isnan(values)]

    def steps_ns(self, metric: str) -> dict[str, tuple[int, int]]:
        """Give, per stream with samples, the steps in which the two times behind a latency were told, as they show.

        Returns:
            The step of where it begins (the exchange's event time, the forwarder's stamp), and of the arrival.
        """
        begins, sampled = self._fractions(metric), self.live & ~np.isnan(getattr(self, metric))
        found = {}
        for code in np.unique(self.stream[sampled]).tolist():
            mine = sampled & (self.stream == code)
            found[self.streams[code]] = (observed_step_ns(begins[mine]), observed_step_ns(self.arrival_ns[mine]))
        return found

    def with_times_cut(self, metric: str, steps_ns: Mapping[str, tuple[int, int]]) -> "PathSeries":
        """Give the series as if its times had been told in coarser steps: cut, as clocks do, not rounded.

        Args:
            metric: the latency whose times to cut.
            steps_ns: as :meth:`steps_ns` gives them; streams that are not named stay as they are.
        """
        wanted = np.array([steps_ns.get(name, (1, 1)) for name in self.streams], np.int64)[self.stream]
        begins = self._fractions(metric)
        cut_begins, cut_arrivals = begins % wanted[:, 0], self.arrival_ns % wanted[:, 1]
        latency = getattr(self, metric) + (cut_begins - cut_arrivals) / 1e6
        begin = "event_fraction_ns" if metric == "end_to_end_ms" else "forwarder_fraction_ns"
        columns: dict[str, Any] = {metric: latency, begin: (begins - cut_begins).astype(np.int32)}
        return replace(self, **columns, arrival_ns=self.arrival_ns - cut_arrivals)

    def _fractions(self, metric: str) -> Integers:
        fractions = self.event_fraction_ns if metric == "end_to_end_ms" else self.forwarder_fraction_ns
        return fractions.astype(np.int64)

    def only_streams(self, names: set[str]) -> "PathSeries":
        """Keep the rows of some streams; what was counted without being a sample stays counted, of whatever stream."""
        wanted = np.isin(self.stream, [code for code, name in enumerate(self.streams) if name in names])
        return self._only(wanted)

    def only_between(self, from_ns: int | None, to_ns: int | None) -> "PathSeries":
        """Keep the rows that arrived from one moment until another, which is excluded; None is no limit."""
        wanted = np.ones(len(self), bool)
        if from_ns is not None:
            wanted &= self.arrival_ns >= from_ns
        if to_ns is not None:
            wanted &= self.arrival_ns < to_ns
        return self._only(wanted)

    def _only(self, wanted: Flags) -> "PathSeries":
        columns: dict[str, Any] = {column: getattr(self, column)[wanted] for column in COLUMNS}
        parts = tuple(int(np.count_nonzero(wanted[:start])) for start in self.parts)
        return replace(self, **columns, parts=parts)
