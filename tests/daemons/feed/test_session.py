from collections.abc import Callable
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.frames import Frame, Opcode
from websockets.http11 import Request
from websockets.server import ServerProtocol

from daemons.errors import FeedError
from daemons.feed.binance import Decoder, Invalid, Notice
from daemons.feed.session import FeedSession
from daemons.reasons import FeedReason
from daemons.records import FeedEvent
from tests.daemons.arrivals import arrivals, judge

URL = "ws://exchange.test:9443/stream?streams=btcusdt@trade"


def trade(number: int) -> bytes:
    return b'{"stream":"btcusdt@trade","data":{"e":"trade","E":1672515782136,"s":"BTCUSDT","t":%d}}' % number


def opened(max_message_bytes: int = 1 << 20) -> tuple[FeedSession, ServerProtocol]:
    session, server = FeedSession(URL, max_message_bytes=max_message_bytes), ServerProtocol()
    session.start()
    server.receive_data(b"".join(session.data_to_send()))
    (request,) = server.events_received()
    assert isinstance(request, Request)
    assert request.path == "/stream?streams=btcusdt@trade"
    server.send_response(server.accept(request))
    return session, server


def received(session: FeedSession, data: bytes) -> list[FeedEvent]:
    events = session.receive_data(data)
    session.check()
    return events


def said(server: ServerProtocol) -> bytes:
    return b"".join(server.data_to_send())


def test_events_come_out_in_order_and_untouched() -> None:
    session, server = opened()
    for number in (1, 2, 3):
        server.send_text(trade(number))
    events = received(session, said(server))
    assert [event.payload for event in events] == [trade(1), trade(2), trade(3)]
    assert session.established


@given(st.data())
def test_any_split_of_the_bytes_gives_the_same_events(data: st.DataObject) -> None:
    session, server = opened()
    server.send_text(trade(1))
    server.send_text(trade(2)[:20], fin=False)
    server.send_ping(b"mid-message")
    server.send_continuation(trade(2)[20:], fin=True)
    server.send_text(trade(3))
    stream = said(server)
    events = []
    while stream:
        cut = data.draw(st.integers(min_value=1, max_value=len(stream)))
        events += received(session, stream[:cut])
        stream = stream[cut:]
    assert [event.event_id for event in events] == [1, 2, 3]
    server.receive_data(b"".join(session.data_to_send()))
    (pong,) = server.events_received()
    assert isinstance(pong, Frame)
    assert (pong.opcode, bytes(pong.data)) == (Opcode.PONG, b"mid-message")


def test_replies_and_invalid_messages_are_counted_and_the_rest_goes_on() -> None:
    session, server = opened()
    for text in (b"{", b'{"result":null,"id":1}', b'{"code":2,"msg":"no"}', trade(7)):
        server.send_text(text)
    server.send_binary(b"\x00\x01")
    events = received(session, said(server))
    assert [event.event_id for event in events] == [7]
    assert session.replies == 2
    assert session.refusals == ["2 no"]
    assert {reason: count for reason, count in session.invalid.items() if count} == {
        Invalid.MALFORMED: 1,
        Invalid.BINARY: 1,
    }


def reject(status: int) -> Callable[[FeedSession], None]:
    def provoke(session: FeedSession) -> None:
        received(session, b"HTTP/1.1 %d No\r\nContent-Length: 0\r\n\r\n" % status)

    return provoke


@pytest.mark.parametrize(
    ("provoke", "reason", "words"),
    [
        (reject(403), (FeedReason.HTTP_4XX, 403), "firewall"),
        (reject(429), (FeedReason.HTTP_4XX, 429), "too many connection attempts"),
        (reject(503), (FeedReason.HTTP_5XX, 503), "status page"),
        (
            lambda session: received(session, b"SSH-2.0-OpenSSH_9.2\r\n"),
            (FeedReason.HANDSHAKE, None),
            "WebSocket endpoint",
        ),
    ],
)
def test_refused_handshakes_have_a_reason_and_a_remedy(
    provoke: Callable[[FeedSession], None], reason: tuple[FeedReason, int | None], words: str
) -> None:
    session = FeedSession(URL)
    session.start()
    with pytest.raises(FeedError, match=words) as caught:
        provoke(session)
    assert (caught.value.reason, caught.value.status) == reason


def test_a_message_over_the_limit_ends_the_connection() -> None:
    session, server = opened(max_message_bytes=1000)
    server.send_text(b"x" * 1001)
    with pytest.raises(FeedError, match="max_message_bytes") as caught:
        received(session, said(server))
    assert caught.value.reason == "too_large"


def test_a_closing_handshake_is_answered_and_reported() -> None:
    session, server = opened()
    received(session, said(server))
    server.send_close(1008, "24 hours are over")
    with pytest.raises(FeedError, match="24 hours are over") as caught:
        received(session, said(server))
    assert caught.value.reason == "closed"
    assert b"".join(session.data_to_send())


def test_events_that_came_with_the_end_are_not_lost() -> None:
    session, server = opened()
    server.send_text(trade(1))
    server.send_text(trade(2))
    server.send_close(1001, "maintenance")
    assert [event.event_id for event in session.receive_data(said(server))] == [1, 2]
    with pytest.raises(FeedError, match="maintenance"):
        session.check()


def test_events_before_a_message_over_the_limit_are_not_lost() -> None:
    session, server = opened(max_message_bytes=1000)
    server.send_text(trade(1))
    server.send_text(b"x" * 1001)
    assert [event.event_id for event in session.receive_data(said(server))] == [1]
    with pytest.raises(FeedError, match="max_message_bytes"):
        session.check()


def test_an_end_of_file_without_a_closing_handshake_is_reported() -> None:
    session, server = opened()
    received(session, said(server))
    assert session.receive_eof().reason == "closed"


def test_nonsense_after_the_handshake_is_a_protocol_error() -> None:
    session, server = opened()
    received(session, said(server))
    with pytest.raises(FeedError) as caught:
        received(session, b"\xff\xff\xff\xff")
    assert caught.value.reason == "protocol"


def test_a_masked_frame_breaks_the_protocol() -> None:
    session, server = opened()
    session.receive_data(said(server))
    with pytest.raises(FeedError, match="mask") as caught:
        received(session, Frame(Opcode.TEXT, trade(1)).serialize(mask=True))
    assert caught.value.reason == "protocol"


def test_a_text_frame_inside_a_fragmented_message_breaks_the_protocol() -> None:
    session, server = opened()
    session.receive_data(said(server))
    session.receive_data(Frame(Opcode.TEXT, trade(1), fin=False).serialize(mask=False))
    with pytest.raises(FeedError) as caught:
        received(session, Frame(Opcode.TEXT, trade(2)).serialize(mask=False))
    assert caught.value.reason == "protocol"


@given(st.lists(st.integers(min_value=0, max_value=71_000), max_size=6))
def test_messages_of_every_length_encoding_come_through_any_split(cuts: list[int]) -> None:
    session, server = opened()
    payloads = [trade(number) + b" " * spaces for number, spaces in ((1, 0), (2, 60), (3, 70_000), (4, 1))]
    for payload in payloads:
        server.send_text(payload)
    stream = said(server)
    edges = [0, *sorted(cuts), len(stream)]
    events = []
    for start, stop in pairwise(edges):
        events += session.receive_data(stream[start:stop])
    assert [event.payload for event in events] == payloads


def test_a_message_too_large_is_refused_for_its_head() -> None:
    session, server = opened(max_message_bytes=100_000)
    session.receive_data(said(server))
    head = bytes([0x81, 127]) + (100_001).to_bytes(8)
    session.receive_data(head[:9])
    with pytest.raises(FeedError) as caught:
        received(session, head[9:])
    assert caught.value.reason == "too_large"


@pytest.mark.parametrize("odd", [b"no json", b'{"result":null,"id":1}', b'{"code":2,"msg":"Invalid request"}'])
def test_whoever_reads_events_alone_is_not_asked_to_look_further(odd: bytes) -> None:
    session, server = opened()
    received(session, said(server))
    list(session.data_to_send())
    stirred = []

    def read() -> int:
        count = len(session.receive_data(said(server)))
        stirred.append(session.stirred)
        return count

    server.send_text(trade(1))
    assert read() == 1
    server.send_text(odd)
    server.send_text(trade(2))
    assert read() == 1
    assert not b"".join(session.data_to_send())
    server.send_text(trade(3))
    assert read() == 1
    server.send_ping(b"still there?")
    assert read() == 0
    assert b"".join(session.data_to_send())
    assert stirred == [False, True, False, True]


@pytest.mark.parametrize(
    ("head", "status", "seconds"),
    [
        (b"HTTP/1.1 429 Too Many Requests\r\nRetry-After: 120\r\n\r\n", 429, 120),
        (b"HTTP/1.1 418 I'm a teapot\r\nretry-after:  259200\r\nContent-Length: 9\r\n\r\n", 418, 259_200),
        (b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2000000\r\n\r\n" + b"x" * 1000, 403, None),
        (b"HTTP/1.1 429 Slow\r\nRetry-After: Wed, 21 Oct 2026 07:28:00 GMT\r\n\r\n", 429, None),
        (b"HTTP/1.1 503\r\n\r\n", 503, None),
    ],
)
def test_a_refusal_is_known_by_its_head(head: bytes, status: int, seconds: float | None) -> None:
    session = FeedSession("ws://127.0.0.1:1/ws/btcusdt@trade")
    session.start()
    for at in range(0, len(head), 7):
        session.receive_data(head[at : at + 7])
    with pytest.raises(FeedError) as caught:
        session.check()
    assert (caught.value.status, caught.value.retry_after_seconds) == (status, seconds)


@pytest.mark.parametrize(
    "notice",
    [b'{"e":"serverShutdown","E":1770123456789}', b'{"stream":"","data":{"e":"serverShutdown","E":1770123456789}}'],
)
def test_a_notice_is_no_event(notice: bytes) -> None:
    for names in ((), ("btcusdt@trade",)):
        assert isinstance(Decoder(names).decode(notice), Notice)


def frame(opcode: Opcode, payload: bytes, *, fin: bool = True) -> bytes:
    return Frame(opcode, payload, fin).serialize(mask=False)


ITEMS: dict[str, Callable[[int], list[tuple[bytes, bool]]]] = {
    "event": lambda number: [(frame(Opcode.TEXT, trade(number)), True)],
    "ping": lambda _number: [(frame(Opcode.PING, b"are you there"), False)],
    "pong": lambda _number: [(frame(Opcode.PONG, b""), False)],
    "answer": lambda number: [(frame(Opcode.TEXT, b'{"result":null,"id":%d}' % number), False)],
    "binary": lambda _number: [(frame(Opcode.BINARY, b"\0\1\2"), False)],
    "broken": lambda _number: [(frame(Opcode.TEXT, b"{"), False)],
    "notice": lambda _number: [(frame(Opcode.TEXT, b'{"e":"serverShutdown","E":1}'), False)],
    "fragments": lambda number: [
        (frame(Opcode.TEXT, trade(number)[:9], fin=False), False),
        (frame(Opcode.PING, b"between"), False),
        (frame(Opcode.CONT, trade(number)[9:], fin=True), True),
    ],
}
"""What an exchange may send: pieces of bytes, and whether an event is complete with each."""


@given(st.data())
def test_a_stamp_is_exact_for_what_the_last_packet_completed_and_for_nothing_else(data: st.DataObject) -> None:
    session, server = opened()
    session.receive_data(said(server))
    stream, ends = b"", []
    for number, name in enumerate(data.draw(st.lists(st.sampled_from(sorted(ITEMS)), min_size=1, max_size=8))):
        for piece, is_event in ITEMS[name](number):
            stream += piece
            if is_event:
                ends.append(len(stream))
    came = data.draw(arrivals(stream))
    batches = [(len(session.receive_data(read)), stamp, session.exact) for read, stamp in came]
    judge(came, ends, batches)


def established() -> tuple[FeedSession, ServerProtocol]:
    """Open a session that is through its handshake."""
    session, server = opened()
    session.receive_data(said(server))
    list(session.data_to_send())
    return session, server


@pytest.mark.parametrize("payload", [b"", b"1767225600000", b"undefined", b"\xff\xfe\x00", bytes(125)])
@pytest.mark.parametrize("cut", [1, 2, 7])
def test_a_pong_has_the_pings_own_payload(payload: bytes, cut: int) -> None:
    """Public reports: exchanges disconnect for pongs of other or no payload (RFC 6455, section 5.5.3)."""
    session, server = established()
    data = Frame(Opcode.PING, payload).serialize(mask=False)
    for at in range(0, len(data), cut):
        session.receive_data(data[at : at + cut])
    server.receive_data(b"".join(session.data_to_send()))
    (answer,) = server.events_received()
    assert isinstance(answer, Frame)
    assert (answer.opcode, bytes(answer.data)) == (Opcode.PONG, payload)


@pytest.mark.parametrize(
    ("frame", "reason", "said"),
    [
        (Frame(Opcode.CLOSE, b"\x03\xf0Pong timeout"), "closed", "1008.*Pong timeout"),
        (Frame(Opcode.CLOSE, b""), "closed", "closed by the exchange"),
        # A compressed message on a connection that agreed to no compression.
        (b"\xc1\x02{}", "protocol", "reserved bits"),
    ],
)
def test_why_the_exchange_ended_a_connection_is_told(frame: Frame | bytes, reason: str, said: str) -> None:
    session, _server = established()
    session.receive_data(frame if isinstance(frame, bytes) else frame.serialize(mask=False))
    with pytest.raises(FeedError, match=said) as caught:
        session.check()
    assert caught.value.reason == reason


@pytest.mark.parametrize("text", [b"", b"Pong timeout", b"ping", b'"pong"', b"null", b"\xef\xbb\xbf{}"])
def test_text_that_is_no_json_object_is_counted_and_the_rest_goes_on(text: bytes) -> None:
    """Public reports: an empty or bare text ended the reader."""
    session, _server = established()
    trade = b'{"e":"trade","E":1767225600123,"s":"BTCUSDT","t":5}'
    data = b"".join(Frame(Opcode.TEXT, one).serialize(mask=False) for one in (text, trade))
    assert [event.event_id for event in session.receive_data(data)] == [5]
    session.check()
    assert sum(session.invalid.values()) == 1


@pytest.mark.parametrize(
    ("head", "said"),
    [
        (
            b"301 Moved Permanently\r\nLocation: wss://u:secret@new.example/ws?key=hidden",
            r"wss://\*\*\*@new.example/ws:",
        ),
        (b"307 Temporary Redirect\r\nlocation: /other", "points to /other"),
        (b"302 Found", "check the URL"),
        (b"202 Accepted\r\nx-amzn-waf-action: challenge", "HTTP 202"),
    ],
)
def test_where_a_redirection_points_is_told_and_not_followed(head: bytes, said: str) -> None:
    session = FeedSession("ws://h/ws/a@trade")
    session.start()
    session.receive_data(b"HTTP/1.1 " + head + b"\r\n\r\n")
    with pytest.raises(FeedError, match=said) as caught:
        session.check()
    assert "secret" not in str(caught.value)
    assert "hidden" not in str(caught.value)
