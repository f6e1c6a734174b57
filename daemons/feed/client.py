"""One connection of a feed that stays: dial, read, notice silence, back off, again; and replace it before it ends.

Exchanges cut connections at 24 h, and some give notice of a restart. The connection that takes over stands, and has
proven to continue where the old one is, before the old one is closed: see :mod:`daemons.feed.overlap`.
"""

import asyncio
import random
from collections.abc import Callable, Mapping, Sequence
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

import structlog

from daemons.errors import FeedError, StreamError
from daemons.feed.binance import Invalid
from daemons.feed.connection import FeedConnection
from daemons.feed.counts import Door, FeedCounts, Pings, ReplacementReason
from daemons.feed.endpoints import shown
from daemons.feed.overlap import Overlap
from daemons.feed.settings import FeedSettings
from daemons.feed.silence import StreamWatch
from daemons.records import FeedEvent, Stamp
from daemons.stream.dial import dial
from daemons.stream.stamping import Stamper
from daemons.stream.tcp_info import TcpAccount
from daemons.timing.backoff import AttemptBudget, Backoff

__all__ = ["FeedClient"]

HEALTHY_SECONDS = 10.0
"""How long events must have flowed before the back-off starts over."""

RATE_LIMIT_SECONDS = 30.0
"""Least wait after an exchange said that we come too often, and did not say for how long to stay away."""
LONGEST_WAIT_SECONDS = 3 * 86_400.0
"""Binance's bans last from two minutes to three days; nothing longer is believed."""
OVERLAP_SECONDS = 1.0
"""How long both connections are read at least: what the old one still has on the way comes within that."""
PATIENCE_SECONDS = 30.0
"""How long a new connection may bring nothing of a quiet feed before the old one is closed all the same."""
LOOK_SECONDS = 0.05
MAX_ANSWERS = 5
MAX_ANSWER = 200
"""How much of what an exchange answers is told."""


class FeedClient:
    """Runs one connection of a feed, and those that replace it; a :class:`~daemons.feed.connection.FeedSink`.

    Args:
        number: the connection's among those of the feed.
        settings: where and how.
        stamper: makes the arrival stamps, and holds the clock.
        rng, on_events, on_connected, budget, counts: the feed's.
    """

    def __init__(
        self,
        number: int,
        settings: FeedSettings,
        stamper: Stamper,
        rng: random.Random,
        on_events: Callable[[list[FeedEvent], Stamp], None],
        on_connected: Callable[[Sequence[str]], None] | None,
        budget: AttemptBudget,
        counts: FeedCounts,
    ) -> None:
        self._number = number
        self.settings = settings
        self._changed = asyncio.Event()
        self._connection: FeedConnection | None = None
        self._streams = settings.streams
        self.stamper = stamper
        self._clock = stamper.clock
        self._backoff = Backoff(rng, cap_seconds=settings.fields.reconnect_max_seconds)
        self._budget = budget
        self._on_events = on_events
        self._on_connected = on_connected
        self._log = structlog.get_logger("feed").bind(feed=settings.name)
        if counts.each > 1:
            self._log = self._log.bind(connection=number)
        self._watch = StreamWatch(self._streams)
        self._overlap: Overlap | None = None
        self._old: FeedConnection | None = None
        self.counts = counts
        self._pings = counts.pings.setdefault(number, Pings())

    def adopt(self, settings: FeedSettings) -> None:
        """Go on with other settings; where they need another connection, that replaces the one that stands."""
        self.settings = settings
        self._backoff.cap_seconds = settings.fields.reconnect_max_seconds
        if settings.streams != self._streams:
            self._streams = settings.streams
            self._watch = StreamWatch(self._streams)
        self._changed.set()
        if self._connection is not None:
            self._connection.adopt(settings)

    @property
    def _host(self) -> str:
        return urlsplit(self.settings.url).hostname or ""

    async def run(self) -> None:
        """Stay connected until cancelled."""
        connection: FeedConnection | None = None
        try:
            while True:
                self._connection = connection
                if connection is None:
                    connection = await self._connected(None)
                    continue
                # Also one that was being made while the settings changed.
                stale = connection.origin != self.settings.origin
                why = ReplacementReason.RELOAD if stale else await connection.watch()
                if isinstance(why, ReplacementReason):
                    connection = await self._replaced(connection, why)
                else:
                    connection.close()
                    # Of an overlap that has not settled nothing holds for a connection made anew.
                    self._overlap = None
                    await self._lost(why, self._is_proven(connection))
                    connection = None
        finally:
            self.counts.doors.pop(self._number, None)
            if connection is not None:
                connection.close()

    def look(self, now: float, events: Mapping[str, int]) -> int:
        """Watch the connection's streams; return how many of them are silent."""
        fallen, heard = self._watch.look(now, events)
        for stream in fallen:
            self._log.warning("a stream has fallen silent while others go on", stream=stream)
        for stream in self._watch.unheard():
            why = "others come; an exchange accepts any name: check its spelling, and whether the symbol is traded"
            self._log.warning("a subscribed stream has brought nothing yet", stream=stream, why=why)
        for stream in heard:
            self._log.info("a silent stream is heard again", stream=stream)
        return len(self._watch.silent)

    # FeedSink

    def stood(self, connection: FeedConnection) -> None:
        if self._old is None:
            self._established(connection)

    @property
    def tcp(self) -> TcpAccount:
        return self.counts.tcp_of.setdefault(self._number, TcpAccount(self.counts.tcp))

    def deliver(self, connection: FeedConnection, events: list[FeedEvent], stamp: Stamp) -> None:
        self.counts.last_event_ns = stamp.ns
        overlap = self._overlap
        if overlap is None:
            self._hand_on(events, stamp)
            return
        copies = overlap.copies
        take = overlap.from_old if connection is self._old else overlap.from_new
        for batch, its_stamp in take(events, stamp):
            self._hand_on(batch, its_stamp)
        self.counts.overlap_events += overlap.copies - copies
        if overlap.settled:
            self._overlap = None

    def invalid(self, reason: Invalid, count: int) -> None:
        self.counts.invalid[reason.value] += count

    def pinged(self) -> None:
        self._pings.sent += 1

    def answered(self, round_trip_ns: int) -> None:
        self._pings.answered += 1
        self._pings.round_trip_ns = round_trip_ns

    def refused(self, texts: list[str]) -> None:
        few = [text[:MAX_ANSWER] for text in texts[:MAX_ANSWERS]]
        self._log.error("the exchange refused a request", answers=few, times=len(texts))

    def _hand_on(self, events: list[FeedEvent], stamp: Stamp) -> None:
        self._on_events(events, stamp)

    # Connecting

    async def _connected(self, beside: FeedConnection | None) -> FeedConnection | None:
        """Try until a connection stands; with one beside it that still works, None when that one ends before."""
        while True:
            # An attempt under way is the quickest way back also when the other ends meanwhile.
            made = await self._attempt()
            if isinstance(made, FeedConnection):
                return made
            if beside is not None and beside.ended.done():
                return None
            await self._lost(made, proven=False, beside=beside)

    async def _attempt(self) -> FeedConnection | StreamError | FeedError:
        """Dial and shake hands once, as soon as the budget allows it."""
        while wait := self._budget.wait_seconds(self._clock.monotonic_ns(), self._host):
            why = "no attempt to connect for now: they are used up, or the exchange has asked to stay away"
            self._log.warning(why, wait_seconds=round(wait, 1))
            # Not longer than the settings hold: they may name another host.
            await self._pause(wait, None)
        self._budget.spend(self._clock.monotonic_ns())
        self.counts.attempts += 1
        settings = self.settings
        parts = urlsplit(settings.url)
        assert parts.hostname is not None  # checked when the URL was built
        port = parts.port or (443 if parts.scheme == "wss" else 80)
        deadline = asyncio.get_running_loop().time() + settings.fields.connect_timeout_seconds
        try:
            dialled = await dial(
                parts.hostname,
                port,
                context=settings.context,
                addresses=settings.addresses,
                local=settings.local,
                turn=self._number % self.counts.each if self.counts.each > 1 else None,
                timeout_seconds=settings.fields.connect_timeout_seconds,
            )
        except StreamError as error:
            return error
        connection = FeedConnection(dialled, self.stamper, settings, self)
        if self._overlap is not None and self._old is not None:
            self._overlap.begin(set(connection.streams).difference(self._old.streams))
        try:
            failed = await connection.stand(deadline)
        except BaseException:
            connection.close()
            raise
        if failed is not None:
            connection.close()
            return failed
        self.counts.connections += 1
        return connection

    def _established(self, connection: FeedConnection) -> None:
        """Note that a connection stands where none stood: its first event is still to be delivered."""
        self._stands(connection)
        self._log.info(
            "feed connected", url=shown(self.settings.url), streams=self._streams, address=connection.address
        )
        if self._on_connected is not None:
            self._on_connected(self._streams)

    def _stands(self, connection: FeedConnection) -> None:
        tls, encoding = self.settings.context is not None, "sbe" if self.settings.sbe else "json"
        self.counts.doors[self._number] = Door(connection.address, tls, encoding, self._clock.wall_ns())

    def _is_proven(self, connection: FeedConnection) -> bool:
        """Say whether a connection has lived long enough for the back-off to start over."""
        return connection.events > 0 and connection.age_seconds > HEALTHY_SECONDS

    async def _lost(self, error: StreamError | FeedError, proven: bool, beside: FeedConnection | None = None) -> None:
        """Count a connection lost or not made, and wait before the next attempt."""
        if beside is None:
            self.counts.doors.pop(self._number, None)
            self._watch.interrupt()
        self.counts.reconnects[error.reason] += 1
        # What has worked for long and broke is tried again at once: a feed that is down loses data by the second.
        delay = 0.0
        if proven:
            self._backoff.reset()
        else:
            delay = self._backoff.next_seconds()
        reason: str = error.reason
        if isinstance(error, FeedError) and error.status is not None:
            reason = f"http_{error.status}"
            delay = self._asked_to_wait(error, error.status, delay)
        self._log.warning("feed lost", reason=reason, error=str(error), retry_seconds=round(delay, 3))
        await self._pause(delay, beside)

    def _asked_to_wait(self, error: FeedError, status: int, delay: float) -> float:
        """Return how long to wait after an answer of HTTP; of a host that wants no attempts no other feed makes any."""
        if limited := status in (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.IM_A_TEAPOT):
            delay = max(delay, RATE_LIMIT_SECONDS)
        if error.retry_after_seconds is not None:
            delay = max(delay, min(error.retry_after_seconds, LONGEST_WAIT_SECONDS))
        if limited:
            self._budget.stay_away(self._host, delay, self._clock.monotonic_ns())
        return delay

    async def _pause(self, delay: float, beside: FeedConnection | None) -> None:
        """Wait; not longer than the connection beside stands, nor than the settings hold."""
        self._changed.clear()
        loop = asyncio.get_running_loop()
        waiting, changed = loop.create_task(self._clock.sleep(delay)), loop.create_task(self._changed.wait())
        try:
            ends: set[asyncio.Future[Any]] = {waiting, changed}
            if beside is not None:
                ends.add(beside.ended)
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        finally:
            waiting.cancel()
            changed.cancel()

    # Replacing

    async def _replaced(self, old: FeedConnection, why: ReplacementReason) -> FeedConnection | None:
        """Put a new connection in the place of one that still works; None when both are lost."""
        if why is ReplacementReason.NOTICE:
            self.counts.notices += 1
        self._log.info("feed connection is being replaced", why=why)
        self._old = old
        try:
            while True:
                self._overlap = Overlap() if self._overlap is None else self._overlap.successor()
                new = await self._connected(old)
                if new is None:
                    self._overlap = None
                    error = old.ended.result()
                    await self._lost(error, self._is_proven(old))
                    return None
                try:
                    handed_over = await self._handed_over(old, new)
                except BaseException:
                    new.close()
                    raise
                if handed_over:
                    self.counts.replacements[why] += 1
                    self._stands(new)
                    self._log.info("feed connection was replaced", why=why, address=new.address)
                    return new
                new.close()
                await self._lost(new.ended.result(), proven=False, beside=old)
        finally:
            old.close()
            self._old = None

    async def _handed_over(self, old: FeedConnection, new: FeedConnection) -> bool:
        """Read both until the new one can go on alone; False when it ended before."""
        overlap = self._overlap
        assert overlap is not None
        loop = asyncio.get_running_loop()
        begun = loop.time()
        while not old.ended.done():
            if new.ended.done():
                return False
            lasted = loop.time() - begun
            if lasted >= PATIENCE_SECONDS or (lasted >= OVERLAP_SECONDS and overlap.ready):
                break
            await asyncio.wait({old.ended, new.ended}, timeout=LOOK_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        old.close()
        self._watch.interrupt()
        if self._on_connected is not None:
            # Another connection may be another way: its delays do not succeed the old one's.
            self._on_connected(self._streams)
        for batch, stamp in overlap.finish():
            self._hand_on(batch, stamp)
        return True
