"""The format against its document, and against anything else that may come down a wire."""

import re
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemons.errors import WireError
from daemons.link.control import encode_control, hello_unsigned
from daemons.link.decoder import MAX_BODY, MAX_STRANGER_BODY, FrameDecoder
from daemons.link.events import FEED_HELD, FEED_RENEWED, datagram_events, datagram_head, encode_event, redeparted
from daemons.link.frame import FRAME_MAGIC, HEAD, Kind
from daemons.link.messages import (
    Ack,
    Bye,
    Challenge,
    ClockReply,
    ClockRequest,
    Departure,
    Departures,
    DropReason,
    GaveUp,
    Heartbeat,
    Hello,
    Message,
    Reject,
    RejectReason,
    Shared,
    Transport,
    Welcome,
)
from daemons.link.seal import DatagramOpener, DatagramSealer, Opener
from daemons.link.session import ForwarderSession, Introduction, Offer, ReceiverSession
from daemons.records import UNKNOWN_CLOCK, ClockState, LinkEvent, Stamp, StampKind
from daemons.secret import Secret
from tests.daemons.arrivals import arrivals

DOCUMENT = Path(__file__).parents[3] / "docs" / "wire-format.md"
VECTORS = {
    name: bytes.fromhex("".join(line.partition("#")[0] for line in body.splitlines()))
    for name, body in re.findall(r"^```vector (\S+)\n(.*?)^```$", DOCUMENT.read_text(), re.MULTILINE | re.DOTALL)
}

KEY = b"0123456789abcdef"
CLOCK = ClockState(synchronized=True, offset_ns=-1501, error_bound_ns=190_001, source="chrony", steps=1)
TOKEN = 0x1122334455667788
TRADE = LinkEvent(
    42,
    1_763_722_100_123_456_789,
    StampKind.KERNEL,
    1_763_722_100_120_000_000,
    1_763_722_100_123_460_000,
    12345,
    "btcusdt@trade",
    False,
    b'{"e":"trade"}',
)
BARE = LinkEvent(
    43, 1_763_722_100_123_456_789, StampKind.SHARED, None, 1_763_722_100_123_460_000, None, "!x", True, b"[]"
)
MESSAGES: dict[str, Message] = {
    "challenge": Challenge(2, bytes(range(16))),
    "hello": Hello(
        2,
        Transport.UDP,
        0x0123456789ABCDEF,
        bytes(range(16, 32)),
        40,
        "backbone",
        CLOCK,
        bytes.fromhex("b979f5e7f1833ec86d02625feb0b3051e2c932d57f8fe3c48154ca7fefc47235"),
    ),
    "welcome": Welcome(2, TOKEN, 41, bytes.fromhex("839be5c7bb8c11939b8ba23198afd7f54420a9d4a15d48077f116ef5f19c0695")),
    "reject": Reject(RejectReason.PATH, "check destinations"),
    "event": TRADE,
    "event-bare": BARE,
    "heartbeat": Heartbeat(43, 1_763_722_101_000_000_000, UNKNOWN_CLOCK, {DropReason.COUNT: 2, DropReason.AGE: 7}),
    "ack": Ack(43, 42, 1),
    "clock-request": ClockRequest(3, 1_763_722_101_000_000_000),
    "clock-reply": ClockReply(3, 1_763_722_101_000_000_000, 1_763_722_101_050_000_000, 1_763_722_101_050_020_000),
    "bye": Bye(43),
    "gave-up": GaveUp(((12, 12), (20, 29))),
    "departures": Departures(
        (
            Departure(42, 1_763_722_100_123_461_500, 1_763_722_100_230_000_000),
            Departure(43, 1_763_722_100_123_470_000, None),
        )
    ),
    "shared": Shared(1),
}


def whole(_token: int, _number: int, data: bytes) -> int:
    """Find the end of the events in a datagram without a tag."""
    return len(data)


def encoded(message: Message) -> bytes:
    if isinstance(message, LinkEvent):
        assert message.departure_ns is not None
        return encode_event(
            message.sequence,
            message.receive_ns,
            message.receive_kind,
            message.event_time_ns,
            message.departure_ns,
            message.event_id,
            message.stream.encode(),
            message.payload,
            delayed=message.delayed,
            sampled=message.sampled,
            marks=(FEED_HELD if message.feed_held else 0) | (FEED_RENEWED if message.feed_renewed else 0),
        )
    return encode_control(message)


# The document


def test_the_document_has_a_vector_of_every_frame() -> None:
    assert set(VECTORS) == {*MESSAGES, "datagram", "datagram-signed", "record"}
    assert {VECTORS[name][1] for name in MESSAGES} == set(Kind)


@pytest.mark.parametrize("name", MESSAGES)
def test_vectors_are_encoded_and_decoded(name: str) -> None:
    assert encoded(MESSAGES[name]) == VECTORS[name]
    assert FrameDecoder().feed(VECTORS[name]) == [MESSAGES[name]]


def test_the_vector_of_the_datagram() -> None:
    assert DatagramSealer(TOKEN).wrap(encoded(TRADE)) == VECTORS["datagram"]
    assert datagram_events(VECTORS["datagram"], whole) == (TOKEN, [TRADE])


def test_the_vectors_of_the_handshake_are_one_handshake() -> None:
    receiver = ReceiverSession(
        lambda: [
            Offer(keys=(Secret(KEY),), path="backbone", transports=frozenset(Transport), highest_of=lambda _session: 41)
        ],
        nonce=bytes(range(16)),
        token=TOKEN,
    )
    introduction = Introduction(Secret(KEY), 0x0123456789ABCDEF, "backbone", Transport.UDP, 40, bytes(range(16, 32)))
    forwarder = ForwarderSession(introduction, CLOCK)
    stamp = Stamp(0, StampKind.KERNEL, 0, 0)
    assert receiver.data_to_send() == VECTORS["challenge"]
    forwarder.receive_data(VECTORS["challenge"], stamp, lambda: 0)
    assert forwarder.data_to_send() == VECTORS["hello"]
    assert receiver.receive_data(VECTORS["hello"], stamp) == [MESSAGES["hello"]]
    assert receiver.data_to_send() == VECTORS["welcome"]
    forwarder.receive_data(VECTORS["welcome"], stamp, lambda: 0)
    assert forwarder.welcome == MESSAGES["welcome"]
    # And what follows it is signed by the keys that come of it.
    assert forwarder.seal(encoded(MESSAGES["bye"])) == VECTORS["record"]
    assert receiver.receive_data(VECTORS["record"], stamp) == [MESSAGES["bye"]]
    signed = VECTORS["datagram-signed"]
    assert forwarder.datagrams.wrap(encoded(TRADE)) == signed
    opener = receiver.datagrams
    opened = datagram_events(signed, lambda _token, number, data: opener.end_of_events(number, data))
    assert opened == (TOKEN, [TRADE])


def test_the_documents_figures_are_the_programs() -> None:
    text = DOCUMENT.read_text()
    assert f"{MAX_STRANGER_BODY} bytes until the handshake" in text
    assert f"({MAX_BODY:,})" in text
    for enumeration in (RejectReason, DropReason):
        for member in enumeration:
            words = "could not be sent" if member is DropReason.SEND else member.name.lower().replace("_", " ")
            assert f"{member.value} {words}" in text


# Round trips

U64 = st.integers(0, 2**64 - 1)
I64 = st.integers(-(2**63), 2**63 - 1)
MAC = st.sampled_from([b"", bytes(32)]) | st.binary(min_size=32, max_size=32)
RANGES = st.tuples(st.integers(1, 2**63), st.integers(0, 2**62)).map(lambda pair: (pair[0], sum(pair)))
CLOCKS = st.builds(
    ClockState,
    synchronized=st.booleans(),
    offset_ns=I64,
    error_bound_ns=st.none() | U64,
    source=st.sampled_from(["none", "kernel", "chrony", "ptp"]),
    steps=st.integers(0, 65_535),
)
TIMES = st.integers(-(2**63) + 1, 2**63 - 1)
NONCES = st.binary(min_size=16, max_size=16)
TEXTS = st.text(max_size=60)
EVENTS = st.builds(
    LinkEvent,
    st.integers(1, 2**64 - 1),
    I64,
    st.sampled_from(StampKind),
    st.none() | st.integers(-(2**63) + 1, 2**63 - 1),
    I64,
    st.none() | st.integers(0, 2**64 - 2),
    st.text(st.characters(codec="utf-8"), max_size=63),
    st.booleans(),
    st.binary(max_size=300),
    st.booleans(),
    st.just(value=False),
    st.booleans(),
    st.booleans(),
)
CONTROL = st.one_of(
    st.builds(Challenge, st.integers(0, 255), NONCES),
    st.builds(Hello, st.just(2), st.sampled_from(Transport), U64, NONCES, U64, TEXTS, CLOCKS, MAC),
    st.builds(Welcome, st.integers(0, 255), U64, U64, MAC),
    st.builds(Reject, st.sampled_from(RejectReason), TEXTS),
    st.builds(Heartbeat, U64, I64, CLOCKS, st.dictionaries(st.sampled_from(DropReason), U64)),
    st.builds(Ack, U64, U64, U64),
    st.builds(ClockRequest, st.integers(0, 2**32 - 1), I64),
    st.builds(ClockReply, st.integers(0, 2**32 - 1), I64, I64, I64),
    st.builds(Bye, U64),
    st.builds(GaveUp, st.lists(RANGES, max_size=4).map(tuple)),
    st.builds(
        Departures,
        st.lists(st.builds(Departure, st.integers(1, 2**64 - 1), I64, st.none() | TIMES), max_size=4).map(tuple),
    ),
)


@given(st.lists(CONTROL | EVENTS, max_size=6), st.data())
def test_every_message_survives_any_split(messages: list[Message], data: st.DataObject) -> None:
    stream = b"".join(map(encoded, messages))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=12)))
    decoder = FrameDecoder(MAX_BODY)
    found: list[Message] = []
    for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        found += decoder.feed(stream[start:end])
    assert found == messages


@given(st.lists(EVENTS, max_size=6), U64)
def test_datagrams_survive(events: list[LinkEvent], token: int) -> None:
    data = datagram_head(token, 1) + b"".join(map(encoded, events))
    assert datagram_events(data, whole) == (token, events)


@given(EVENTS, I64, st.booleans())
def test_a_later_departure_changes_that_and_nothing_else(event: LinkEvent, departure_ns: int, delayed: bool) -> None:
    late = redeparted(encoded(event), departure_ns, delayed=delayed)
    event.departure_ns, event.delayed, event.sampled = departure_ns, event.delayed or delayed, False
    event.waited = True
    assert FrameDecoder(MAX_BODY).feed(late) == [event]


def test_a_clock_state_that_does_not_fit_is_bounded() -> None:
    odd = ClockState(synchronized=False, offset_ns=0, error_bound_ns=None, source="sundial", steps=10**9)
    (beat,) = FrameDecoder().feed(encode_control(Heartbeat(0, 0, odd, {})))
    assert isinstance(beat, Heartbeat)
    assert (beat.clock.source, beat.clock.steps) == ("none", 65_535)


def test_a_reader_of_before_takes_a_stamp_of_the_interface_for_one_that_it_knows() -> None:
    """Bits 1 and 2 are what it looks at: the kernel's stamp for the interface's, and the warm-up for a missing one."""
    told = {}
    for kind in StampKind:
        event = LinkEvent(1, 2, kind, None, 3, None, "x", False, b"")
        flags = encoded(event)[6 + 40]
        assert flags & ~0x26 == 0
        told[kind] = StampKind((flags & 0x06) >> 1)
    assert told == {kind: kind for kind in list(StampKind)[:4]} | {
        StampKind.HARDWARE: StampKind.KERNEL,
        StampKind.NO_HARDWARE: StampKind.WARMUP,
    }
    # And with bit 5 beside what nobody sends, it is as without.
    frame = bytearray(encoded(LinkEvent(1, 2, StampKind.SHARED, None, 3, None, "x", False, b"")))
    frame[6 + 40] |= 0x20
    (read,) = FrameDecoder(MAX_BODY).feed(bytes(frame))
    assert isinstance(read, LinkEvent)
    assert read.receive_kind is StampKind.SHARED


@given(st.integers(0, 255))
def test_a_clock_that_its_host_disrupted_is_told_beside_flags_that_nobody_knows(unknown: int) -> None:
    disrupted = ClockState(
        synchronized=False, offset_ns=0, error_bound_ns=None, source="chrony", steps=3, disrupted=True
    )
    frame = bytearray(encode_control(Heartbeat(0, 0, disrupted, {})))
    # Behind the frame's head, the highest number and the time.
    frame[6 + 8 + 8] |= unknown & ~3
    (beat,) = FrameDecoder().feed(bytes(frame))
    assert isinstance(beat, Heartbeat)
    assert beat.clock == disrupted


def test_a_refusals_text_is_cut_between_or_within_characters() -> None:
    (reject,) = FrameDecoder(MAX_BODY).feed(encode_control(Reject(RejectReason.PATH, "x" + "ü" * 200)))
    assert isinstance(reject, Reject)
    assert reject.text.startswith("x" + "ü" * 127)


def test_a_path_name_too_long_is_refused_before_it_is_sent() -> None:
    hello = Hello(2, Transport.TCP, 0, bytes(16), 0, "p" * 256, UNKNOWN_CLOCK)
    with pytest.raises(WireError, match="path name of 256 bytes is too long"):
        hello_unsigned(hello)


# Bad input

FRAMES = st.sampled_from(sorted(VECTORS.values())) | st.builds(encoded, CONTROL | EVENTS)


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    frame = bytearray(draw(FRAMES))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(frame) - 1))
        action = draw(st.sampled_from(["flip", "cut", "insert"]))
        if action == "flip":
            frame[at] ^= draw(st.integers(1, 255))
        elif action == "cut" and len(frame) > 1:
            del frame[at:]
        else:
            frame[at:at] = draw(st.binary(max_size=9))
        if not frame:
            frame = bytearray(b"\xb1")
    return bytes(frame)


def headed(kind: int, body: bytes) -> bytes:
    return HEAD.pack(FRAME_MAGIC, kind, len(body)) + body


@given(st.binary(max_size=200) | damaged() | st.builds(headed, st.integers(0, 255), st.binary(max_size=120)))
def test_no_bytes_raise_anything_but_a_wire_error(data: bytes) -> None:
    for decode in (
        FrameDecoder(MAX_BODY).feed,
        FrameDecoder().feed,
        lambda piece: datagram_events(piece, whole),
        lambda piece: datagram_events(datagram_head(7, 1) + piece, whole),
        Opener(KEY).open,
        lambda piece: DatagramOpener(KEY).end_of_events(1, piece),
    ):
        with suppress(WireError):
            decode(data)


@pytest.mark.parametrize(
    ("data", "reason", "message"),
    [
        (b"GET / HTTP/1.1\r\n", "garbage", "frame starts with 47455420, not ours"),
        (HEAD.pack(0xB1, 5, 513), "too_large", "frame of 513 bytes exceeds the limit of 512"),
        (headed(12, b""), "garbage", "frame type 12 is unknown"),
        (headed(11, bytes(16)), "garbage", "GAVE_UP frame is malformed: ranges contradict themselves"),
        (headed(11, bytes(15)), "garbage", "GAVE_UP frame is malformed: iterative unpacking requires a buffer of"),
        (headed(5, bytes(41)), "garbage", "EVENT frame is too short"),
        (headed(5, bytes(42)), "garbage", "EVENT frame contradicts itself"),
        (encoded(TRADE)[:47] + b"\xff" + encoded(TRADE)[48:], "garbage", "EVENT frame contradicts itself"),
        (encoded(TRADE).replace(b"btcusdt", b"btc\xffsdt"), "garbage", "stream name is not UTF-8"),
        (headed(1, bytes(16)), "garbage", "CHALLENGE frame is malformed: 16 bytes"),
        (headed(4, b"\x09\x00"), "garbage", "REJECT frame is malformed: 9 is not a valid RejectReason"),
        (headed(7, bytes(23)), "garbage", "ACK frame is malformed: unpack requires a buffer of 24 bytes"),
    ],
)
def test_what_is_wrong_is_said(data: bytes, reason: str, message: str) -> None:
    with pytest.raises(WireError, match=re.escape(message)) as caught:
        FrameDecoder().feed(data)
    assert caught.value.reason == reason


@pytest.mark.parametrize(
    ("data", "reason", "message"),
    [
        (b"", "garbage", "datagram of 0 bytes is too short"),
        (b"{" * 18, "garbage", "datagram starts with 7b7b, not ours"),
        (datagram_head(8, 1) + b"x", "garbage", "something else than events"),
        (datagram_head(7, 1) + encoded(TRADE)[:-1], "garbage", "datagram is cut off"),
        (datagram_head(7, 1) + encoded(TRADE) + encode_control(Bye(1)), "garbage", "something else than events"),
    ],
)
def test_a_datagram_is_used_whole_or_not_at_all(data: bytes, reason: str, message: str) -> None:
    with pytest.raises(WireError, match=message) as caught:
        datagram_events(data, whole)
    assert caught.value.reason == reason


def test_an_oversized_frame_is_refused_at_its_head() -> None:
    decoder = FrameDecoder(MAX_BODY)
    with pytest.raises(WireError, match="exceeds the limit"):
        decoder.feed(HEAD.pack(0xB1, Kind.EVENT, MAX_BODY + 1))


@given(st.data())
def test_a_read_is_exact_when_it_ends_with_a_message(data: st.DataObject) -> None:
    decoder = FrameDecoder(MAX_BODY)
    frames = [encoded(MESSAGES[name]) for name in data.draw(st.lists(st.sampled_from(sorted(MESSAGES)), min_size=1))]
    ends = {sum(map(len, frames[: count + 1])) for count in range(len(frames))}
    came = data.draw(arrivals(b"".join(frames)))
    exact = []
    for read, _stamp in came:
        decoder.feed(read)
        exact.append(decoder.exact)
    assert exact == [end in ends for end in came.reads]


def test_a_large_frame_in_the_smallest_pieces_is_put_together_once() -> None:
    payload = bytes(1 << 20)
    frame = encode_event(1, 1, 0, None, 1, None, b"x@trade", payload)
    decoder = FrameDecoder(MAX_BODY)
    for at in range(len(frame) - 1):
        assert decoder.feed(frame[at : at + 1]) == []
        assert not decoder.exact
    (event,) = decoder.feed(frame[-1:] + frame[:5])
    assert isinstance(event, LinkEvent)
    assert event.payload == payload
    assert not decoder.exact
    (event,) = decoder.feed(frame[5:])
    assert decoder.exact
