"""Hops and class of arriving packets are those that they were sent with, over either family and either transport."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daemons.stream.headers import HEADER_BYTES, ArrivingHeader, Headers, ask, mark, of_handshake, parse
from daemons.stream.local_end import LocalEnd
from daemons.stream.stamping import ANCILLARY_BYTES, enable

FAMILIES = {
    "IPv4": (socket.AF_INET, "127.0.0.1", socket.AF_INET, "127.0.0.1"),
    "IPv6": (socket.AF_INET6, "::1", socket.AF_INET6, "::1"),
    "IPv4 at a socket of IPv6": (socket.AF_INET6, "::", socket.AF_INET, "127.0.0.1"),
    "IPv4 from a socket of IPv6": (socket.AF_INET, "127.0.0.1", socket.AF_INET6, "::ffff:127.0.0.1"),
}
CASES = st.tuples(st.integers(1, 255), st.integers(0, 63))


@contextmanager
def ends(name: str, kind: socket.SocketKind) -> Iterator[tuple[socket.socket, socket.socket, str]]:
    """A socket that listens, one that can reach it, and the address to reach."""
    family, listen, other, target = FAMILIES[name]
    with socket.socket(family, kind) as here, socket.socket(other, kind) as there:
        if family == socket.AF_INET6:
            here.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        here.settimeout(300)
        here.bind((listen, 0))
        yield here, there, target


def hops(sock: socket.socket, ttl: int) -> None:
    if sock.family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS, ttl)
    # Of a socket of IPv6 this is of what goes to addresses of IPv4.
    sock.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, ttl)


@pytest.mark.parametrize("name", FAMILIES)
@settings(max_examples=20)
@given(CASES)
def test_a_datagram_that_is_looked_at_tells_them_beside_its_stamp_and_the_next_one_does_not(
    name: str, case: tuple[int, int]
) -> None:
    ttl, dscp = case
    with ends(name, socket.SOCK_DGRAM) as (here, there, target):
        enable(here)
        hops(there, ttl)
        mark(there, dscp)
        there.connect((target, here.getsockname()[1]))
        for asked in (False, True, False):
            ask(here, on=asked)
            there.send(b"?")
            ancillary = here.recvmsg(10, ANCILLARY_BYTES + HEADER_BYTES)[1]
            assert parse(ancillary) == (ArrivingHeader(ttl, dscp) if asked else None)
            assert len(ancillary) <= 1 or asked


@pytest.mark.parametrize("name", FAMILIES)
@settings(max_examples=20)
@given(CASES)
def test_a_tcp_socket_knows_them_of_its_handshake(name: str, case: tuple[int, int]) -> None:
    ttl, dscp = case
    with ends(name, socket.SOCK_STREAM) as (here, there, target):
        here.listen()
        hops(there, ttl)
        LocalEnd(dscp=dscp).bind(there)
        there.connect((target, here.getsockname()[1]))
        accepted, _source = here.accept()
        with accepted:
            assert of_handshake(accepted) == ArrivingHeader(ttl, dscp)
        assert of_handshake(accepted) is None


def test_what_has_no_such_headers_tells_nothing() -> None:
    one, other = socket.socketpair()
    with one, other:
        assert of_handshake(one) is None
    assert parse([(socket.SOL_SOCKET, 37, bytes(48))]) is None


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(60, 63), st.integers(0, 3)), max_size=30))
def test_another_route_is_one_of_the_same_host(seen: list[tuple[str, int, int]]) -> None:
    headers = Headers()
    for host, ttl, dscp in seen:
        headers.take(host, ArrivingHeader(ttl, dscp))
    expected = sum(
        one != other
        for host in "abc"
        for own in [[ttl for name, ttl, _dscp in seen if name == host]]
        for one, other in pairwise(own)
    )
    assert headers.ttl_changes == expected
    assert (headers.ttl, headers.dscp) == (seen[-1][1:] if seen else (None, None))


def test_no_more_hosts_are_remembered_than_there_is_room_for() -> None:
    headers = Headers()
    for number in range(1_000):
        headers.take(str(number), ArrivingHeader(64, None))
    assert (len(headers._of), headers.ttl_changes) == (64, 0)
