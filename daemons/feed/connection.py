"""One connection of a feed, from dialled to ended: handshake, events, silence, age."""

import asyncio
from typing import Any, Protocol

from daemons.errors import FeedError, StreamError
from daemons.feed.binance import Invalid
from daemons.feed.counts import ReplacementReason
from daemons.feed.endpoints import shown
from daemons.feed.pulse import PING_SECONDS, Pulse
from daemons.feed.session import FeedSession
from daemons.feed.settings import FeedSettings
from daemons.reasons import FeedReason
from daemons.records import FeedEvent, Stamp, inexact
from daemons.stream.connection import Connection
from daemons.stream.dial import Dialled
from daemons.stream.stamping import Stamper
from daemons.stream.tcp_info import TcpAccount

__all__ = ["FeedConnection", "FeedSink"]


class FeedSink(Protocol):
    """Who takes what a connection brings."""

    @property
    def tcp(self) -> TcpAccount:
        """What TCP says of the connections that stand."""

    def stood(self, connection: "FeedConnection") -> None:
        """Take note that a connection's handshake is complete; nothing that it brings was delivered yet."""

    def deliver(self, connection: "FeedConnection", events: list[FeedEvent], stamp: Stamp) -> None:
        """Take the events of one read; its stamp is exact for the last of them alone, if it is for any."""

    def invalid(self, reason: Invalid, count: int) -> None:
        """Count messages that were no events."""

    def pinged(self) -> None:
        """Count a ping that was sent."""

    def answered(self, round_trip_ns: int) -> None:
        """Take in how long the answer to one took."""

    def refused(self, texts: list[str]) -> None:
        """Take answers to control requests that were errors."""


class FeedConnection:
    """Runs one connection; :meth:`stand` first, then :meth:`watch` until it says why the connection is over.

    Args:
        dialled: the connected socket.
        stamper: makes stamps.
        limits: the feed's settings.
        sink: takes what comes.
    """

    def __init__(self, dialled: Dialled, stamper: Stamper, limits: FeedSettings, sink: FeedSink) -> None:
        self._limits = limits
        self._sink = sink
        self._clock = stamper.clock
        self._pulse = Pulse()
        self._pinging: asyncio.Task[None] | None = None
        self._loop = asyncio.get_running_loop()
        self._session = FeedSession(
            limits.url, max_message_bytes=limits.fields.max_message_bytes, sbe=limits.sbe, api_key=limits.api_key
        )
        self._stood: asyncio.Future[None] = self._loop.create_future()
        self._noticed: asyncio.Future[ReplacementReason] = self._loop.create_future()
        self.ended: asyncio.Future[StreamError | FeedError] = self._loop.create_future()
        self.address = dialled.address
        self.streams, self.origin = limits.streams, limits.origin
        self.events = 0
        self._born = self._loop.time()
        self._connection = Connection(
            dialled.socket, stamper, on_data=self._on_data, on_close=self._on_close, tls=dialled.tls, peer=dialled.peer
        )

    async def stand(self, deadline: float) -> StreamError | FeedError | None:
        """Complete the handshake until the loop's time is ``deadline``; return why it failed, or None."""
        self._session.start()
        self._flush()
        self._connection.start()
        left = max(0.0, deadline - self._loop.time())
        ends: set[asyncio.Future[Any]] = {self._stood, self.ended}
        await asyncio.wait(ends, timeout=left, return_when=asyncio.FIRST_COMPLETED)
        if self._stood.done():
            self._born = self._loop.time()
            self._connection.observe_tcp(self._sink.tcp)
            self._pinging = self._loop.create_task(self._ping())
            return None
        if self.ended.done():
            return self.ended.result()
        why = "no WebSocket handshake in time; check the URL and the exchange"
        return FeedError(FeedReason.TIMEOUT, f"{shown(self._limits.url)}: {why}")

    async def watch(self) -> StreamError | FeedError | ReplacementReason:
        """Wait until the connection ended, fell silent, or is to be replaced.

        Returns:
            Why it is over; or, while it still works, why it should be replaced.
        """
        seen, quiet_since = -1, self._loop.time()
        while True:
            now = self._loop.time()
            if self.events != seen:
                seen, quiet_since = self.events, now
            limits = self._limits.fields
            silent, old = quiet_since + limits.silence_seconds, self._born + limits.max_age_seconds
            if now >= silent:
                return self._silent()
            if now >= old:
                return ReplacementReason.AGE
            # Looking a few times within the limit keeps it exact to a quarter.
            pause = min(silent - now, old - now, max(0.01, limits.silence_seconds / 4))
            ends: set[asyncio.Future[Any]] = {self.ended, self._noticed}
            await asyncio.wait(ends, timeout=pause, return_when=asyncio.FIRST_COMPLETED)
            if self.ended.done():
                return self.ended.result()
            if self._noticed.done():
                why = self._noticed.result()
                self._noticed = self._loop.create_future()
                return why
            # A turn of the loop: after a stall of this process there is something to read before silence is judged.
            await asyncio.sleep(0)

    def adopt(self, limits: FeedSettings) -> None:
        """Keep to other limits, and have the connection replaced where they need another one."""
        self._limits = limits
        if limits.origin != self.origin and not self._noticed.done():
            self._noticed.set_result(ReplacementReason.RELOAD)

    @property
    def age_seconds(self) -> float:
        """How long the connection has stood."""
        return self._loop.time() - self._born

    def close(self) -> None:
        """Close the socket; nothing is delivered any more."""
        if self._pinging is not None:
            self._pinging.cancel()
        self._connection.close()

    async def _ping(self) -> None:
        """Ask now and then for an answer, which tells the round trip and that somebody is there still."""
        while not self.ended.done():
            self._session.ping(self._pulse.ping(self._clock.monotonic_ns()))
            self._flush()
            self._sink.pinged()
            before = self.events
            await asyncio.sleep(PING_SECONDS)
            # A turn of the loop: after a stall of this process there is something to read.
            await asyncio.sleep(0)
            if self._pulse.outstanding and self.events == before:
                why = f"neither an event nor an answer to a ping for {PING_SECONDS:g} s; the way or the peer is dead"
                self._finish(FeedError(FeedReason.SILENT, f"{shown(self._limits.url)}: {why}"))

    def _silent(self) -> FeedError:
        silence = self._limits.fields.silence_seconds
        why = f"connected, but no event for {silence:g} s; the stream may be quiet: then raise silence_seconds"
        return FeedError(FeedReason.SILENT, f"{shown(self._limits.url)}: {why}")

    def _on_data(self, data: bytes, stamp: Stamp) -> None:
        session = self._session
        events = session.receive_data(data)
        if session.established and not self._stood.done():
            self._stood.set_result(None)
            # Here and not where it is awaited: that has its turn after what the same read brought, and after reads of
            # other connections.
            self._sink.stood(self)
        if events:
            self.events += len(events)
            self._sink.deliver(self, events, stamp if session.exact else inexact(stamp))
        if session.stirred:
            # After the events: a pong can wait for them.
            self._flush()
            self._hear(stamp)
            self._account()
            try:
                session.check()
            except FeedError as error:
                self._finish(error)

    def _hear(self, stamp: Stamp) -> None:
        for payload in self._session.pongs:
            round_trip_ns = self._pulse.pong(payload, stamp.steady_ns)
            if round_trip_ns is not None:
                self._sink.answered(round_trip_ns)
        self._session.pongs.clear()

    def _on_close(self, error: StreamError | None) -> None:
        self._finish(error if error is not None else self._session.receive_eof())

    def _finish(self, error: StreamError | FeedError) -> None:
        self._account()
        if not self.ended.done():
            self.ended.set_result(error)

    def _account(self) -> None:
        session = self._session
        for reason, count in session.invalid.items():
            if count:
                self._sink.invalid(reason, count)
                session.invalid[reason] = 0
        if session.refusals:
            self._sink.refused(session.refusals)
            session.refusals = []
        if session.notices:
            session.notices = 0
            if not self._noticed.done():
                self._noticed.set_result(ReplacementReason.NOTICE)

    def _flush(self) -> None:
        for data in self._session.data_to_send():
            self._connection.write(data)
