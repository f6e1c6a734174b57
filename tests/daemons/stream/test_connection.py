"""Over real loopback sockets: the kernel's stamps are there, TLS or not, and nothing is lost when there is no room."""

import asyncio
import contextlib
import hashlib
import random
import socket
import ssl
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import trustme
import uvloop

from daemons.errors import ConfigError, StreamError
from daemons.records import Stamp, StampKind
from daemons.stream.connection import MAX_UNSENT, READ_BYTES, Connection
from daemons.stream.datagram import listening_socket
from daemons.stream.dial import UNSENT_BYTES, dial, prepare
from daemons.stream.stamping import Stamper
from daemons.stream.tcp_info import read as read_tcp_info
from daemons.stream.tls import TlsSession, client_context
from daemons.timing.clock import SystemClock
from tests.served import served

DEADLINE = 300.0


@dataclass
class End:
    """One end of a connection, and what came of it."""

    received: bytearray = field(default_factory=bytearray)
    stamps: list[Stamp] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)
    closed: list[StreamError | None] = field(default_factory=list)
    writable: int = 0
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def attach(
        self, sock: socket.socket, stamper: Stamper, tls: TlsSession | None = None, max_unsent: int = MAX_UNSENT
    ) -> None:
        self.connection = Connection(
            sock,
            stamper,
            on_data=self.on_data,
            on_close=self.on_close,
            on_writable=self.on_writable,
            tls=tls,
            peer="the peer",
            max_unsent=max_unsent,
        )
        self.connection.start()

    def on_data(self, data: bytes, stamp: Stamp) -> None:
        self.received += data
        self.stamps.append(stamp)
        self.sizes.append(len(data))
        self.changed.set()

    def on_close(self, error: StreamError | None) -> None:
        self.closed.append(error)
        self.changed.set()

    def on_writable(self) -> None:
        self.writable += 1
        self.changed.set()

    async def has(self, count: int) -> None:
        await self.until(lambda: len(self.received) >= count)

    async def until(self, condition: Callable[[], object]) -> None:
        async with asyncio.timeout(DEADLINE):
            while not condition():
                self.changed.clear()
                await self.changed.wait()


@asynccontextmanager
async def connected(
    server: ssl.SSLContext | None = None,
    client: ssl.SSLContext | None = None,
    max_unsent: int = MAX_UNSENT,
    received_bytes: int = 0,
) -> AsyncIterator[tuple[End, End]]:
    """Dial a listening socket of ours; yield both ends; the second takes in so many bytes that nobody reads."""
    stamper = Stamper(SystemClock())
    one, other = End(), End()
    loop = asyncio.get_running_loop()
    with listening_socket("127.0.0.1", 0, socket.SOCK_STREAM) as listening:
        if received_bytes:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, received_bytes)
        dialling = loop.create_task(
            dial("127.0.0.1", listening.getsockname()[1], context=client, timeout_seconds=DEADLINE)
        )
        sock, _source = await loop.sock_accept(listening)
        prepare(sock)
        if server is not None:
            session = Served(server)
            await session.shake(loop, sock)
            other.attach(sock, stamper, session)
        else:
            other.attach(sock, stamper)
        dialled = await dialling
        one.attach(dialled.socket, stamper, dialled.tls, max_unsent)
    try:
        yield one, other
    finally:
        one.connection.close()
        other.connection.close()
        stamper.close()


class Served(TlsSession):
    """The server's side of a session; the product only needs the client's."""

    def __init__(self, context: ssl.SSLContext) -> None:
        super().__init__(ssl.create_default_context(), "server")
        self._object = context.wrap_bio(self._incoming, self._outgoing, server_side=True)

    async def shake(self, loop: asyncio.AbstractEventLoop, sock: socket.socket) -> None:
        data = b""
        while not self.handshake(data):
            await loop.sock_sendall(sock, self.data_to_send())
            data = await loop.sock_recv(sock, 65536)
        await loop.sock_sendall(sock, self.data_to_send())


def run(work: Coroutine[Any, Any, None]) -> None:
    uvloop.run(work)


@pytest.fixture(scope="module")
def contexts() -> tuple[ssl.SSLContext, ssl.SSLContext]:
    authority = trustme.CA()
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(server)
    client = ssl.create_default_context()
    authority.configure_trust(client)
    return server, client


@pytest.mark.parametrize("secure", [False, True])
def test_every_read_has_a_kernel_stamp(contexts: tuple[ssl.SSLContext, ssl.SSLContext], secure: bool) -> None:
    async def work() -> None:
        async with connected(*(contexts if secure else ())) as (one, other):
            for number in range(1, 21):
                before_ns = time.time_ns()
                other.connection.write(b"x" * 100)
                await one.has(100 * number)
                stamp = one.stamps[-1]
                assert stamp.kind in (StampKind.KERNEL, StampKind.WARMUP)
                assert before_ns <= stamp.ns <= stamp.handled_ns <= time.time_ns()
                assert stamp.step_ns == 0

    run(work())


@pytest.mark.parametrize("size", [100, 5_000])
def test_what_tcp_cannot_send_waits_with_us_and_not_in_the_kernel(size: int) -> None:
    """There nobody would know that it waits: it would have left long ago, by our stamp."""

    async def work() -> None:
        async with connected() as (one, other):
            asyncio.get_running_loop().remove_reader(other.connection._fd)
            total = 0
            while not one.connection.blocked:
                one.connection.write(bytes(size))
                total += size
                assert total < 64 << 20
            unsent = read_tcp_info(one.connection._socket).unsent_bytes
            assert unsent is not None
            assert unsent <= UNSENT_BYTES + size
            # It goes on by itself.
            asyncio.get_running_loop().add_reader(other.connection._fd, other.connection._on_readable)
            await other.has(total)
            await one.until(lambda: one.writable)
            assert not one.connection.blocked

    run(work())


@pytest.mark.parametrize("secure", [False, True])
def test_back_pressure_loses_nothing_and_is_told_of(
    contexts: tuple[ssl.SSLContext, ssl.SSLContext], secure: bool
) -> None:
    async def work() -> None:
        rng = random.Random(1)
        server, client = contexts if secure else (None, None)
        async with connected(server, client, max_unsent=64 << 20) as (one, other):
            # Nobody reads: the kernel's buffers fill up, ours takes the rest.
            asyncio.get_running_loop().remove_reader(other.connection._fd)
            sent = hashlib.sha256()
            total = 0
            while not (one.connection.blocked and total > 24 << 20):
                piece = rng.randbytes(rng.randint(1, 300_000))
                sent.update(piece)
                total += len(piece)
                one.connection.write(piece)
            assert one.writable == 0
            asyncio.get_running_loop().add_reader(other.connection._fd, other.connection._on_readable)
            await other.has(total)
            assert (len(other.received), hashlib.sha256(other.received).digest()) == (total, sent.digest())
            await one.until(lambda: one.writable)
            assert not one.connection.blocked

    run(work())


def test_a_read_that_leaves_some_is_none_since_which_what_is_left_has_come() -> None:
    data = bytes(3 * READ_BYTES)

    async def work() -> None:
        async with connected(received_bytes=2 * len(data)) as (one, other):
            # TCP opens its window little by little: then more than a read takes is there before it is read.
            while READ_BYTES not in other.sizes[1:-1]:
                one.connection.write(data)
                await other.has(len(other.received) + len(data))
            full = other.sizes.index(READ_BYTES, 1)
            before, at, after = other.stamps[full - 1 : full + 2]
            assert at.before_ns == before.ns
            assert after.before_ns == at.before_ns

    run(work())


def test_an_orderly_end_is_no_error() -> None:
    async def work() -> None:
        async with connected() as (one, other):
            one.connection.write(b"last words")
            one.connection.close()
            await other.until(lambda: other.closed)
            assert (bytes(other.received), other.closed, one.closed) == (b"last words", [None], [])
            assert not other.connection.is_open
            other.connection.write(b"into the void")

    run(work())


def test_a_reset_is_told_with_its_reason() -> None:
    async def work() -> None:
        async with connected() as (one, other):
            one.connection.abort()
            await other.until(lambda: other.closed)
            (error,) = other.closed
            assert error is not None
            assert error.reason == "reset"
            assert str(error) == "the peer: Connection reset by peer; the peer or a middle box cut the connection"

    run(work())


def test_a_reset_while_writing_is_told_once_and_later() -> None:
    async def work() -> None:
        async with connected() as (one, other):
            asyncio.get_running_loop().remove_reader(other.connection._fd)
            one.connection.abort()
            async with asyncio.timeout(DEADLINE):
                while not other.closed:
                    other.connection.write(b"x")
                    # Not from inside write: the caller is not to be surprised in the middle of its own work.
                    other.connection.write(b"x")
                    await asyncio.sleep(0)
            await asyncio.sleep(0)
            (error,) = other.closed
            assert error is not None
            assert error.reason == "reset"

    run(work())


def test_the_last_word_before_a_reset_is_read_though_a_write_finds_the_reset_first() -> None:
    async def work() -> None:
        async with connected() as (one, other):
            loop = asyncio.get_running_loop()
            for end in (one, other):
                loop.remove_reader(end.connection._fd)
            one.connection.write(b"never read, so that the close is a reset")
            other.connection.write(b"last words")
            other.connection.close()
            async with asyncio.timeout(DEADLINE):
                while not one.closed:
                    one.connection.write(b"x")
                    await asyncio.sleep(0)
            (error,) = one.closed
            assert error is not None
            assert (bytes(one.received), error.reason) == (b"last words", "reset")

    run(work())


def test_a_connection_is_finished_over_bytes_that_nobody_has_read_without_a_reset() -> None:
    async def work() -> None:
        async with connected() as (one, other):
            one.connection.write(b"not read any more")
            other.connection.write(b"last words")
            gone = other.connection.finish()
            one.connection.write(b"nor this")
            async with asyncio.timeout(DEADLINE):
                await gone
            await one.until(lambda: one.closed)
            assert (bytes(one.received), one.closed) == (b"last words", [None])
            assert (bytes(other.received), other.closed) == (b"", [])
            async with asyncio.timeout(DEADLINE):
                await other.connection.finish()

    run(work())


def test_who_does_not_close_is_waited_for_a_moment_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("daemons.stream.connection.FAREWELL_SECONDS", 0.01)

    async def work() -> None:
        async with connected() as (one, other):
            loop = asyncio.get_running_loop()
            loop.remove_reader(one.connection._fd)
            async with asyncio.timeout(DEADLINE):
                await other.connection.finish()
            assert not one.closed
            loop.add_reader(one.connection._fd, one.connection._on_readable)
            await one.until(lambda: one.closed)

    run(work())


def test_an_end_of_the_tls_session_is_an_end(contexts: tuple[ssl.SSLContext, ssl.SSLContext]) -> None:
    async def work() -> None:
        async with connected(*contexts) as (one, other):
            tls = other.connection._tls
            assert tls is not None
            other.connection.write(b"last words")
            with contextlib.suppress(ssl.SSLWantReadError):
                tls._object.unwrap()
            other.connection._send_raw(tls.data_to_send())
            await one.until(lambda: one.closed)
            assert (bytes(one.received), one.closed) == (b"last words", [None])

    run(work())


def test_nonsense_under_tls_is_an_error(contexts: tuple[ssl.SSLContext, ssl.SSLContext]) -> None:
    async def work() -> None:
        async with connected(*contexts) as (one, other):
            other.connection._send_raw(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            await one.until(lambda: one.closed)
            (error,) = one.closed
            assert error is not None
            assert error.reason == "tls"

    run(work())


def test_dialling_fails_with_a_reason_and_in_time() -> None:
    async def work() -> None:
        with socket.socket() as closed:
            # Bound, so that nobody else gets it meanwhile, and not listening.
            closed.bind(("127.0.0.1", 0))
            with pytest.raises(StreamError) as refused:
                await dial("127.0.0.1", closed.getsockname()[1])
        assert refused.value.reason == "refused"
        with pytest.raises(StreamError) as unknown:
            await dial("nowhere.invalid", 1)
        assert unknown.value.reason == "dns"
        with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(StreamError) as late:
            # It listens, but never answers the TLS handshake.
            await dial("127.0.0.1", silent.getsockname()[1], context=client_context(None), timeout_seconds=0.1)
        assert (late.value.reason, "no connection within 0.1 s" in str(late.value)) == ("timeout", True)

    run(work())


def test_an_authority_file_must_hold_certificates(tmp_path: Path) -> None:
    file = tmp_path / "ca.pem"
    file.write_text("nothing")
    with pytest.raises(ConfigError, match="cannot be used"):
        client_context(str(file))
    trustme.CA().cert_pem.write_to_path(str(file))
    assert client_context(str(file)).minimum_version is ssl.TLSVersion.TLSv1_2


def test_an_address_that_swallows_packets_costs_a_quarter_of_a_second_and_not_the_attempt(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A listener whose queue is full drops what knocks, as a firewall does (listen(2), tcp_abort_on_overflow = 0)."""

    async def main() -> str:
        with socket.create_server(("127.0.0.1", 0)) as good, socket.socket() as hole:
            # A port of its own: that of the other may be in use at this address.
            hole.bind(("127.0.0.2", 0))
            hole.listen(0)
            knocking = [socket.socket() for _number in range(4)]
            for one in knocking:
                one.setblocking(False)
                with contextlib.suppress(BlockingIOError):
                    one.connect(hole.getsockname())
            addresses = [
                (socket.AF_INET, socket.SOCK_STREAM, 6, "", listener.getsockname()) for listener in (hole, good)
            ]

            async def resolve(*_arguments: object) -> object:
                return addresses

            monkeypatch.setattr("daemons.stream.dial.resolve", resolve)
            try:
                dialled = await dial("name.example", good.getsockname()[1], timeout_seconds=30)
                with dialled.socket:
                    return str(dialled.socket.getpeername()[0])
            finally:
                for one in knocking:
                    one.close()

    assert asyncio.run(main()) == "127.0.0.1"


def answers(*targets: tuple[str, int]) -> Callable[..., Coroutine[Any, Any, list[object]]]:
    async def resolve(_host: str, _port: int, kind: socket.SocketKind) -> list[object]:
        return [(socket.AF_INET, kind, 0, "", target) for target in targets]

    return resolve


def test_an_address_that_breaks_tls_is_left_for_the_others(
    contexts: tuple[ssl.SSLContext, ssl.SSLContext], monkeypatch: pytest.MonkeyPatch
) -> None:
    server_context, client = contexts

    async def cut(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.transport.abort()

    async def keep(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async def work() -> None:
        async with served(cut, "127.0.0.2") as bad, served(keep, context=server_context) as good:
            targets = [("127.0.0.2", bad), ("127.0.0.1", good)]
            monkeypatch.setattr("daemons.stream.dial.resolve", answers(*targets))
            dialled = await dial("127.0.0.1", 1, context=client, timeout_seconds=DEADLINE / 2)
            assert dialled.address == "127.0.0.1"
            dialled.socket.close()

    run(work())


def test_the_reason_is_kept_when_addresses_fail_in_different_ways(monkeypatch: pytest.MonkeyPatch) -> None:
    async def work() -> None:
        with socket.socket() as held:
            held.bind(("127.0.0.1", 0))  # nothing listens
            targets = answers(("255.255.255.255", 1), held.getsockname())
            monkeypatch.setattr("daemons.stream.dial.resolve", targets)
            with pytest.raises(StreamError) as caught:
                await dial("exchange.test", 1, timeout_seconds=DEADLINE / 2)
            assert caught.value.reason == "refused"

    run(work())


@pytest.mark.parametrize("secure", [False, True])
def test_what_the_taker_does_not_foresee_ends_the_connection_and_nothing_else(
    contexts: tuple[ssl.SSLContext, ssl.SSLContext], secure: bool
) -> None:
    async def work() -> None:
        server, client = contexts if secure else (None, None)
        escaped: list[object] = []
        asyncio.get_running_loop().set_exception_handler(lambda _loop, context: escaped.append(context))
        async with connected(server, client) as (one, other):

            def fail(data: bytes, _stamp: Stamp) -> None:
                raise RecursionError(data.decode())

            one.connection._on_data = fail
            other.connection.write(b"too deep")
            await one.until(lambda: one.closed)
            (error,) = one.closed
            assert error is not None
            assert error.reason == "unexpected"
            assert str(error).startswith("the peer: what it sent was not foreseen: RecursionError: too deep (")
            assert not one.connection.is_open
            await other.until(lambda: other.closed)
        assert escaped == []

    run(work())


@pytest.mark.parametrize("size", [127, 300_000])
def test_a_peer_that_does_not_read_is_given_up_before_memory_is(size: int) -> None:
    async def work() -> None:
        async with connected() as (one, other):
            asyncio.get_running_loop().remove_reader(other.connection._fd)
            most = 0
            # As a flood of pings would have it, whose pongs nobody reads.
            for number in range((64 << 20) // size):
                one.connection.write(bytes(size))
                most = max(most, len(one.connection._unsent))
                if number % 64 == 0:
                    await asyncio.sleep(0)
            assert MAX_UNSENT - size < most <= MAX_UNSENT
            (error,) = one.closed
            assert error is not None
            assert error.reason == "unread"
            assert str(error).startswith("the peer: does not read what it is sent: 1")
            assert not one.connection.is_open
            assert not one.connection._unsent

    run(work())
