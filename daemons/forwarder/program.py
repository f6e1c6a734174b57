"""The forwarder: one feed in, links out."""

import asyncio
import random
import secrets
from collections.abc import Callable, Sequence

import structlog

from daemons.configuration.feed import feed_settings
from daemons.configuration.forwarder import ForwarderConfig, links_of
from daemons.errors import ConfigError
from daemons.feed.counts import FeedCounts
from daemons.feed.feed import Feed
from daemons.forwarder.feedway import FeedWay
from daemons.forwarder.intake import Intake
from daemons.forwarder.links import Links
from daemons.forwarder.metrics import ForwarderCollector, feed_delay_family, hold_family, kernel_hold_family
from daemons.hardware_stamps import asked_for
from daemons.link.sending.sender import LinkCounts, LinkSender
from daemons.link.sending.settings import LinkSettings
from daemons.records import FeedEvent, Stamp
from daemons.service.announcing import announce
from daemons.service.clock_log import ClockLog
from daemons.service.exporter import Pages
from daemons.service.lifecycle import Rate, Tasks, end
from daemons.service.log import logs
from daemons.service.settings.config import effective
from daemons.service.settings.reload import Reloader
from daemons.stream.hardware import HardwareStamps
from daemons.stream.stamping import Stamper
from daemons.timing.clock import SystemClock
from daemons.timing.discipline import ClockMonitor

__all__ = ["Forwarder"]

EXPIRE_SECONDS = 0.5


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
        self.monitor = ClockMonitor(clock, ClockLog(self._log, self._on_disruption))
        self._hardware: HardwareStamps | None = None
        delays = feed_delay_family()
        self._holds = hold_family()
        self._kernel_holds = kernel_hold_family()
        self.session = secrets.randbits(64)
        self.sequence = 0
        self._way = FeedWay(self._out_of_order)
        self._intake = Intake(delays)
        self._feed_counts = FeedCounts()
        self._feed = self._make_feed(config)
        self._feeding: asyncio.Task[None] | None = None
        self._running = Tasks()
        self.links = Links(self._make_link, self._running.start)
        self.links.prepare(links_of(config))
        self.collector = ForwarderCollector(
            self._intake,
            self._feed_counts,
            lambda: self.links.senders,
            lambda: self.monitor.report,
            self.reloader,
            lambda: self._hardware,
        )
        self._pages = Pages("forwarder", config.metrics, [self.collector], [delays, self._holds, self._kernel_holds])
        self._rate = Rate()
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        self._log.info("starting", config=effective(self.reloader.config), session=f"{self.session:016x}")
        await self._stamper.warm()
        wanted = self.reloader.config.hardware_stamps
        self._hardware = await asked_for(wanted.use, wanted.interface, self._stamper, self._log)
        await self.monitor.refresh()
        if metrics := await self._pages.start():
            self._log.info("metrics", address=metrics)
        start = self._running.start
        self._tasks = [start(self.monitor.run()), start(self._expire())]
        if self._hardware is not None:
            self._tasks.append(start(self._hardware.run()))
        self._feeding = start(self._feed.run())
        self.links.start()
        self._pages.serving = True
        announce({"ready": True, "metrics": metrics, "links": sorted(self.links.open)})

    async def wait(self) -> None:
        await self._running.failure()

    async def stop(self) -> None:
        self._pages.stopping = True
        # The feed first: what it brought is then a fixed amount, which the links get time to deliver.
        await self._stop_feed()
        await self.links.stop(self.reloader.config.drain_seconds)
        await end(self._tasks)
        await self._pages.stop()
        self._stamper.close()
        totals = self.links.totals()
        self._log.info("totals", received=self.sequence, links=totals)
        if self._pages.serving:
            announce({"ready": False, "received": self.sequence, "links": totals})

    def status(self) -> str:
        rate = self._rate.of(self.sequence, asyncio.get_running_loop().time())
        links = ", ".join(
            f"{sender.settings.label} {'up' if sender.connected else 'DOWN'}"
            + (f" ({sender.buffer.buffered} buffered)" if sender.buffer.buffered else "")
            for sender in self.links.senders
        )
        return f"feed {'up' if self._feed_counts.connected else 'DOWN'}, {rate:.0f} events/s; {links}"

    async def reload(self) -> None:
        old = self.reloader.config
        config = self.reloader.reload(_can_step)
        if config is None:
            return
        logs.configure(config.log.format, config.log.level)
        if config.feed != old.feed:
            await self._change_feed(config)
        # Settings, not sections: the same key file may hold another key.
        await self.links.change(links_of(config), config.drain_seconds)

    async def _change_feed(self, config: ForwarderConfig) -> None:
        if self._feed.adopt(feed_settings("feed", "feed", config.feed), config.feed.connections):
            self._intake.expect(self._feed.streams)
            return
        await self._stop_feed()
        self._feed = self._make_feed(config)
        self._feeding = self._running.start(self._feed.run())

    def _make_feed(self, config: ForwarderConfig) -> Feed:
        feed = Feed(
            feed_settings("feed", "feed", config.feed),
            self._stamper,
            self._rng,
            self.on_events,
            self._on_feed_connected,
            connections=config.feed.connections,
            counts=self._feed_counts,
        )
        self._intake.expect(feed.streams)
        return feed

    def _make_link(self, settings: LinkSettings, counts: LinkCounts | None) -> LinkSender:
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

    def _on_disruption(self, disrupted: bool) -> None:
        self._intake.disrupted = disrupted

    async def _stop_feed(self) -> None:
        if self._feeding is not None:
            await end([self._feeding])

    def _on_feed_connected(self, _streams: Sequence[str]) -> None:
        self._way.renew(self._stamper.clock.monotonic_ns())

    def _out_of_order(self) -> int:
        self._feed_counts.tcp.now()
        return self._feed_counts.tcp.total("out_of_order") or 0

    def on_events(self, events: list[FeedEvent], stamp: Stamp) -> None:
        """Number the events of one read and offer them to every link."""
        first = self.sequence + 1
        self.sequence += len(events)
        held, renewed = self._way.held(events, stamp), self._way.renewed(stamp)
        for sender in self.links.open.values():
            sender.offer(first, events, stamp, held=held, renewed=renewed)
        # Measured after sending: what the forwarder learns for itself must not delay what it forwards.
        self._intake.observe(events, stamp)

    async def _expire(self) -> None:
        while True:
            await asyncio.sleep(EXPIRE_SECONDS)
            for sender in self.links.senders:
                sender.expire()
            self._way.tend()
            self._feed.look(asyncio.get_running_loop().time(), self._intake.received(self._feed.streams))


def _can_step(old: ForwarderConfig, new: ForwarderConfig) -> None:
    if old.metrics != new.metrics:
        raise ConfigError("metrics.listen", "cannot change while running", "restart the daemon")
    if (old.busy_poll, old.hardware_stamps) != (new.busy_poll, new.hardware_stamps):
        raise ConfigError("busy_poll or hardware_stamps", "cannot change while running", "restart the daemon")
