"""Why a connection of a feed is over, or to be replaced, on a real socket."""

import asyncio
import socket
from collections import Counter

import msgspec
import pytest
from websockets.frames import Frame, Opcode

from daemons.errors import FeedError
from daemons.feed.binance import Invalid
from daemons.feed.connection import FeedConnection
from daemons.feed.counts import ReplacementReason
from daemons.feed.settings import FeedFields, FeedSettings
from daemons.reasons import FeedReason
from daemons.stream.dial import dial
from daemons.stream.stamping import Stamper
from daemons.timing.clock import SystemClock
from tests.daemons.feed.test_connection import DEADLINE, Sink, run, standing, trade

NOTICE = Frame(Opcode.TEXT, b'{"e":"serverShutdown","E":1672515782136}').serialize(mask=False)
ERROR = Frame(Opcode.TEXT, b'{"error":{"code":2,"msg":"Invalid request"},"id":7}').serialize(mask=False)
NONSENSE = Frame(Opcode.TEXT, b"{").serialize(mask=False)
CLOSE = Frame(Opcode.CLOSE, (1001).to_bytes(2, "big") + b"going away").serialize(mask=False)


class Counting(Sink):
    """Takes what is no event as well."""

    def __init__(self) -> None:
        super().__init__()
        self.invalids: Counter[Invalid] = Counter()
        self.texts: list[str] = []

    def invalid(self, reason: Invalid, count: int) -> None:
        self.invalids[reason] += count
        self.changed.set()

    def refused(self, texts: list[str]) -> None:
        self.texts += texts
        self.changed.set()


def limited(connection: FeedConnection, **fields: float) -> None:
    """Have other limits from now on."""
    url = str(connection.origin[0])
    connection.adopt(FeedSettings("feed", url, None, msgspec.structs.replace(FeedFields(), **fields)))


def test_a_connection_is_replaced_when_it_is_old() -> None:
    async def work() -> None:
        async with standing(secure=False) as (_server, _sink, connection):
            limited(connection, max_age_seconds=0.01)
            assert await connection.watch() is ReplacementReason.AGE
            assert connection.age_seconds >= 0.01
            assert not connection.ended.done()

    run(work)


def test_a_connection_is_replaced_when_it_is_set_otherwise_and_keeps_to_limits_without() -> None:
    async def work() -> None:
        async with standing(secure=False) as (_server, _sink, connection):
            watching = asyncio.ensure_future(connection.watch())
            limited(connection, silence_seconds=1000.0)
            await asyncio.sleep(0)
            assert not watching.done()
            limited(connection, max_message_bytes=1 << 20)
            assert await watching is ReplacementReason.RELOAD

    run(work)


def test_a_connection_without_events_is_given_up_and_is_told_what_to_do() -> None:
    async def work() -> None:
        async with standing(secure=False) as (server, sink, connection):
            server.say(trade(1))
            while not sink.kinds:
                sink.changed.clear()
                await sink.changed.wait()
            limited(connection, silence_seconds=0.05)
            over = await connection.watch()
            assert isinstance(over, FeedError)
            assert over.reason is FeedReason.SILENT
            assert "no event for 0.05 s; the stream may be quiet: then raise silence_seconds" in str(over)

    run(work)


def test_the_exchange_s_notice_is_heeded_and_its_end_after_it_is_no_surprise() -> None:
    async def work() -> None:
        async with standing(secure=False) as (server, sink, connection):
            server.say(NOTICE)
            assert await connection.watch() is ReplacementReason.NOTICE
            # What comes until the other connection stands is delivered.
            server.say(trade(1) + CLOSE)
            over = await connection.watch()
            assert isinstance(over, FeedError)
            assert over.reason is FeedReason.CLOSED
            assert "1001 (going away)" in str(over)
            assert len(sink.kinds) == 1

    run(work)


def test_what_is_no_event_is_counted_once_and_answers_with_errors_are_passed_on() -> None:
    async def work() -> None:
        async with standing(secure=False, sink=(sink := Counting())) as (server, _sink, _connection):
            server.say(NONSENSE + trade(1) + NONSENSE + ERROR)
            server.say(NONSENSE)
            while sink.invalids.total() < 3 or not sink.texts:
                sink.changed.clear()
                await sink.changed.wait()
            assert sink.invalids == {Invalid.MALFORMED: 3}
            (text,) = sink.texts
            assert "Invalid request" in text
            assert len(sink.kinds) == 1

    run(work)


@pytest.mark.parametrize("ends", [False, True])
def test_a_handshake_that_does_not_come_is_told(ends: bool) -> None:
    async def work() -> None:
        loop, stamper = asyncio.get_running_loop(), Stamper(SystemClock())
        with socket.create_server(("127.0.0.1", 0)) as listening:
            listening.setblocking(False)
            port = listening.getsockname()[1]
            made = loop.create_task(dial("127.0.0.1", port, context=None, timeout_seconds=DEADLINE))
            accepted, _source = await loop.sock_accept(listening)
        url = f"ws://127.0.0.1:{port}/ws/btcusdt@trade"
        connection = FeedConnection(await made, stamper, FeedSettings("feed", url, None), sink := Sink())
        try:
            if ends:
                accepted.close()
            over = await connection.stand(loop.time() + (DEADLINE if ends else 0.01))
            assert over is not None
            assert (over.reason is FeedReason.TIMEOUT) is not ends
            assert ends or "no WebSocket handshake in time; check the URL and the exchange" in str(over)
            assert sink.standing == 0
        finally:
            connection.close()
            accepted.close()
            stamper.close()

    run(work)
