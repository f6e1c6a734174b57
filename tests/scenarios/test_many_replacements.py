"""A thousand planned replacements of a feed's connection, by age and by notice, in every form: none is seen.

The exchange is the websockets library's, in this loop, with the simulator's market. Only the budget of attempts and the
time for which both connections are read, are other than the feed's own, so that a thousand take minutes.
"""

import asyncio
import itertools
import json
import random
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trustme
import uvloop
from websockets.asyncio.server import ServerConnection, serve

from daemons.feed.counts import ReplacementReason
from daemons.feed.feed import Feed
from daemons.feed.settings import FeedFields, FeedSettings
from daemons.measurement.account import PathAccount
from daemons.measurement.figures import Instruments
from daemons.measurement.histogram import BucketHistogram, octaves
from daemons.records import FeedEvent, Stamp
from daemons.secret import Secret
from daemons.simulator import sbe
from daemons.simulator.market import Event, Market, envelope
from daemons.simulator.streams import parse
from daemons.stream.stamping import Stamper
from daemons.timing.backoff import AttemptBudget
from daemons.timing.clock import SystemClock
from tests.daemons.waiting import until
from tests.stretches import stretches

pytestmark = pytest.mark.process

RATE = 1000
JSON_STREAMS = ("btcusdt@trade", "btcusdt@bookTicker", "btcusdt@depth@100ms")
SBE_STREAMS = ("btcusdt@trade", "btcusdt@bestBidAsk", "btcusdt@depth")
AGE_SECONDS = 0.3
FORMS = list(itertools.product(("json", "sbe"), ("ws", "stream"), (False, True)))
"""Encoding; raw or combined; TLS."""


class Exchange:
    """Sends every event of a market to each connection that is there."""

    def __init__(self, *, binary: bool, combined: bool) -> None:
        streams = [stream for name in JSON_STREAMS if (stream := parse(name)) is not None]
        self._market = Market(streams, 1)
        self._binary, self._combined = binary, combined
        self._members: set[ServerConnection] = set()
        self.sent = self.connections = 0

    async def member(self, connection: ServerConnection) -> None:
        self._members.add(connection)
        self.connections += 1
        try:
            await connection.wait_closed()
        finally:
            self._members.discard(connection)

    async def run(self) -> None:
        """Send events, as many as are due, until cancelled."""
        begun = time.monotonic()
        while True:
            due = int((time.monotonic() - begun) * RATE)
            while self.sent < due:
                self.sent += 1
                self._send(self._message(self._market.next_event()))
            await asyncio.sleep(0.001)

    def announce(self) -> None:
        """Tell everybody that their connection is about to be closed; that is JSON in SBE, too."""
        notice = json.dumps({"e": "serverShutdown", "E": time.time_ns() // 1_000_000}).encode()
        if self._combined and not self._binary:
            notice = envelope("!serverShutdown", notice)
        self._send(notice.decode())

    def _message(self, event: Event) -> bytes | str:
        payload = event.payload(time.time_ns(), 1000)
        if self._binary:
            return sbe.of_json(payload, time.time_ns() // 1000, "BTCUSDT")
        return (envelope(event.stream, payload) if self._combined else payload).decode()

    def _send(self, message: bytes | str) -> None:
        data = message if isinstance(message, bytes) else message.encode()
        for connection in self._members:
            if connection.transport.is_closing():
                continue
            protocol = connection.protocol
            if isinstance(message, bytes):
                protocol.send_binary(data)
            else:
                protocol.send_text(data)
            connection.send_data()


@asynccontextmanager
async def serving(exchange: Exchange, context: ssl.SSLContext | None) -> AsyncIterator[int]:
    async with serve(exchange.member, "127.0.0.1", 0, ssl=context, compression=None) as server:
        sending = asyncio.ensure_future(exchange.run())
        try:
            yield next(iter(server.sockets)).getsockname()[1]
        finally:
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)


def histogram(_stream: str = "") -> BucketHistogram:
    return BucketHistogram(octaves(-20, 4))


async def replaced(encoding: str, form: str, *, secure: bool, reason: ReplacementReason, times: int) -> None:
    """Have a connection replaced so often, and see that its account is that of one connection."""
    authority = trustme.CA()
    serving_context, context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context()
    authority.issue_cert("127.0.0.1").configure_cert(serving_context)
    authority.configure_trust(context)
    binary = encoding == "sbe"
    streams = "/".join(SBE_STREAMS if binary else JSON_STREAMS)
    exchange = Exchange(binary=binary, combined=form == "stream")
    stamper = Stamper(SystemClock())
    instruments = Instruments(histogram, histogram, histogram(), histogram())
    account = PathAccount("direct", 0, link=False, instruments=instruments)
    ids: dict[str, list[int]] = {}

    def on_events(events: list[FeedEvent], stamp: Stamp) -> None:
        account.observe_feed(events, stamp)
        for event in events:
            assert event.event_id is not None
            ids.setdefault(event.stream, []).append(event.event_id)

    try:
        async with serving(exchange, serving_context if secure else None) as port:
            where = f"{'wss' if secure else 'ws'}://127.0.0.1:{port}"
            settings = FeedSettings(
                "direct",
                f"{where}/stream?streams={streams}" if form == "stream" else f"{where}/ws/{streams}",
                context if secure else None,
                FeedFields(
                    max_age_seconds=AGE_SECONDS if reason is ReplacementReason.AGE else 86_100.0,
                    encoding="sbe" if binary else "json",
                ),
                api_key=Secret(b"k" * 64) if binary else None,
            )
            budget = AttemptBudget(attempts=10**6)
            feed = Feed([settings], stamper, random.Random(1), on_events, account.interrupt, budget=budget)
            running = asyncio.ensure_future(feed.run())
            try:
                counts = feed.counts
                for done in range(times):
                    await until(lambda: counts.connected)
                    if reason is ReplacementReason.NOTICE:
                        exchange.announce()
                    await until(lambda done=done: counts.replacements[reason] > done)  # type: ignore[misc]
                assert counts.overlap_events > 0
                assert sum(counts.reconnects.values()) == sum(counts.invalid.values()) == 0
                # One for each, and perhaps the next one's.
                assert times + 1 <= exchange.connections <= times + 2
                assert counts.notices == (times if reason is ReplacementReason.NOTICE else 0)
            finally:
                running.cancel()
                await asyncio.gather(running, return_exceptions=True)
    finally:
        stamper.close()
    account.finish()
    figures = {name: account.total(name) for name in ("missing", "duplicates", "reordered", "late")}
    assert figures == dict.fromkeys(figures, 0)
    assert len(ids) == 3
    for stream, brought in ids.items():
        assert brought == sorted(set(brought)), stream
        if stream.endswith("@trade"):
            assert len(stretches(brought)) == 1


def run(times: int, encoding: str, form: str, *, secure: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("daemons.feed.client.OVERLAP_SECONDS", 0.05)
    monkeypatch.setattr("daemons.feed.client.LOOK_SECONDS", 0.01)

    async def both() -> None:
        for reason in (ReplacementReason.AGE, ReplacementReason.NOTICE):
            await replaced(encoding, form, secure=secure, reason=reason, times=times)

    uvloop.run(asyncio.wait_for(both(), 1200))


@pytest.mark.parametrize(("encoding", "form", "secure"), FORMS)
def test_of_many_replacements_none_is_seen(
    encoding: str, form: str, secure: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(3, encoding, form, secure=secure, monkeypatch=monkeypatch)


@pytest.mark.exhaustive
@pytest.mark.parametrize(("encoding", "form", "secure"), FORMS)
def test_of_a_thousand_replacements_none_is_seen(
    encoding: str, form: str, secure: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(64, encoding, form, secure=secure, monkeypatch=monkeypatch)
