"""The CSV file of a run: every event on every path, a row each."""

import msgspec

from daemons.records import StampKind

__all__ = ["COLUMNS", "HEADER", "ORIGINAL_COLUMNS", "Row", "encode_row"]

ORIGINAL_COLUMNS = (
    "sequence_id",
    "binance_time",
    "tokyo_time",
    "frankfurt_time",
    "end_to_end_latency_ms",
    "backbone_latency_ms",
)
"""The original Rust programs': ``binance_time`` is the event's in milliseconds, the other times are in nanoseconds."""

COLUMNS = (
    *ORIGINAL_COLUMNS,
    "path",
    "stream",
    "event_id",
    "event_time_ns",
    "departure_ns",
    "stamp",
    "validity",
    "delayed",
    "cause",
    "tcp_rtt_ns",
    "tcp_retransmitted",
    "tcp_out_of_order",
)

HEADER = ",".join(COLUMNS) + "\n"


class Row(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """One event on one path; None where there is no such time or figure, which is an empty cell.

    ``kind`` and ``connection`` are the archive's alone: see :mod:`daemons.formats.archive.columns`. ``cause`` and
    what TCP said then are of events in their path's tail alone: see :mod:`daemons.measurement.tail`.
    """

    path: str
    stream: str
    sequence: int
    event_id: int | None
    event_time_ns: int | None
    forwarder_ns: int | None
    departure_ns: int | None
    arrival_ns: int
    end_to_end_ns: int | None
    backbone_ns: int | None
    stamp: StampKind
    validity: str
    delayed: bool
    kind: str = ""
    connection: int | None = None
    cause: str | None = None
    tcp_rtt_ns: int | None = None
    tcp_retransmitted: int | None = None
    tcp_out_of_order: int | None = None


def encode_row(row: Row) -> str:
    """Write a row as a line, in the order of :data:`COLUMNS` (RFC 4180, with the line end of Unix).

    By hand, for every event passes here: the csv module takes three times as long.
    """
    event_ms = "" if row.event_time_ns is None else row.event_time_ns // 1_000_000
    why = ",,,"
    if row.cause is not None:
        tcp = f"{_blank(row.tcp_rtt_ns)},{_blank(row.tcp_retransmitted)},{_blank(row.tcp_out_of_order)}"
        why = f"{row.cause},{tcp}"
    return (
        f"{row.sequence},{event_ms},{_blank(row.forwarder_ns)},{row.arrival_ns},"
        f"{_milliseconds(row.end_to_end_ns)},{_milliseconds(row.backbone_ns)},{_quoted(row.path)},"
        f"{_quoted(row.stream)},{_blank(row.event_id)},{_blank(row.event_time_ns)},{_blank(row.departure_ns)},"
        f"{row.stamp.name.lower()},{row.validity},{int(row.delayed)},{why}\n"
    )


def _blank(value: int | None) -> int | str:
    return "" if value is None else value


def _milliseconds(value_ns: int | None) -> str:
    return "" if value_ns is None else f"{value_ns / 1e6:.6f}"


def _quoted(text: str) -> str:
    return '"' + text.replace('"', '""') + '"' if any(mark in text for mark in ',"\n\r') else text
