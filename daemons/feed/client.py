"""A feed that stays connected: dial, read, notice silence, back off, again."""

import asyncio
import random
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import structlog

from daemons.errors import FeedError, StreamError, TransportError
from daemons.feed.binance import Invalid
from daemons.feed.session import FeedSession
from daemons.records import FeedEvent, Stamp
from daemons.stream.connection import Connection
from daemons.stream.dial import Dialled, dial
from daemons.stream.stamping import Stamper
from daemons.timing.backoff import AttemptBudget, Backoff

__all__ = ["RECONNECT_REASONS", "FeedClient", "FeedCounts", "FeedSettings"]

RECONNECT_REASONS = (
    "closed",
    "silent",
    "planned",
    "refused",
    "timeout",
    "reset",
    "unreachable",
    "dns",
    "tls",
    "certificate",
    "io",
    "local",
    "protocol",
    "handshake",
    "too_large",
    "http_4xx",
    "http_5xx",
    "http_other",
)
"""Why a feed connection ended or could not be made; ``http_…`` are classes, so that labels stay few."""

HEALTHY_SECONDS = 10.0
"""How long events must have flowed before the back-off starts over."""

RATE_LIMIT_SECONDS = 30.0
"""Least wait after an exchange said that we come too often."""


@dataclass(frozen=True, slots=True)
class FeedSettings:
    """What a feed needs to know.

    Attributes:
        name: the feed's name in logs.
        url: the complete URL.
        context: TLS settings for ``wss``; None for ``ws``.
        connect_timeout_seconds: for name, TCP, TLS and WebSocket handshake together.
        silence_seconds: without an event for so long the connection is given up.
        max_age_seconds: a connection this old is replaced; exchanges cut them at 24 h.
        max_message_bytes: larger messages end the connection.
        backoff_cap_seconds: the longest wait between attempts.
    """

    name: str
    url: str
    context: ssl.SSLContext | None
    connect_timeout_seconds: float = 10.0
    silence_seconds: float = 30.0
    max_age_seconds: float = 86_100.0
    max_message_bytes: int = 4 << 20
    backoff_cap_seconds: float = 30.0


@dataclass(slots=True)
class FeedCounts:
    """What happened on a feed; plain integers for the metrics."""

    connected: bool = False
    attempts: int = 0
    connections: int = 0
    events: int = 0
    reconnects: dict[str, int] = field(default_factory=lambda: dict.fromkeys(RECONNECT_REASONS, 0))
    invalid: dict[str, int] = field(default_factory=lambda: {reason.value: 0 for reason in Invalid})
    last_event_ns: int = 0


class FeedClient:
    """Runs one feed for the life of the daemon.

    Args:
        settings: where and how.
        stamper: makes the arrival stamps, and holds the clock.
        rng: for the back-off.
        on_events: called with the events of each read and its stamp. The last event was completed by the stamped
            packet; those before it may have arrived earlier.
        on_connected: called when a connection is established, before its first event.
    """

    def __init__(
        self,
        settings: FeedSettings,
        stamper: Stamper,
        rng: random.Random,
        on_events: Callable[[list[FeedEvent], Stamp], None],
        on_connected: Callable[[], None] | None = None,
    ) -> None:
        self._settings = settings
        self.stamper = stamper
        self._clock = stamper.clock
        self._backoff = Backoff(rng, cap_seconds=settings.backoff_cap_seconds)
        self._budget = AttemptBudget()
        self._on_events = on_events
        self._on_connected = on_connected
        self._log = structlog.get_logger("feed").bind(feed=settings.name)
        self.counts = FeedCounts()

    async def run(self) -> None:
        """Stay connected until cancelled."""
        while True:
            if wait := self._budget.wait_seconds(self._clock.monotonic_ns()):
                self._log.warning("connection attempts are used up for now", wait_seconds=round(wait, 1))
                await self._clock.sleep(wait)
            self._budget.spend(self._clock.monotonic_ns())
            self.counts.attempts += 1
            begun_ns = self._clock.monotonic_ns()
            error = await self._attempt()
            if self.counts.connected and self._clock.monotonic_ns() - begun_ns > HEALTHY_SECONDS * 1e9:
                self._backoff.reset()
            self.counts.connected = False
            self.counts.reconnects[_class_of(error.reason)] += 1
            delay = self._backoff.next_seconds()
            if error.reason in ("http_429", "http_418"):
                delay = max(delay, RATE_LIMIT_SECONDS)
            self._log.warning("feed lost", reason=error.reason, error=str(error), retry_seconds=round(delay, 3))
            await self._clock.sleep(delay)

    async def _attempt(self) -> TransportError:
        settings = self._settings
        parts = urlsplit(settings.url)
        assert parts.hostname is not None  # checked when the URL was built
        port = parts.port or (443 if parts.scheme == "wss" else 80)
        deadline = asyncio.get_running_loop().time() + settings.connect_timeout_seconds
        try:
            dialled = await dial(
                parts.hostname, port, context=settings.context, timeout_seconds=settings.connect_timeout_seconds
            )
        except StreamError as error:
            return error
        return await _Attempt(self, dialled, settings).live(deadline)

    def established(self) -> None:
        """Note a completed handshake."""
        self.counts.connected = True
        self.counts.connections += 1
        self._log.info("feed connected", url=self._settings.url)
        if self._on_connected is not None:
            self._on_connected()

    def deliver(self, events: list[FeedEvent], stamp: Stamp) -> None:
        """Hand events on."""
        self.counts.events += len(events)
        self.counts.last_event_ns = stamp.ns
        self._on_events(events, stamp)

    def refused(self, texts: list[str]) -> None:
        """Log what the exchange answered to a control request."""
        self._log.error("the exchange refused a request", answers=texts)


class _Attempt:
    """One connection, from dialled to ended."""

    def __init__(self, client: FeedClient, dialled: Dialled, settings: FeedSettings) -> None:
        self._client = client
        self._settings = settings
        self._session = FeedSession(settings.url, max_message_bytes=settings.max_message_bytes)
        self._ended: asyncio.Future[TransportError] = asyncio.get_running_loop().create_future()
        self._events_before = client.counts.events
        self._connection = Connection(
            dialled.socket,
            client.stamper,
            on_data=self._on_data,
            on_close=self._on_close,
            tls=dialled.tls,
            peer=dialled.peer,
        )

    async def live(self, deadline: float) -> TransportError:
        """Run the connection to its end; return why it ended."""
        loop = asyncio.get_running_loop()
        born = loop.time()
        seen = self._events_before
        try:
            self._session.start()
            self._flush()
            self._connection.start()
            quiet_since = born
            while True:
                now = loop.time()
                if not self._session.established:
                    limit, reason = deadline, "timeout"
                else:
                    if self._client.counts.events != seen:
                        seen, quiet_since = self._client.counts.events, now
                    limit, reason = min(
                        (quiet_since + self._settings.silence_seconds, "silent"),
                        (born + self._settings.max_age_seconds, "planned"),
                    )
                if now >= limit:
                    return self._gave_up(reason)
                # Looking a few times within each limit keeps the deadline exact to a quarter.
                pause = min(limit - now, max(0.01, self._settings.silence_seconds / 4))
                done, _pending = await asyncio.wait({self._ended}, timeout=pause)
                if done:
                    return self._ended.result()
                # A turn of the loop: after a stall of this process there is something to read before silence is judged.
                await asyncio.sleep(0)
        finally:
            self._connection.close()

    def _gave_up(self, reason: str) -> FeedError:
        silence = self._settings.silence_seconds
        detail = {
            "timeout": "no WebSocket handshake in time; check the URL and the exchange",
            "silent": f"connected, but no event for {silence:g} s; the stream may be quiet: then raise silence_seconds",
            "planned": "replaced before the exchange's 24 h limit",
        }[reason]
        return FeedError(reason, f"{self._settings.url}: {detail}")

    def _on_data(self, data: bytes, stamp: Stamp) -> None:
        session = self._session
        was_established = session.established
        events = session.receive_data(data)
        if not was_established and session.established:
            self._client.established()
        if events:
            self._client.deliver(events, stamp)
        if session.stirred:
            # After the events: a pong can wait for them.
            self._flush()
            self._account()
            try:
                session.check()
            except FeedError as error:
                self._finish(error)

    def _on_close(self, error: StreamError | None) -> None:
        self._finish(error if error is not None else self._session.receive_eof())

    def _finish(self, error: TransportError) -> None:
        self._account()
        if not self._ended.done():
            self._ended.set_result(error)

    def _account(self) -> None:
        invalid = self._session.invalid
        if any(invalid.values()):
            for reason, count in invalid.items():
                self._client.counts.invalid[reason.value] += count
                invalid[reason] = 0
        if self._session.refusals:
            self._client.refused(self._session.refusals)
            self._session.refusals = []

    def _flush(self) -> None:
        for data in self._session.data_to_send():
            self._connection.write(data)


def _class_of(reason: str) -> str:
    if reason.startswith("http_"):
        return {"4": "http_4xx", "5": "http_5xx"}.get(reason[5:6], "http_other")
    return reason
