"""A channel and a peer in one process, on a connection of the kernel's own: every end that it can have has a reason."""

import asyncio
import os
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

import pytest
import trustme

from daemons.probe.attempt import AttemptError, Reason
from daemons.probe.http import channel as module
from daemons.probe.http.channel import Channel
from daemons.stream.stamping import Stamper
from daemons.timing.clock import SystemClock

NAME = "api.test"
DEADLINE_SECONDS = 300.0
RESET = struct.pack("ii", 1, 0)
"""With this SO_LINGER a close is a reset (socket(7))."""

ResultT = TypeVar("ResultT")


@pytest.fixture(scope="module")
def contexts() -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """The peer's TLS settings and the channel's."""
    authority = trustme.CA()
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(NAME).configure_cert(server)
    client = ssl.create_default_context()
    authority.configure_trust(client)
    return server, client


def run(work: Callable[[], Awaitable[ResultT]]) -> ResultT:
    async def bounded() -> ResultT:
        async with asyncio.timeout(DEADLINE_SECONDS):
            return await work()

    return asyncio.run(bounded())


@asynccontextmanager
async def connected() -> AsyncIterator[tuple[Channel, socket.socket]]:
    """Give a channel and the peer's socket, which never blocks."""
    stamper = Stamper(SystemClock())
    listener = socket.create_server(("127.0.0.1", 0))
    channel = Channel(socket.AF_INET, stamper, "api.test (127.0.0.1)")
    try:
        before_ns = stamper.clock.monotonic_ns()
        stood_ns = await channel.connect(listener.getsockname())
        assert before_ns <= stood_ns <= stamper.clock.monotonic_ns()
        peer, there = listener.accept()
        assert channel.source == "{}:{}".format(*there)
        peer.setblocking(False)
        with peer:
            yield channel, peer
    finally:
        channel.close()
        listener.close()
        stamper.close()


@asynccontextmanager
async def under_tls(
    contexts: tuple[ssl.SSLContext, ssl.SSLContext],
) -> AsyncIterator[tuple[Channel, asyncio.StreamReader, asyncio.StreamWriter]]:
    """Give a channel after its handshake, and the peer's plain side."""
    async with connected() as (channel, peer):
        serving = asyncio.ensure_future(served(peer, contexts[0]))
        session = await channel.handshake(contexts[1], NAME)
        assert session.certificate
        reader, writer = await serving
        yield channel, reader, writer
        writer.transport.abort()


async def served(peer: socket.socket, context: ssl.SSLContext) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader = asyncio.StreamReader()
    protocol = asyncio.StreamReaderProtocol(reader)
    loop = asyncio.get_running_loop()
    transport, _protocol = await loop.connect_accepted_socket(lambda: protocol, peer.dup(), ssl=context)
    return reader, asyncio.StreamWriter(transport, protocol, reader, loop)


async def heard(channel: Channel) -> None:
    """Wait until the kernel has something for the channel, or its end."""
    there = asyncio.Event()
    channel.watch(there.set)
    await there.wait()
    channel.unwatch()


def test_what_comes_is_read_with_the_kernels_instant_and_then_the_end() -> None:
    async def work() -> None:
        async with connected() as (channel, peer):
            clock = SystemClock()
            for piece in (b"one", b"two"):
                before_ns = clock.monotonic_ns()
                peer.send(piece)
                data, arrival_ns = await channel.receive()
                assert data == piece
                assert before_ns <= arrival_ns <= clock.monotonic_ns()
                if channel.host_delay_ns is not None:
                    assert channel.host_delay_ns >= 0
            peer.shutdown(socket.SHUT_WR)
            assert (await channel.receive())[0] == b""

    run(work)


def test_more_than_the_kernel_takes_is_sent_as_it_takes_it_and_the_instant_is_that_of_the_last_bytes() -> None:
    async def work() -> None:
        async with connected() as (channel, peer):
            wanted, got, emptied_ns = os.urandom(8 << 20), bytearray(), 0
            begun_ns = SystemClock().monotonic_ns()
            sending = asyncio.ensure_future(channel.send(wanted))
            await asyncio.sleep(0)
            # It waits for room, and has not ended.
            assert not sending.done()
            loop = asyncio.get_running_loop()
            while len(got) < len(wanted) - 1:
                got += await loop.sock_recv(peer, len(wanted) - 1 - len(got))
                emptied_ns = SystemClock().monotonic_ns()
            handed_ns = await sending
            got += await loop.sock_recv(peer, 1)
            assert bytes(got) == wanted
            assert begun_ns < handed_ns < emptied_ns

    run(work)


@pytest.mark.parametrize("reading", [True, False])
def test_a_reset_is_one_whoever_meets_it(reading: bool) -> None:
    async def work() -> None:
        async with connected() as (channel, peer):
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            peer.close()
            await heard(channel)
            with pytest.raises(AttemptError) as caught:
                await (channel.receive() if reading else channel.send(b"GET /"))
            assert caught.value.reason is Reason.RESET
            assert "api.test (127.0.0.1)" in str(caught.value)
            assert channel.idle() is None
            assert not channel.answer(b"x")

    run(work)


def test_nobody_who_listens_is_a_refusal_and_an_address_of_others_is_ours_to_mend() -> None:
    async def work() -> None:
        stamper = Stamper(SystemClock())
        channel = Channel(socket.AF_INET, stamper, "api.test (127.0.0.1)")
        try:
            with socket.create_server(("127.0.0.1", 0)) as gone:
                address = gone.getsockname()
            with pytest.raises(AttemptError) as caught:
                await channel.connect(address)
            assert caught.value.reason is Reason.CONNECT_REFUSED
            with pytest.raises(AttemptError, match=r"^192\.0\.2\.1: cannot send from there") as caught:
                channel.bind("192.0.2.1", "")
            assert caught.value.reason is Reason.LOCAL
        finally:
            channel.close()
            stamper.close()

    run(work)


def test_a_descriptor_that_the_pages_need_is_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    async def work() -> None:
        stamper = Stamper(SystemClock())
        asked: list[int] = []

        def reserved(descriptor: int) -> bool:
            asked.append(descriptor)
            return True

        monkeypatch.setattr(module, "is_reserved", reserved)
        try:
            with pytest.raises(AttemptError, match="Too many open files") as caught:
                Channel(socket.AF_INET, stamper, "api.test")
            assert caught.value.reason is Reason.LOCAL
            with pytest.raises(OSError, match="Bad file descriptor"):
                os.fstat(*asked)
        finally:
            stamper.close()

    run(work)


def test_between_requests_it_looks_without_waiting() -> None:
    async def work() -> None:
        async with connected() as (channel, peer):
            assert channel.idle() == b""
            peer.send(b"late")
            await heard(channel)
            assert channel.idle() == b"late"
            assert channel.answer(b"")
            assert channel.answer(b"ack")
            assert await asyncio.get_running_loop().sock_recv(peer, 9) == b"ack"
            peer.close()
            await heard(channel)
            assert channel.idle() is None

    run(work)


def test_under_tls_both_ways_bytes_arrive_as_they_were_and_a_close_is_the_end(
    contexts: tuple[ssl.SSLContext, ssl.SSLContext],
) -> None:
    async def work() -> None:
        async with under_tls(contexts) as (channel, reader, writer):
            await channel.send(b"question")
            assert await reader.readexactly(8) == b"question"
            # Of several records, and of one that comes in pieces.
            answer, got = os.urandom(100_000), b""
            writer.write(answer)
            while len(got) < len(answer):
                got += (await channel.receive())[0]
            assert got == answer
            assert channel.answer(b"ack")
            assert await reader.readexactly(3) == b"ack"
            writer.close()
            assert (await channel.receive())[0] == b""

    run(work)


def test_a_kept_connection_under_tls_tells_what_came_from_what_is_no_record(
    contexts: tuple[ssl.SSLContext, ssl.SSLContext],
) -> None:
    async def work() -> None:
        async with under_tls(contexts) as (channel, _reader, writer):
            # Tickets of TLS 1.3 are records too, and no bytes.
            writer.write(b"late")
            came = b""
            while not came:
                await heard(channel)
                idle = channel.idle()
                assert idle is not None
                came += idle
            assert came == b"late"
            with socket.socket(fileno=os.dup(writer.get_extra_info("socket").fileno())) as raw:
                raw.send(b"HTTP/1.1 400 Bad Request\r\n")
            await heard(channel)
            assert channel.idle() is None

    run(work)


def test_a_peer_that_is_not_who_it_should_be_is_refused_and_told(
    contexts: tuple[ssl.SSLContext, ssl.SSLContext],
) -> None:
    async def work() -> None:
        async with connected() as (channel, peer):
            serving = asyncio.ensure_future(served(peer, contexts[0]))
            with pytest.raises(AttemptError) as caught:
                await channel.handshake(contexts[1], "other.test")
            assert caught.value.reason is Reason.CERTIFICATE
            channel.close()
            (told,) = await asyncio.gather(serving, return_exceptions=True)
            if isinstance(told, BaseException):
                assert isinstance(told, ssl.SSLError)
            else:
                with pytest.raises(ssl.SSLError, match=r"(?i)alert"):
                    await told[0].read()

    run(work)


@pytest.mark.parametrize(("said", "why"), [(b"", "is this a TLS port"), (b"SSH-2.0-OpenSSH_9.6\r\n", "api.test")])
def test_a_port_that_speaks_no_tls_is_called_so(
    contexts: tuple[ssl.SSLContext, ssl.SSLContext], said: bytes, why: str
) -> None:
    async def work() -> None:
        async with connected() as (channel, peer):
            peer.send(said)
            peer.shutdown(socket.SHUT_WR)
            with pytest.raises(AttemptError, match=why) as caught:
                await channel.handshake(contexts[1], NAME)
            assert caught.value.reason is Reason.TLS

    run(work)
