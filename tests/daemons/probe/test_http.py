"""Responses come out the same however their bytes are split; nonsense has its reason."""

from collections.abc import Iterable
from itertools import pairwise

import h2.config
import h2.connection
import h2.events
import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemons.probe.attempt import AttemptError, Reason
from daemons.probe.http1 import Http1
from daemons.probe.http2 import Http2
from daemons.probe.target import Request

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
        assert protocol.reusable


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
    assert not protocol.reusable


def test_http1_a_body_without_length_ends_with_the_connection() -> None:
    protocol = Http1(LIMIT)
    protocol.request(REQUEST)
    complete = []
    for data in (b"HTTP/1.1 200 OK\r\n\r\nall", b" of it", b""):
        protocol.receive(data)
        complete.append(protocol.response.complete)
    assert complete == [False, False, True]
    assert protocol.response.body == b"all of it"
    assert not protocol.reusable


def test_http1_an_idle_connection_has_nothing_to_say() -> None:
    assert Http1(LIMIT).idle(b"") == b""
    assert Http1(LIMIT).idle(b"HTTP/1.1 408 Request Timeout\r\n\r\n") is None


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
        assert protocol.reusable


@given(st.binary(min_size=1, max_size=300))
def test_http2_nonsense_raises_nothing_but_attempt_errors(data: bytes) -> None:
    protocol = Http2(LIMIT)
    protocol.request(REQUEST)
    assert outcome(protocol, data) in (None, Reason.PROTOCOL)


def test_http2_goaway_makes_a_connection_useless() -> None:
    protocol, peer = Http2(LIMIT), Peer()
    protocol.receive(peer.answer(1, b"", protocol.request(REQUEST)))
    assert protocol.idle(b"") is not None
    peer.connection.ping(b"12345678")
    assert protocol.idle(peer.connection.data_to_send())
    peer.connection.close_connection()
    assert protocol.idle(peer.connection.data_to_send()) is None
    assert not protocol.reusable


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
