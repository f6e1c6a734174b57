"""A feed's connection on a real socket: which event of a read has the stamp of its last packet for its own."""

import asyncio
import socket
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
import trustme
import uvloop
from websockets.frames import Frame, Opcode
from websockets.http11 import Request
from websockets.server import ServerProtocol

from daemons.feed.binance import Invalid
from daemons.feed.connection import FeedConnection
from daemons.feed.settings import FeedSettings
from daemons.records import KERNEL, SHARED, FeedEvent, Stamp, StampKind, shared
from daemons.stream.dial import dial, prepare
from daemons.stream.stamping import Stamper
from daemons.stream.tcp_info import TcpAccount
from daemons.timing.clock import SystemClock

DEADLINE = 300.0


def trade(number: int) -> bytes:
    message = b'{"e":"trade","E":1672515782136,"s":"BTCUSDT","t":%d}' % number
    return Frame(Opcode.TEXT, message).serialize(mask=False)


PING = Frame(Opcode.PING, b"alive").serialize(mask=False)
CASES = [
    ([trade(1)], [KERNEL]),
    ([trade(1), trade(2)[:5]], [SHARED]),
    ([trade(1), PING], [SHARED]),
    ([trade(1), PING, trade(2)], [SHARED, KERNEL]),
]


class Sink:
    """Keeps of each event how its stamp was called."""

    def __init__(self) -> None:
        self.tcp = TcpAccount()
        self.kinds: list[StampKind] = []
        self.round_trips: list[int] = []
        self.pings = self.standing = 0
        self.changed = asyncio.Event()

    def stood(self, connection: FeedConnection) -> None:
        del connection
        assert not self.kinds
        self.standing += 1

    def deliver(self, connection: FeedConnection, events: list[FeedEvent], stamp: Stamp) -> None:
        del connection
        assert self.standing == 1
        self.kinds += [shared(stamp.kind)] * (len(events) - 1) + [stamp.kind]
        self.changed.set()

    def invalid(self, reason: Invalid, count: int) -> None:
        raise AssertionError(reason, count)

    def pinged(self) -> None:
        self.pings += 1

    def answered(self, round_trip_ns: int) -> None:
        self.round_trips.append(round_trip_ns)
        self.changed.set()

    def refused(self, texts: list[str]) -> None:
        raise AssertionError(texts)


class Server:
    """An exchange's end of one connection; what it says in one breath is read at once."""

    def __init__(self, sock: socket.socket, context: ssl.SSLContext | None) -> None:
        self._socket = sock
        self._loop = asyncio.get_running_loop()
        self._protocol = ServerProtocol()
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True) if context else None

    async def greet(self) -> None:
        """Complete the handshakes."""
        if self._tls is not None:
            while True:
                try:
                    self._tls.do_handshake()
                    break
                except ssl.SSLWantReadError:
                    await self._send()
                    self._incoming.write(await self._loop.sock_recv(self._socket, 65536))
            await self._send()
        protocol = self._protocol
        while not (requests := protocol.events_received()):
            protocol.receive_data(self._plain(await self._loop.sock_recv(self._socket, 65536)))
        assert isinstance(requests[0], Request)
        protocol.send_response(protocol.accept(requests[0]))
        self.say(b"".join(protocol.data_to_send()))

    async def answer_ping(self) -> None:
        """Wait for a ping and answer it, twice, after a pong that nobody asked for."""
        protocol = self._protocol
        while not (frames := protocol.events_received()):
            protocol.receive_data(self._plain(await self._loop.sock_recv(self._socket, 65536)))
        assert isinstance(frames[0], Frame)
        assert frames[0].opcode is Opcode.PING
        self.say(Frame(Opcode.PONG, b"unasked").serialize(mask=False))
        for pong in protocol.data_to_send() * 2:
            self.say(pong)

    def say(self, data: bytes) -> None:
        """Send bytes as a packet, and as a record, of their own."""
        if self._tls is not None:
            self._tls.write(data)
            data = self._outgoing.read()
        self._socket.send(data)

    def _plain(self, data: bytes) -> bytes:
        if self._tls is None:
            return data
        self._incoming.write(data)
        try:
            return self._tls.read(65536)
        except ssl.SSLWantReadError:
            return b""

    async def _send(self) -> None:
        if data := self._outgoing.read():
            await self._loop.sock_sendall(self._socket, data)


@asynccontextmanager
async def standing(*, secure: bool, sink: Sink | None = None) -> AsyncIterator[tuple[Server, Sink, FeedConnection]]:
    """Make a connection to an exchange in this loop."""
    sink = sink or Sink()
    authority = trustme.CA()
    serving, dialling = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context()
    authority.issue_cert("127.0.0.1").configure_cert(serving)
    authority.configure_trust(dialling)
    loop, stamper = asyncio.get_running_loop(), Stamper(SystemClock())
    assert await stamper.warm()
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.setblocking(False)
        port = listening.getsockname()[1]
        url = f"{'wss' if secure else 'ws'}://127.0.0.1:{port}/ws/btcusdt@trade"
        context = dialling if secure else None
        made = loop.create_task(dial("127.0.0.1", port, context=context, timeout_seconds=DEADLINE))
        accepted, _source = await loop.sock_accept(listening)
    prepare(accepted)
    server = Server(accepted, serving if secure else None)
    greeted = loop.create_task(server.greet())
    connection = FeedConnection(await made, stamper, FeedSettings("feed", url, context), sink)
    try:
        assert await connection.stand(loop.time() + DEADLINE) is None
        await greeted
        yield server, sink, connection
    finally:
        connection.close()
        accepted.close()
        stamper.close()


def run(work: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(DEADLINE):
            await work()

    uvloop.run(bounded())


@pytest.mark.parametrize("secure", [False, True])
@pytest.mark.parametrize(("packets", "kinds"), CASES)
def test_packets_that_are_read_together_share_their_stamp(
    packets: list[bytes], kinds: list[StampKind], secure: bool
) -> None:
    async def work() -> None:
        async with standing(secure=secure) as (server, sink, _connection):
            # Nothing is awaited in between: the connection, in the same loop, finds all of them.
            for packet in packets:
                server.say(packet)
            while len(sink.kinds) < len(kinds):
                sink.changed.clear()
                await sink.changed.wait()
            assert sink.kinds == kinds

    run(work)


@pytest.mark.parametrize("secure", [False, True])
def test_the_answer_to_a_ping_tells_the_round_trip_once(secure: bool) -> None:
    async def work() -> None:
        async with standing(secure=secure) as (server, sink, _connection):
            begun_ns = time.monotonic_ns()
            await server.answer_ping()
            server.say(trade(1))
            while not (sink.round_trips and sink.kinds):
                sink.changed.clear()
                await sink.changed.wait()
            (round_trip_ns,) = sink.round_trips
            assert sink.pings == 1
            assert 0 < round_trip_ns < time.monotonic_ns() - begun_ns + DEADLINE * 1e9

    run(work)


@pytest.mark.parametrize("lives", [False, True])
def test_a_connection_on_which_nothing_comes_is_given_up(lives: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even the answer to a ping; one whose events come may be deaf to pings."""
    monkeypatch.setattr("daemons.feed.connection.PING_SECONDS", 0.3)

    async def work() -> None:
        async with standing(secure=False) as (server, sink, connection):
            number = 0
            while sink.pings < 4 and not connection.ended.done():
                if lives:
                    number += 1
                    server.say(trade(number))
                await asyncio.sleep(0.001)
            assert connection.ended.done() is not lives
            if not lives:
                assert connection.ended.result().reason == "silent"
                assert sink.pings == 1

    run(work)
