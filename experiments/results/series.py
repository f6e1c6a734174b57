"""The samples of one path, as columns in arrival order.

Columns, not records: ten million rows are 450 MB here and would be ten times that as Python objects.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["COLUMNS", "ColumnBuffer", "Flags", "Floats", "Integers", "PathSeries"]

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

COLUMNS: Mapping[str, Any] = {
    "sequence": np.int64,
    "arrival_ns": np.int64,
    "end_to_end_ms": np.float64,
    "backbone_ms": np.float64,
    "event_fraction_ns": np.int32,
    "event_id": np.int64,
    "stream": np.uint16,
    "live": np.bool_,
}
_FIRST_CAPACITY = 4096


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
        event_fraction_ns: the event time beyond its whole millisecond, which shows how finely the exchange told it; 0
            where there is none.
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

    @property
    def event_time_step_ns(self) -> int | None:
        """Give the step in which event times were told, as it shows in them; None without a timed event."""
        fractions = self.event_fraction_ns[~np.isnan(self.end_to_end_ms)]
        if not len(fractions):
            return None
        return next(step for step in (1_000_000, 1_000, 1) if not (fractions % step).any())

    def with_event_times_cut(self, step_ns: int) -> "PathSeries":
        """Give the series as if event times had been told in a coarser step: cut, as exchanges do, not rounded."""
        cut = self.event_fraction_ns % step_ns
        return replace(
            self,
            end_to_end_ms=self.end_to_end_ms + cut / 1e6,
            event_fraction_ns=self.event_fraction_ns - cut,
        )

    def only_streams(self, names: set[str]) -> "PathSeries":
        """Keep the rows of some streams."""
        wanted = np.isin(self.stream, [code for code, name in enumerate(self.streams) if name in names])
        return PathSeries(
            name=self.name,
            **{column: getattr(self, column)[wanted] for column in COLUMNS},
            streams=self.streams,
            first_line=self.first_line,
            invalid=self.invalid,
            delayed=self.delayed,
            parts=tuple(int(np.count_nonzero(wanted[:start])) for start in self.parts),
        )
