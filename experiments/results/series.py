"""The samples of one path, as columns in arrival order, each in memory or, where it is long, in a file."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from daemons.measurement.time_step import STEPS_NS
from experiments.results.changes import Changes
from experiments.results.columns import ColumnBuffer, Flags, Floats, Integers, collected, pieces

__all__ = ["COLUMNS", "Flags", "Floats", "Integers", "PathSeries", "nothing", "observed_step_ns", "unused_columns"]

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


_OF_THE_OTHER = {
    "end_to_end_ms": frozenset({"backbone_ms", "forwarder_fraction_ns"}),
    "backbone_ms": frozenset({"end_to_end_ms", "event_fraction_ns"}),
}


def unused_columns(metric: str, *, race: bool) -> frozenset[str]:
    """Name the columns that no figure of a metric is made of: two fifths of the bytes.

    Args:
        metric: ``end_to_end_ms`` or ``backbone_ms``.
        race: sequence numbers say nothing that the events of the other path do not.
    """
    return _OF_THE_OTHER[metric] | ({"sequence"} if race else set())


def observed_step_ns(times_ns: Integers, at_most: int = STEPS_NS[0]) -> int:
    """Give the step (a second, ms, µs or ns) that all of these times are multiples of: what they show, not a promise.

    That as few as three times of a finer clock are all whole milliseconds by chance happens once in 10^9.

    Args:
        times_ns: the times.
        at_most: the step that others of them showed.
    """
    steps = [step for step in STEPS_NS if step <= at_most]
    return next(step for step in steps if step == 1 or not (times_ns % step).any())


def nothing(column: str, count: int) -> npt.NDArray[Any]:
    """Give a column that has no value in any row, and needs no memory."""
    none = np.float64("nan") if COLUMNS[column] is np.float64 else COLUMNS[column](0)
    return np.broadcast_to(none, count)


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
        through_forwarder: whether any event passed a forwarder, where that was seen while ``backbone_ms`` was left out;
            None where the column says it.
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
    through_forwarder: bool | None = None

    def __len__(self) -> int:
        return len(self.arrival_ns)

    @property
    def is_feed(self) -> bool:
        """Tell a feed from a link: nothing on a feed ever passed a forwarder."""
        if self.through_forwarder is not None:
            return not self.through_forwarder
        return bool(np.isnan(self.backbone_ms).all())

    def samples(self, metric: str) -> Floats:
        """Give the live samples of ``end_to_end_ms`` or ``backbone_ms`` in arrival order, without NaN."""
        return collected(np.float64, (getattr(one, metric)[one.sampled(metric)] for one in self.pieces()))

    def changes(self, metric: str) -> Floats:
        """Give how much each of :meth:`samples` differs from the one before it of its stream; NaN where none is."""
        found, start = Changes(len(self.streams), self.parts), 0
        parts = []
        for one in self.pieces():
            sampled = one.sampled(metric)
            rows = start + np.flatnonzero(sampled)
            parts.append(found.of(getattr(one, metric)[sampled], one.stream[sampled], rows))
            start += len(one)
        return collected(np.float64, parts)

    def timed_samples(self, metric: str) -> tuple[Integers, Floats]:
        """Give the arrival times of :meth:`samples`, and them."""
        found = ColumnBuffer({"times": np.int64, "values": np.float64})
        for one in self.pieces():
            sampled = one.sampled(metric)
            found.append({"times": one.arrival_ns[sampled], "values": getattr(one, metric)[sampled]})
        columns = found.columns()
        return columns["times"], columns["values"]

    def sampled(self, metric: str) -> Flags:
        """Mark the rows that :meth:`samples` gives."""
        values: Floats = getattr(self, metric)
        return self.live & ~np.isnan(values)

    def pieces(self) -> Iterator["PathSeries"]:
        """Give all rows, some at a time: to be computed with and let go of."""
        columns = {column: getattr(self, column) for column in COLUMNS}
        for piece in pieces(*columns.values()):
            yield replace(self, **{column: values[piece] for column, values in columns.items()})

    def steps_ns(self, metric: str) -> dict[str, tuple[int, int]]:
        """Give, per stream with samples, the steps in which the two times behind a latency were told, as they show.

        Returns:
            The step of where it begins (the exchange's event time, the forwarder's stamp), and of the arrival.
        """
        found: dict[int, tuple[int, int]] = {}
        for one in self.pieces():
            begins, sampled = one.fractions_ns(metric), one.sampled(metric)
            for code in np.flatnonzero(np.bincount(one.stream[sampled])).tolist():
                mine = sampled & (one.stream == code)
                begin, arrival = found.get(code, (STEPS_NS[0], STEPS_NS[0]))
                found[code] = (
                    observed_step_ns(begins[mine], begin),
                    observed_step_ns(one.arrival_ns[mine], arrival),
                )
        return {self.streams[code]: found[code] for code in sorted(found)}

    def with_times_cut(self, metric: str, steps_ns: Mapping[str, tuple[int, int]]) -> "PathSeries":
        """Give the series as if its times had been told in coarser steps: cut, as clocks do, not rounded.

        Args:
            metric: the latency whose times to cut.
            steps_ns: as :meth:`steps_ns` gives them; streams that are not named stay as they are.
        """
        steps = np.array([steps_ns.get(name, (1, 1)) for name in self.streams], np.int64)
        begin = "event_fraction_ns" if metric == "end_to_end_ms" else "forwarder_fraction_ns"
        cut = ColumnBuffer({name: COLUMNS[name] for name in (metric, begin, "arrival_ns")})
        for one in self.pieces():
            wanted, begins = steps[one.stream], one.fractions_ns(metric)
            cut_begins, cut_arrivals = begins % wanted[:, 0], one.arrival_ns % wanted[:, 1]
            latency = getattr(one, metric) + (cut_begins - cut_arrivals) / 1e6
            cut.append({metric: latency, begin: begins - cut_begins, "arrival_ns": one.arrival_ns - cut_arrivals})
        return replace(self, **cut.columns())

    def fractions_ns(self, metric: str) -> Integers:
        """Give the time that a latency begins with beyond its whole second, of every row."""
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

    def in_order(self) -> "PathSeries":
        """Sort the rows of each run by arrival."""
        run = np.searchsorted(self.parts, np.arange(len(self)), side="right")
        order = np.lexsort((self.arrival_ns, run))
        columns = {column: getattr(self, column) for column in COLUMNS}
        return replace(
            self, **{name: values if _is_left_out(values) else values[order] for name, values in columns.items()}
        )

    def _only(self, wanted: Flags) -> "PathSeries":
        columns = {column: getattr(self, column) for column in COLUMNS}
        chosen: dict[str, Any] = {
            name: nothing(name, int(np.count_nonzero(wanted)))
            if _is_left_out(values)
            else collected(values.dtype, (values[piece][wanted[piece]] for piece in pieces(values)))
            for name, values in columns.items()
        }
        parts = tuple(int(np.count_nonzero(wanted[:start])) for start in self.parts)
        return replace(self, **chosen, parts=parts)


def _is_left_out(column: npt.NDArray[Any]) -> bool:
    """Tell a column of :func:`nothing`."""
    return bool(len(column)) and column.strides == (0,)
