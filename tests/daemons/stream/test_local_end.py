"""Connections leave from where they are told to, or say why they cannot."""

import asyncio
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from daemons.errors import StreamError
from daemons.stream.datagram import DatagramSender
from daemons.stream.dial import dial
from daemons.stream.local_end import ANYWHERE, LocalEnd


@pytest.fixture
def listening() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        yield sock


@pytest.mark.parametrize(
    ("local", "host"),
    [
        (ANYWHERE, "127.0.0.1"),
        (LocalEnd("127.0.0.2"), "127.0.0.2"),
        (LocalEnd("127.0.0.3", "lo"), "127.0.0.3"),
        (LocalEnd(interface="lo"), "127.0.0.1"),
    ],
)
def test_a_connection_leaves_from_there(listening: socket.socket, local: LocalEnd, host: str) -> None:
    dialled = asyncio.run(dial("127.0.0.1", listening.getsockname()[1], local=local))
    accepted, source = listening.accept()
    assert source[0] == host
    assert dialled.socket.getsockname()[0] == host
    accepted.close()
    dialled.socket.close()


@pytest.mark.parametrize(
    ("local", "told"),
    [
        # TEST-NET-1 (RFC 5737) is no host's.
        (LocalEnd("192.0.2.1"), "source_address is none of this host's"),
        (LocalEnd("::1"), "no address of the family of ::1"),
        (LocalEnd(interface="no-such-link"), "no such interface"),
    ],
)
def test_what_cannot_be_is_said_with_its_remedy(listening: socket.socket, local: LocalEnd, told: str) -> None:
    with pytest.raises(StreamError, match=told) as caught:
        asyncio.run(dial("127.0.0.1", listening.getsockname()[1], local=local))
    assert caught.value.reason == "local"


def test_datagrams_leave_from_there_too() -> None:
    async def work() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as far:
            far.bind(("127.0.0.1", 0))
            far.settimeout(300)
            sender = DatagramSender(
                far.getsockname(), socket.AF_INET, lambda: None, lambda: None, LocalEnd("127.0.0.2", "lo")
            )
            assert sender.send(b"here")
            data, source = far.recvfrom(10)
            assert (data, source[0]) == (b"here", "127.0.0.2")
            sender.close()
            with pytest.raises(StreamError, match="none of this host's") as caught:
                DatagramSender(far.getsockname(), socket.AF_INET, lambda: None, lambda: None, LocalEnd("192.0.2.1"))
            assert caught.value.reason == "local"

    asyncio.run(work())


def test_a_link_local_address_keeps_its_zone() -> None:
    bound: list[Any] = []

    class Noting(socket.socket):
        def bind(self, address: Any) -> None:
            bound.append(address)

    with Noting(socket.AF_INET6, socket.SOCK_DGRAM) as sock:
        LocalEnd("fe80::77%lo").bind(sock)
    ((host, *rest),) = bound
    assert host.startswith("fe80::77")
    assert rest == [0, 0, socket.if_nametoindex("lo")]
