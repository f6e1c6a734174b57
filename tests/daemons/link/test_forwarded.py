import json
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemons.errors import WireError
from daemons.link import forwarded
from daemons.link.forwarded import LineDecoder, decode_forwarded, encode_forwarded
from daemons.records import LinkEvent, StampKind
from tests.daemons.arrivals import arrivals, judge

MESSAGES = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), max_size=80).map(str.encode)
SEQUENCES = st.integers(0, 2**63 - 1)
MILLISECONDS = st.integers(1_483_228_800_000, 4_102_444_800_000)


@given(SEQUENCES, st.integers(0, 2**63 - 1), st.none() | MILLISECONDS, MESSAGES)
def test_what_is_encoded_is_the_original_object_and_is_read_back(
    sequence: int, receive_ns: int, time_ms: int | None, payload: bytes
) -> None:
    time_ns = None if time_ms is None else time_ms * 1_000_000
    data = encode_forwarded(sequence, receive_ns, time_ns, payload)
    assert b"\n" not in data
    assert json.loads(data) == {
        "sequence_id": sequence,
        "tokyo_receive_timestamp": receive_ns,
        "binance_event_time": time_ms or 0,
        "event_data": payload.decode(),
    }
    assert decode_forwarded(data) == LinkEvent(
        sequence, receive_ns, StampKind.USER, time_ns, None, None, "", False, payload
    )


@pytest.mark.parametrize(
    ("time", "time_ns"),
    [
        (0, None),
        (-1, None),
        (1_672_515_782_136, 1_672_515_782_136_000_000),
        (1_672_515_782_136_042, 1_672_515_782_136_042_000),
    ],
)
def test_event_times_may_be_milliseconds_or_microseconds(time: int, time_ns: int | None) -> None:
    data = b'{"sequence_id":1,"tokyo_receive_timestamp":2,"binance_event_time":%d,"event_data":"{}"}' % time
    assert decode_forwarded(data).event_time_ns == time_ns


def test_other_programs_may_say_more_and_in_another_order() -> None:
    event = decode_forwarded(
        b' {"event_data":"{}", "extra":[1], "binance_event_time":0,"tokyo_receive_timestamp":2,"sequence_id":1} '
    )
    assert (event.sequence, event.receive_ns) == (1, 2)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{}",
        b"[]",
        b'{"sequence_id":1,"tokyo_receive_timestamp":2,"binance_event_time":0}',
        b'{"sequence_id":"1","tokyo_receive_timestamp":2,"binance_event_time":0,"event_data":""}',
        b'{"sequence_id":-1,"tokyo_receive_timestamp":2,"binance_event_time":0,"event_data":""}',
        b'{"sequence_id":9223372036854775808,"tokyo_receive_timestamp":2,"binance_event_time":0,"event_data":""}',
        b'{"sequence_id":1,"tokyo_receive_timestamp":1e400,"binance_event_time":0,"event_data":""}',
        b'{"sequence_id":1,"tokyo_receive_timestamp":2,"binance_event_time":null,"event_data":""}',
        b'{"sequence_id":1,"tokyo_receive_timestamp":2,"binance_event_time":0,"event_data":"\xff"}',
        b'{"sequence_id":1,"tokyo_receive_timestamp":2,"binance_event_time":0,"event_data":"\\ud800"}',
    ],
)
def test_anything_else_is_garbage(data: bytes) -> None:
    with pytest.raises(WireError) as caught:
        decode_forwarded(data)
    assert caught.value.reason == "garbage"


@given(st.binary(max_size=200))
def test_no_bytes_raise_anything_but_a_wire_error(data: bytes) -> None:
    with suppress(WireError):
        decode_forwarded(data)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.fixed_dictionaries(
                {},
                optional={
                    "sequence_id": inner,
                    "tokyo_receive_timestamp": inner,
                    "binance_event_time": inner,
                    "event_data": inner,
                },
            )
        ),
        max_leaves=10,
    )
)
def test_no_json_raises_anything_but_a_wire_error(value: object) -> None:
    try:
        event = decode_forwarded(json.dumps(value).encode())
    except WireError:
        return
    assert isinstance(value, dict)
    assert event.sequence == value["sequence_id"]


@given(
    st.lists(st.tuples(st.integers(1, 1000), st.sampled_from([b"\n", b"\r\n", b"\n\n", b"\nnonsense\n"]))), st.data()
)
def test_lines_survive_any_split(numbers: list[tuple[int, bytes]], data: st.DataObject) -> None:
    stream = b"".join(encode_forwarded(number, 5, None, b'{"a":"b"}') + end for number, end in numbers)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=10)))
    decoder = LineDecoder()
    found: list[int] = []
    bad = 0
    for start, stop in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        events, nonsense = decoder.feed(stream[start:stop])
        found += [event.sequence for event in events]
        bad += nonsense
    assert found == [number for number, _end in numbers]
    assert bad == sum(b"nonsense" in end for _number, end in numbers)


def test_a_line_without_end_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forwarded, "MAX_LINE", 1000)
    decoder = LineDecoder()
    decoder.feed(b"x" * 1000)
    with pytest.raises(WireError) as caught:
        decoder.feed(b"x")
    assert caught.value.reason == "too_large"


@given(st.data())
def test_a_stamp_is_exact_for_the_line_that_the_last_packet_completed(data: st.DataObject) -> None:
    lines = LineDecoder()
    stream = b""
    ends: list[int] = []
    for kind in data.draw(st.lists(st.sampled_from(["event", "blank", "broken"]), min_size=1, max_size=8)):
        stream += {"event": encode_forwarded(len(ends), 1, None, b"{}"), "blank": b"", "broken": b"{"}[kind] + b"\r\n"
        if kind == "event":
            ends.append(len(stream))
    came = data.draw(arrivals(stream))
    judge(came, ends, [(len(lines.feed(read)[0]), stamp, lines.exact) for read, stamp in came])


def test_a_long_line_in_the_smallest_pieces_is_put_together_once() -> None:
    line = encode_forwarded(1, 1, None, b"x" * (1 << 20))
    decoder = LineDecoder()
    for at in range(len(line)):
        assert decoder.feed(line[at : at + 1]) == ([], 0)
    (events, bad) = decoder.feed(b"\n" + line[:7])
    assert (len(events[0].payload), bad, decoder.exact) == (1 << 20, 0, False)
    (events, bad) = decoder.feed(line[7:] + b"\n")
    assert (len(events), bad, decoder.exact) == (1, 0, True)
