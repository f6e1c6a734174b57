"""Responses come out the same however their bytes are split; nonsense has its reason."""

import struct
from collections.abc import Iterable
from itertools import pairwise

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.settings
import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemons.probe.attempt import AttemptError, Reason, Reconnect, UnprocessedError
from daemons.probe.http.http1 import Http1
from daemons.probe.http.http2 import Http2
from daemons.probe.http.request import Request

REQUEST = Request("GET", "https", "a.example", "/x?y=z", (("user-agent", "probe"),), b"")
LIMIT = 1000

ANSWERS = {
    b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello": (200, b"hello"),
    b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n": (200, b"hello"),
    b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 404 No\r\ncontent-length: 0\r\n\r\n": (404, b""),
    b"HTTP/1.1 204 No Content\r\n\r\n": (204, b""),
}


def outcome(protocol: Http1 | Http2, *received: bytes) -> Reason | None:
    try:
        for data in received:
            protocol.receive(data)
    except AttemptError as error:
        return error.reason
    return None


def pieces(data: bytes, cuts: Iterable[int]) -> list[bytes]:
    at = sorted({0, len(data), *(cut % len(data) for cut in cuts)})
    return [data[start:end] for start, end in pairwise(at)]


@given(st.sampled_from(sorted(ANSWERS)), st.lists(st.integers(0, 200), max_size=8))
def test_http1_any_split_gives_the_same_response(answer: bytes, cuts: list[int]) -> None:
    protocol = Http1(LIMIT)
    for _request in range(3):
        sent = protocol.request(REQUEST)
        assert sent.startswith(b"GET /x?y=z HTTP/1.1\r\n")
        assert b"\r\nhost: a.example\r\n" in sent.lower()
        for piece in pieces(answer, cuts):
            assert not protocol.response.complete
            assert protocol.receive(piece) == b""
        assert protocol.response.complete
        assert (protocol.response.status, bytes(protocol.response.body)) == ANSWERS[answer]
        assert protocol.lost is None


@given(st.binary(min_size=1, max_size=300))
def test_http1_nonsense_raises_nothing_but_attempt_errors(data: bytes) -> None:
    protocol = Http1(LIMIT)
    protocol.request(REQUEST)
    assert outcome(protocol, data, b"") in (None, Reason.PROTOCOL, Reason.CLOSED)


@pytest.mark.parametrize(
    ("received", "reason"),
    [
        ([b""], Reason.CLOSED),
        ([b"HTTP/1.1 2", b""], Reason.CLOSED),
        ([b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhel", b""], Reason.CLOSED),
        ([b"SSH-2.0-OpenSSH\r\n"], Reason.PROTOCOL),
        ([b"HT", b"ML"], Reason.PROTOCOL),
        ([b"HTTP/1.1 two\r\n\r\n"], Reason.PROTOCOL),
        ([b"HTTP/1.1 200 OK\r\ncontent-length: 2000\r\n\r\n", b"x" * 1001], Reason.TOO_LARGE),
    ],
)
def test_http1_reasons(received: list[bytes], reason: Reason) -> None:
    protocol = Http1(LIMIT)
    protocol.request(REQUEST)
    assert outcome(protocol, *received) is reason


def test_http1_a_connection_that_is_to_be_closed_is_not_reused() -> None:
    protocol = Http1(LIMIT)
    protocol.request(REQUEST)
    protocol.receive(b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 0\r\n\r\n")
    assert protocol.response.complete
    assert protocol.lost is Reconnect.CLOSED


def test_http1_a_body_without_length_ends_with_the_connection() -> None:
    protocol = Http1(LIMIT)
    protocol.request(REQUEST)
    complete = []
    for data in (b"HTTP/1.1 200 OK\r\n\r\nall", b" of it", b""):
        protocol.receive(data)
        complete.append(protocol.response.complete)
    assert complete == [False, False, True]
    assert protocol.response.body == b"all of it"
    assert protocol.lost is Reconnect.CLOSED


def test_http1_an_idle_connection_has_nothing_to_say() -> None:
    protocol = Http1(LIMIT)
    protocol.request(REQUEST)
    protocol.receive(b"HTTP/1.1 204 No Content\r\n\r\n")
    assert protocol.idle(b"") == b""
    assert protocol.lost is None
    assert protocol.idle(b"HTTP/1.1 408 Request Timeout\r\n\r\n") == b""
    assert protocol.lost is Reconnect.SURPLUS


SURPLUS = (b"x", b"\r\n", b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", b"y" * 400_000)


@given(st.sampled_from(SURPLUS), st.sampled_from(["HEAD", "GET"]), st.lists(st.integers(0, 600), max_size=4))
def test_http1_a_connection_with_bytes_that_nobody_asked_for_serves_nobody(
    surplus: bytes, method: str, cuts: list[int]
) -> None:
    protocol = Http1(LIMIT)
    protocol.request(Request(method, "https", "a.example", "/", (), b""))
    for piece in pieces(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % (5 * (method == "HEAD")), cuts):
        protocol.receive(piece)
    before = protocol.lost
    protocol.idle(surplus)
    assert (protocol.response.complete, before, protocol.lost) == (True, None, Reconnect.SURPLUS)
    # Or with the answer itself.
    protocol = Http1(LIMIT)
    protocol.request(Request(method, "https", "a.example", "/", (), b""))
    protocol.receive(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n" + surplus)
    assert (protocol.response.complete, protocol.response.status) == (True, 200)
    assert protocol.lost is Reconnect.SURPLUS


EARLY = b"HTTP/1.1 103 Early Hints\r\nlink: </a>; rel=preload\r\n\r\n"


@given(st.integers(0, 3), st.lists(st.integers(0, 300), max_size=8))
def test_http1_only_the_final_response_has_started_when_its_first_byte_is_there(count: int, cuts: list[int]) -> None:
    protocol = Http1(LIMIT)
    protocol.request(REQUEST)
    final = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi"
    taken = 0
    for piece in pieces(EARLY * count + final, cuts):
        protocol.receive(piece)
        taken += len(piece)
        whole, rest = divmod(taken, len(EARLY))
        response = protocol.response
        assert response.interim == min(whole, count)
        assert response.started is (bool(rest) or whole > count or taken == len(EARLY * count + final))
    assert (protocol.response.status, protocol.response.interim) == (200, count)


@pytest.mark.parametrize(("size", "outcome_expected"), [(60_000, None), (299_000, None), (320_000, Reason.TOO_LARGE)])
def test_http1_a_long_header_is_no_other_protocol(size: int, outcome_expected: Reason | None) -> None:
    protocol = Http1(LIMIT)
    protocol.request(REQUEST)
    head = b"HTTP/1.1 200 OK\r\nx: " + b"y" * size + b"\r\ncontent-length: 0\r\n\r\n"
    assert outcome(protocol, *(head[at : at + 16384] for at in range(0, len(head), 16384))) is outcome_expected


class Peer:
    """The other side of an HTTP/2 connection."""

    def __init__(self) -> None:
        self.connection = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False))
        self.connection.initiate_connection()

    def answer(self, stream: int, body: bytes, sent: bytes) -> bytes:
        self.connection.receive_data(sent)
        self.connection.send_headers(stream, [(":status", "200")])
        self.connection.send_data(stream, body, end_stream=True)
        return self.connection.data_to_send()


@given(st.binary(max_size=900), st.lists(st.integers(0, 2000), max_size=8))
def test_http2_any_split_gives_the_same_response(body: bytes, cuts: list[int]) -> None:
    protocol, peer = Http2(LIMIT), Peer()
    back = b""
    for stream in (1, 3, 5):
        answer = peer.answer(stream, body, back + protocol.request(REQUEST))
        back = b""
        for piece in pieces(answer, cuts):
            assert not protocol.response.complete
            back += protocol.receive(piece)
        assert protocol.response.complete
        assert (protocol.response.status, bytes(protocol.response.body)) == (200, body)
        assert protocol.lost is None


@given(st.binary(min_size=1, max_size=300))
def test_http2_nonsense_raises_nothing_but_attempt_errors(data: bytes) -> None:
    protocol = Http2(LIMIT)
    protocol.request(REQUEST)
    assert outcome(protocol, data) in (None, Reason.PROTOCOL)


def test_http2_asks_for_nothing_to_be_pushed() -> None:
    protocol, peer = Http2(LIMIT), Peer()
    peer.connection.receive_data(protocol.request(REQUEST))
    settings = peer.connection.remote_settings
    assert (settings.enable_push, settings.max_header_list_size) == (0, 300 * 1024)


def test_http2_goaway_makes_a_connection_useless() -> None:
    protocol, peer = Http2(LIMIT), Peer()
    protocol.receive(peer.answer(1, b"", protocol.request(REQUEST)))
    assert protocol.idle(b"") == b""
    assert protocol.lost is None
    peer.connection.ping(b"12345678")
    assert protocol.idle(peer.connection.data_to_send())
    assert protocol.lost is None
    peer.connection.close_connection()
    protocol.idle(peer.connection.data_to_send())
    assert protocol.lost is Reconnect.GOAWAY


def goaway(last_stream: int, code: int = 0) -> bytes:
    return struct.pack("!I", 8 << 8 | 7) + struct.pack("!BIII", 0, 0, last_stream, code)


@given(st.sampled_from([1, 3, 5, 2**31 - 1]), st.sampled_from([0, 2, 11]), st.lists(st.integers(0, 700), max_size=8))
def test_http2_a_server_that_goes_away_still_answers_what_it_took(last_stream: int, code: int, cuts: list[int]) -> None:
    for at in range(4):
        protocol, peer = Http2(LIMIT), Peer()
        answer = peer.answer(1, b"body", protocol.request(REQUEST))
        frames = split_frames(answer)
        with_goaway = b"".join([*frames[:at], goaway(last_stream, code), *frames[at:]])
        for piece in pieces(with_goaway, cuts):
            protocol.receive(piece)
        assert protocol.response.complete
        assert (protocol.response.status, bytes(protocol.response.body)) == (200, b"body")
        assert protocol.lost is Reconnect.GOAWAY


def test_http2_a_server_that_goes_away_without_the_request_has_not_processed_it() -> None:
    for code in (0, 11):
        protocol, peer = Http2(LIMIT), Peer()
        protocol.receive(peer.answer(1, b"body", protocol.request(REQUEST)))
        protocol.request(REQUEST)
        with pytest.raises(UnprocessedError) as caught:
            protocol.receive(goaway(1, code))
        assert (caught.value.reason, caught.value.reconnect) == (Reason.CLOSED, Reconnect.GOAWAY)


def test_http1_another_major_version_is_another_protocol() -> None:
    for beginning in (b"HTTP/3.0 200 OK\r\n", b"HTTP/2 200\r\n", b"HTTP/0.9 200 OK\r\n"):
        protocol = Http1(LIMIT)
        protocol.request(REQUEST)
        assert outcome(protocol, beginning) is Reason.PROTOCOL
    protocol = Http1(LIMIT)
    protocol.request(REQUEST)
    assert outcome(protocol, b"HTTP/1.2 200 OK\r\n\r\n") is None


@pytest.mark.parametrize(
    ("method", "status", "length", "reason"),
    [
        ("GET", "200", 4, None),
        ("GET", "200", 5, Reason.PROTOCOL),
        ("GET", "200", 3, Reason.PROTOCOL),
        ("HEAD", "200", 5, None),
        ("GET", "304", 5, None),
    ],
)
@pytest.mark.parametrize("trailers", [False, True])
def test_http2_a_body_of_another_length_than_announced_is_a_breach_of_protocol(
    method: str, status: str, length: int, reason: Reason | None, *, trailers: bool
) -> None:
    """Whatever ends the stream: data, trailers, or the head itself."""
    protocol, peer = Http2(LIMIT), Peer()
    peer.connection.receive_data(protocol.request(Request(method, "https", "a.example", "/", (), b"")))
    silent = method == "HEAD" or status == "304"
    peer.connection.send_headers(1, [(":status", status), ("content-length", str(length))], end_stream=silent)
    if not silent:
        peer.connection.send_data(1, b"body", end_stream=not trailers)
        if trailers:
            peer.connection.send_headers(1, [("x-checksum", "1")], end_stream=True)
    assert outcome(protocol, peer.connection.data_to_send()) is reason
    assert protocol.response.complete is (reason is None)


def test_http2_a_head_that_ends_a_stream_announces_no_body() -> None:
    protocol, peer = Http2(LIMIT), Peer()
    peer.connection.receive_data(protocol.request(REQUEST))
    peer.connection.send_headers(1, [(":status", "200"), ("content-length", "5")], end_stream=True)
    assert outcome(protocol, peer.connection.data_to_send()) is Reason.PROTOCOL


def test_http2_a_server_that_wants_another_version_is_told_of_as_such() -> None:
    protocol, peer = Http2(LIMIT), Peer()
    peer.connection.receive_data(protocol.request(REQUEST))
    peer.connection.reset_stream(1, h2.errors.ErrorCodes.HTTP_1_1_REQUIRED)
    assert outcome(protocol, peer.connection.data_to_send()) is Reason.HTTP_VERSION


def test_http2_a_refused_stream_has_not_been_processed() -> None:
    protocol, peer = Http2(LIMIT), Peer()
    peer.connection.receive_data(protocol.request(REQUEST))
    peer.connection.reset_stream(1, h2.errors.ErrorCodes.REFUSED_STREAM)
    with pytest.raises(UnprocessedError) as caught:
        protocol.receive(peer.connection.data_to_send())
    assert (caught.value.reason, caught.value.reconnect) == (Reason.RESET, Reconnect.REFUSED)


@pytest.mark.parametrize("frame", [b"\x00\x00\x04\x07\x00\x00\x00\x00\x00abcd", goaway(1)[:8] + b"\x03" + bytes(8)])
def test_http2_a_goaway_of_the_wrong_form_is_a_breach_of_protocol(frame: bytes) -> None:
    protocol, peer = Http2(LIMIT), Peer()
    protocol.request(REQUEST)
    assert outcome(protocol, peer.connection.data_to_send() + frame) is Reason.PROTOCOL


def test_http2_a_server_that_takes_no_streams_gets_no_request() -> None:
    protocol, peer = Http2(LIMIT), Peer()
    protocol.receive(peer.answer(1, b"", protocol.request(REQUEST)))
    peer.connection.update_settings({h2.settings.SettingCodes.MAX_CONCURRENT_STREAMS: 0})
    protocol.idle(peer.connection.data_to_send())
    assert protocol.lost is Reconnect.REFUSED
    with pytest.raises(UnprocessedError):
        protocol.request(REQUEST)


def test_http2_interim_responses_are_counted_and_are_not_the_answer() -> None:
    protocol, peer = Http2(LIMIT), Peer()
    peer.connection.receive_data(protocol.request(REQUEST))
    for count in (1, 2):
        peer.connection.send_headers(1, [(":status", "103")])
        protocol.receive(peer.connection.data_to_send())
        assert (protocol.response.interim, protocol.response.started) == (count, False)
    peer.connection.send_headers(1, [(":status", "200")], end_stream=True)
    protocol.receive(peer.connection.data_to_send())
    assert (protocol.response.started, protocol.response.complete, protocol.response.status) == (True, True, 200)


def test_http2_an_answer_before_the_end_of_the_request_leaves_the_connection_fit() -> None:
    protocol, peer = Http2(LIMIT), Peer()
    peer.connection.receive_data(protocol.request(Request("POST", "https", "a.example", "/", (), bytes(200_000))))
    peer.connection.send_headers(1, [(":status", "413")], end_stream=True)
    peer.connection.reset_stream(1, h2.errors.ErrorCodes.NO_ERROR)
    back = protocol.receive(peer.connection.data_to_send())
    assert (protocol.response.status, protocol.response.complete, protocol.lost) == (413, True, None)
    protocol.receive(peer.answer(3, b"", back + protocol.request(REQUEST)))
    assert (protocol.response.status, protocol.lost) == (200, None)


@pytest.mark.parametrize("status", ["abc", "20", "2000", "099", "+20", "2.0", "\u0662\u0660\u0660", ""])
def test_http2_a_status_that_is_not_three_digits_is_a_breach_of_protocol(status: str) -> None:
    protocol, peer = Http2(LIMIT), Peer()
    peer.connection.receive_data(protocol.request(REQUEST))
    peer.connection.send_headers(1, [(":status", status)], end_stream=True)
    assert outcome(protocol, peer.connection.data_to_send()) is Reason.PROTOCOL
    assert protocol.response.status is None


def test_http2_an_answer_in_another_protocol_is_known_by_its_first_bytes() -> None:
    protocol = Http2(LIMIT)
    protocol.request(REQUEST)
    assert outcome(protocol, b"HTTP/1.1 400 Bad Request\r\n\r\n") is Reason.PROTOCOL


AFTER_AN_ANSWER = {
    "data on stream 0": b"\x00\x00\x01\x00\x00\x00\x00\x00\x00a",
    "ping too short": b"\x00\x00\x02\x06\x00\x00\x00\x00\x00ab",
    "goaway too short": b"\x00\x00\x04\x07\x00\x00\x00\x00\x00abcd",
    "frame too long": b"\xff\xff\xff\x00\x00\x00\x00\x00\x01",
    "another protocol": b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\n\r\n",
}


@pytest.mark.parametrize("name", AFTER_AN_ANSWER)
@given(cuts=st.lists(st.integers(0, 200), max_size=4))
def test_http2_a_breach_after_a_complete_answer_ends_the_connection_and_no_request(name: str, cuts: list[int]) -> None:
    """The answer and the breach come in one read, or the breach by itself."""
    protocol, peer = Http2(LIMIT), Peer()
    for piece in pieces(peer.answer(1, b"body", protocol.request(REQUEST)) + AFTER_AN_ANSWER[name], cuts):
        if protocol.response.complete:
            protocol.idle(piece)
        else:
            protocol.receive(piece)
    assert protocol.response.complete
    assert (protocol.response.status, bytes(protocol.response.body)) == (200, b"body")
    assert protocol.lost is Reconnect.SURPLUS


@pytest.mark.parametrize(("size", "outcome_expected"), [(60_000, None), (200_000, None), (320_000, Reason.TOO_LARGE)])
def test_http2_a_long_header_is_taken(size: int, outcome_expected: Reason | None) -> None:
    protocol, peer = Http2(LIMIT), Peer()
    peer.connection.receive_data(protocol.request(REQUEST))
    # In pieces: to encode a long value takes hpack seconds, to decode it does not.
    peer.connection.send_headers(1, [(":status", "200"), *[("x", "y" * 1000)] * (size // 1000)], end_stream=True)
    assert outcome(protocol, peer.connection.data_to_send()) is outcome_expected


def split_frames(data: bytes) -> list[bytes]:
    frames = []
    while data:
        end = 9 + int.from_bytes(data[:3], "big")
        frames.append(data[:end])
        data = data[end:]
    return frames


def test_http2_a_body_larger_than_the_window_waits_for_room() -> None:
    body = bytes(range(256)) * 1000
    protocol, peer = Http2(LIMIT), Peer()
    received = b""
    to_peer = protocol.request(Request("POST", "https", "a.example", "/", (), body))
    while to_peer:
        for event in peer.connection.receive_data(to_peer):
            if isinstance(event, h2.events.DataReceived):
                received += event.data
                peer.connection.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        to_peer = protocol.receive(peer.connection.data_to_send()) if received != body else b""
    assert received == body
