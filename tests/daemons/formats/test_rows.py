import csv
import io

from hypothesis import given
from hypothesis import strategies as st

from daemons.formats.rows import COLUMNS, HEADER, ORIGINAL_COLUMNS, Row, encode_row
from daemons.measurement.tail.causes import Cause
from daemons.records import StampKind, Validity

some_text = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)
some_time = st.none() | st.integers(0, 2**63 - 1)
some_row = st.builds(
    Row,
    path=some_text,
    stream=some_text,
    sequence=st.integers(0, 2**63 - 1),
    event_id=st.none() | st.integers(-(2**63), 2**63 - 1),
    event_time_ns=some_time,
    forwarder_ns=some_time,
    departure_ns=some_time,
    arrival_ns=st.integers(0, 2**63 - 1),
    end_to_end_ns=st.none() | st.integers(-(2**62), 2**62),
    backbone_ns=st.none() | st.integers(-(2**62), 2**62),
    stamp=st.sampled_from(StampKind),
    validity=st.sampled_from(Validity),
    delayed=st.booleans(),
    cause=st.none() | st.sampled_from(Cause),
    tcp_rtt_ns=some_time,
    tcp_retransmitted=some_time,
    tcp_out_of_order=some_time,
)


@given(st.lists(some_row, max_size=5))
def test_what_is_written_is_what_another_reader_of_csv_finds(rows: list[Row]) -> None:
    file = io.StringIO(HEADER + "".join(map(encode_row, rows)), newline="")
    found = list(csv.DictReader(file, strict=True))
    assert [(one["path"], one["stream"]) for one in found] == [(row.path, row.stream) for row in rows]
    for one, row in zip(found, rows, strict=True):
        assert tuple(one) == COLUMNS
        assert int(one["sequence_id"]) == row.sequence
        assert int(one["frankfurt_time"]) == row.arrival_ns
        assert one["binance_time"] == ("" if row.event_time_ns is None else str(row.event_time_ns // 10**6))
        for column, value in (
            ("tokyo_time", row.forwarder_ns),
            ("event_time_ns", row.event_time_ns),
            ("departure_ns", row.departure_ns),
            ("event_id", row.event_id),
        ):
            assert one[column] == ("" if value is None else str(value))
        for column, value in (("end_to_end_latency_ms", row.end_to_end_ns), ("backbone_latency_ms", row.backbone_ns)):
            assert (float(one[column]) if one[column] else None) == (None if value is None else round(value / 1e6, 6))
        assert (one["stamp"], one["validity"]) == (row.stamp.name.lower(), row.validity)
        assert one["delayed"] == str(int(row.delayed))
        assert one["cause"] == (row.cause or "")
        for column in ("tcp_rtt_ns", "tcp_retransmitted", "tcp_out_of_order"):
            value = None if row.cause is None else getattr(row, column)
            assert one[column] == ("" if value is None else str(value))


def test_the_original_programs_columns_come_first() -> None:
    assert COLUMNS[:6] == ORIGINAL_COLUMNS
    assert HEADER.startswith("sequence_id,binance_time,tokyo_time,frankfurt_time,end_to_end_latency_ms,backbone_lat")
