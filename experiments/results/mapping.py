"""Which columns of another recorder's file are what."""

from dataclasses import dataclass

__all__ = ["UNITS", "Mapping", "TimeColumn"]

UNITS = {"s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}
"""Of times, in nanoseconds."""


@dataclass(frozen=True)
class TimeColumn:
    """A column of times; ``unit`` is one of :data:`UNITS`, or None where each cell's size says it."""

    name: str
    unit: str | None = None


@dataclass(frozen=True)
class Mapping:
    """Which columns of a file are what.

    Attributes:
        path: the path's name.
        arrival: when events arrived at the recorder.
        event_time: when they happened, by the exchange's clock.
        forwarder: when they passed one.
        event_id: the column of the exchange's ids.
        sequence: the column of a forwarder's numbers.
        stream_column: the column of the streams' names.
        stream: the stream's name, where no column has it.
    """

    path: str
    arrival: TimeColumn
    event_time: TimeColumn | None = None
    forwarder: TimeColumn | None = None
    event_id: str | None = None
    sequence: str | None = None
    stream_column: str | None = None
    stream: str = ""
