"""The columns of a segment file, and what stands in its metadata. Without pyarrow, for those who only name them."""

from dataclasses import dataclass
from typing import Literal

import msgspec

from daemons.formats.summary import ClockSummary

__all__ = ["COLUMNS", "FIRST_COLUMNS", "FORMAT", "METADATA_KEY", "Column", "SegmentFacts"]

FORMAT = "backbone-latency-archive/1"
"""The number grows when a column changes its meaning or goes; a new column at the end is no new format."""
METADATA_KEY = b"backbone_latency"
"""Under which a file's metadata have :class:`SegmentFacts`, as JSON."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column.

    Attributes:
        name: its name; what ends in ``_ns`` is in nanoseconds, times since the Unix epoch.
        kind: a name out of few (a dictionary of strings), an integer of 64 or 32 bits, or true and false.
        nullable: rows may have none.
        meaning: for the documents.
    """

    name: str
    kind: Literal["name", "int64", "int32", "bool"]
    nullable: bool
    meaning: str


COLUMNS = (
    Column("path", "name", False, "the path's name, as configured"),
    Column("stream", "name", False, "the stream's name, such as `btcusdt@trade`; empty where a link does not carry it"),
    Column("kind", "name", False, "of event: `trade`, `aggTrade`, `book`, …; empty where it is not known"),
    Column("connection", "int32", True, "a link's forwarder, numbered by its lives from 1; none on feeds"),
    Column("sequence", "int64", True, "the forwarder's number of the event in that life; on feeds, counted here"),
    Column("event_id", "int64", True, "the exchange's id"),
    Column("event_time_ns", "int64", True, "the exchange's event time"),
    Column("forwarder_ns", "int64", True, "arrival at the forwarder"),
    Column("departure_ns", "int64", True, "when the forwarder handed it to its socket"),
    Column("arrival_ns", "int64", False, "arrival here; rows are sorted by it"),
    Column("end_to_end_ns", "int64", True, "arrival minus event time, where that is a figure"),
    Column("backbone_ns", "int64", True, "arrival here minus arrival at the forwarder, where that is a figure"),
    Column(
        "stamp",
        "name",
        False,
        "who took the arrival stamp: `kernel`, `shared`, `user`, `warmup`, `hardware`, `no_hardware`",
    ),
    Column("validity", "name", False, "`ok`, or why the row is no sample"),
    Column("delayed", "bool", False, "it waited at the forwarder while the link was down"),
    Column("cause", "name", True, "why it is in its path's tail; none where it is not"),
    Column("tcp_rtt_ns", "int64", True, "in the tail: TCP's smoothed round trip then, of what this host sent"),
    Column(
        "tcp_retransmitted", "int64", True, "in the tail: segments that this host had sent again by then, on this path"
    ),
    Column("tcp_out_of_order", "int64", True, "in the tail: packets that had come out of order by then, on this path"),
)
"""In their order, also in a file.

Numbers of the wire that 64 bits with a sign do not hold are no exchange's, and are left out as null.
"""
FIRST_COLUMNS = 15
"""So many of them a file of this format has at least; the others were added since."""


class SegmentFacts(msgspec.Struct, frozen=True):
    """What a file says of itself.

    Attributes:
        format: see :data:`FORMAT`.
        host: that measured.
        session: the life of the receiver, as in the file's name.
        path: its name, unescaped.
        start_ns, end_ns: the span of the file's name.
        first_arrival_ns, last_arrival_ns: of its rows.
        rows: how many.
        rows_lost: how many of the path are missing in this span, or between it and the one before; None where nobody
            can know: receiver and archiver were killed together.
        clock: of the host, while the file grew: the worst of it.
        versions: of what wrote it.
        recovered: what had been writing it was killed; the next start finished it.
    """

    format: str
    host: str
    session: str
    path: str
    start_ns: int
    end_ns: int
    first_arrival_ns: int
    last_arrival_ns: int
    rows: int
    rows_lost: int | None
    clock: ClockSummary
    versions: dict[str, str]
    recovered: bool
