"""The forwarder: one feed in, links out."""

import asyncio
import random
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import structlog

from daemons.configuration.feed import feed_settings
from daemons.configuration.forwarder import ForwarderConfig, links_of
from daemons.errors import ConfigError
from daemons.feed.client import Feed, FeedCounts
from daemons.forwarder.metrics import ForwarderCollector, feed_delay_family, hold_family, kernel_hold_family
from daemons.link.sender import LinkCounts, LinkSender, LinkSettings
from daemons.measurement.histogram import BucketHistogram
from daemons.records import WARMUP, FeedEvent, Stamp
from daemons.service import logs
from daemons.service.announcing import announce
from daemons.service.config import effective
from daemons.service.exporter import exporter
from daemons.service.http import HttpServer, Route, health, unready
from daemons.service.lifecycle import Tasks, end
from daemons.service.metrics import MetricsPage, landing, registry
from daemons.service.reload import Reloader
from daemons.stream.stamping import Stamper
from daemons.timing.clock import SystemClock
from daemons.timing.discipline import ClockMonitor

__all__ = ["Forwarder"]

EXPIRE_SECONDS = 0.5
ABSURD_NS = 3_600_000_000_000
OTHER_STREAM = "other"


@dataclass(slots=True)
class StreamCounts:
    """What came of one stream."""

    received: int
    without_event_time: int
    delay: BucketHistogram


class Forwarder:
    """The program; see :class:`daemons.service.lifecycle.Program`.

    Args:
        config: the configuration.
        reread: loads the configuration again, for a reload.
    """

    def __init__(self, config: ForwarderConfig, reread: Callable[[], ForwarderConfig]) -> None:
        self.reloader = Reloader(config, reread, "latency_forwarder")
        self._log = structlog.get_logger("forwarder")
        clock = SystemClock()
        self._rng = random.Random(secrets.randbits(64))
        self._stamper = Stamper(clock)
        self.monitor = ClockMonitor(
            clock, lambda step_ns: self._log.error("the wall clock was stepped", step_seconds=step_ns / 1e9)
        )
        self._delays = feed_delay_family()
        self._holds = hold_family()
        self._kernel_holds = kernel_hold_family()
        self.session = secrets.randbits(64)
        self.sequence = 0
        self.streams = {OTHER_STREAM: self._counts(OTHER_STREAM)}
        self.invalid_delays = {"negative": 0, "absurd": 0, "clock_step": 0, "warmup": 0}
        self.feed = self._make_feed(config)
        self._feeding: asyncio.Task[None] | None = None
        self._links = {name: self._make_link(settings) for name, settings in links_of(config).items()}
        self._left: dict[str, LinkCounts] = {}
        """Counts of destinations that a reload took away: they go on when one comes back."""
        self._sending: dict[str, asyncio.Task[None]] = {}
        own = registry("forwarder")
        own.register(ForwarderCollector(self))
        self._http: HttpServer | None = None
        if config.metrics.listen:
            routes: dict[str, Route] = {
                "/": landing("latency-forwarder", {}),
                **health(lambda: unready(served=self._serving, stopping=self._stopping)),
                "/metrics": MetricsPage(own, [self._delays, self._holds, self._kernel_holds]),
            }
            self._http = exporter("forwarder", config.metrics, routes, own)
        self._serving = self._stopping = False
        self._running = Tasks()
        self._tasks: list[asyncio.Task[None]] = []
        self._last_status = (0.0, 0)

    async def start(self) -> None:
        self._log.info("starting", config=effective(self.reloader.config), session=f"{self.session:016x}")
        await self._stamper.warm()
        await self.monitor.refresh()
        metrics = ""
        if self._http is not None:
            await self._http.start()
            metrics = "{}:{}".format(*self._http.address)
            self._log.info("metrics", address=metrics)
        start = self._running.start
        self._tasks = [start(self.monitor.run()), start(self._expire())]
        self._feeding = start(self.feed.run())
        self._sending = {name: start(sender.run()) for name, sender in self._links.items()}
        self._serving = True
        announce({"ready": True, "metrics": metrics, "links": sorted(self._links)})

    async def wait(self) -> None:
        await self._running.failure()

    async def stop(self) -> None:
        self._stopping = True
        # The feed first: what it brought is then a fixed amount, which the links get time to deliver.
        await self._stop_feed()
        await asyncio.gather(*(self._part(name, sender) for name, sender in self._links.items()))
        await end(self._tasks)
        if self._http is not None:
            await self._http.stop()
        self._stamper.close()
        counts = self._left | {name: sender.counts for name, sender in self._links.items()}
        totals = {name: _totals(one) for name, one in counts.items()}
        self._log.info("totals", received=self.sequence, links=totals)
        if self._serving:
            announce({"ready": False, "received": self.sequence, "links": totals})

    def status(self) -> str:
        now = asyncio.get_running_loop().time()
        then, before = self._last_status
        rate = (self.sequence - before) / (now - then) if then and now > then else 0.0
        self._last_status = (now, self.sequence)
        links = ", ".join(
            f"{sender.settings.label} {'up' if sender.connected else 'DOWN'}"
            + (f" ({sender.buffer.buffered} buffered)" if sender.buffer.buffered else "")
            for sender in self.senders
        )
        return f"feed {'up' if self.feed.counts.connected else 'DOWN'}, {rate:.0f} events/s; {links}"

    async def reload(self) -> None:
        old = self.reloader.config
        config = self.reloader.reload(_can_step)
        if config is None:
            return
        logs.configure(config.log.format, config.log.level)
        if config.feed != old.feed:
            await self._change_feed(config)
        # Settings, not sections: the same key file may hold another key.
        after = links_of(config)
        await asyncio.gather(
            *(
                self._change_link(name, after[name]) if name in after else self._close_link(name)
                for name in tuple(self._links)
            )
        )
        for name, settings in after.items():
            if name not in self._links:
                self._open_link(name, settings)

    @property
    def senders(self) -> tuple[LinkSender, ...]:
        """The links."""
        return tuple(self._links.values())

    async def _change_feed(self, config: ForwarderConfig) -> None:
        if not self.feed.adopt(feed_settings("feed", "feed", config.feed), config.feed.connections):
            await self._stop_feed()
            self.feed = self._make_feed(config, self.feed.counts)
            self._feeding = self._running.start(self.feed.run())
        for name in self.feed.streams:
            self.streams.setdefault(name, self._counts(name))

    def _make_feed(self, config: ForwarderConfig, counts: FeedCounts | None = None) -> Feed:
        settings = feed_settings("feed", "feed", config.feed)
        connections = config.feed.connections
        feed = Feed(settings, self._stamper, self._rng, self._on_events, connections=connections, counts=counts)
        for name in feed.streams:
            self.streams.setdefault(name, self._counts(name))
        return feed

    def _make_link(self, settings: LinkSettings, counts: LinkCounts | None = None) -> LinkSender:
        return LinkSender(
            settings,
            self.session,
            self._stamper,
            self._rng,
            self._holds.labels(settings.label),
            self._kernel_holds.labels(settings.label),
            lambda: self.monitor.state,
            begin=self.sequence,
            counts=counts,
        )

    async def _stop_feed(self) -> None:
        if self._feeding is not None:
            await end([self._feeding])

    def _open_link(self, name: str, settings: LinkSettings) -> None:
        sender = self._links[name] = self._make_link(settings, self._left.pop(name, None))
        self._sending[name] = self._running.start(sender.run())

    async def _close_link(self, name: str) -> None:
        # First nothing more is offered to it: what it has is then a fixed amount, which it gets time to deliver.
        sender = self._links.pop(name)
        self._left[name] = sender.counts
        await self._part(name, sender)
        self._log.info("destination taken away", link=name, **_totals(sender.counts))

    async def _part(self, name: str, sender: LinkSender) -> None:
        """Let a link that is offered nothing any more deliver what it has, and end it."""
        await sender.drain(self.reloader.config.drain_seconds)
        if (task := self._sending.pop(name, None)) is not None:
            await end([task])

    async def _change_link(self, name: str, settings: LinkSettings) -> None:
        sender = self._links[name]
        old = sender.settings
        if settings == old:
            return
        if (settings.transport, settings.format) == (old.transport, old.format):
            if (settings.key, settings.path) == (old.key, old.path):
                sender.adopt(settings)
                return
            sender.counts.reconnects["reload"] += sender.connected
            await end([self._sending[name]])
            sender.adopt(settings)
            self._sending[name] = self._running.start(sender.run())
            return
        # Events from now on wait for it, until the old one has ended: one session has one link to a receiver at a time.
        self._links[name] = self._make_link(settings, sender.counts)
        await self._part(name, sender)
        self._sending[name] = self._running.start(self._links[name].run())

    def _counts(self, name: str) -> StreamCounts:
        return StreamCounts(0, 0, self._delays.labels(name))

    def _on_events(self, events: list[FeedEvent], stamp: Stamp) -> None:
        first = self.sequence + 1
        self.sequence += len(events)
        for sender in self._links.values():
            sender.offer(first, events, stamp)
        # Measured after sending: what the forwarder learns for itself must not delay what it forwards.
        streams = self.streams
        for event in events:
            counts = streams.get(event.stream) or streams[OTHER_STREAM]
            counts.received += 1
            if event.event_time_ns is None:
                counts.without_event_time += 1
                continue
            delay_ns = stamp.ns - event.event_time_ns
            if stamp.step_ns:
                self.invalid_delays["clock_step"] += 1
            elif stamp.kind is WARMUP:
                self.invalid_delays["warmup"] += 1
            elif 0 <= delay_ns < ABSURD_NS:
                counts.delay.observe(delay_ns)
            else:
                self.invalid_delays["negative" if delay_ns < 0 else "absurd"] += 1

    async def _expire(self) -> None:
        while True:
            await asyncio.sleep(EXPIRE_SECONDS)
            for sender in self.senders:
                sender.expire()
            received = {name: self.streams[name].received for name in self.feed.streams}
            self.feed.look(asyncio.get_running_loop().time(), received)


def _totals(counts: LinkCounts) -> dict[str, Any]:
    dropped = {why.name.lower(): count for why, count in counts.events.dropped.items() if count}
    return {"forwarded": counts.events.forwarded, "dropped": dropped}


def _can_step(old: ForwarderConfig, new: ForwarderConfig) -> None:
    if old.metrics != new.metrics:
        raise ConfigError("metrics.listen", "cannot change while running", "restart the daemon")
    if old.busy_poll != new.busy_poll:
        raise ConfigError("busy_poll", "cannot change while running", "restart the daemon")
