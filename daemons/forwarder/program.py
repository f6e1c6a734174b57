"""The forwarder: one feed in, links out."""

import asyncio
import random
import secrets
from collections.abc import Callable
from dataclasses import dataclass

import structlog

from daemons.errors import ConfigError
from daemons.feed.binance import streams_in
from daemons.feed.client import FeedClient
from daemons.feed_config import feed_settings
from daemons.forwarder.config import ForwarderConfig, link_settings
from daemons.forwarder.metrics import ForwarderCollector, feed_delay_family, hold_family
from daemons.link.sender import LinkSender
from daemons.measurement.histogram import BucketHistogram
from daemons.records import FeedEvent, Stamp, StampKind
from daemons.service.config import address, effective
from daemons.service.http import HttpServer, Route
from daemons.service.lifecycle import supervise
from daemons.service.metrics import MetricsPage, landing, registry
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
        self._config = config
        self._reread = reread
        self._log = structlog.get_logger("forwarder")
        clock = SystemClock()
        rng = random.Random(secrets.randbits(64))
        self._stamper = Stamper(clock)
        self.monitor = ClockMonitor(
            clock, lambda step_ns: self._log.error("the wall clock was stepped", step_seconds=step_ns / 1e9)
        )
        self._delays = feed_delay_family()
        holds = hold_family()
        self.session = secrets.randbits(64)
        self.sequence = 0
        settings = feed_settings("feed", "feed", config.feed)
        self.streams = {name: self._counts(name) for name in (*streams_in(settings.url), OTHER_STREAM)}
        self.invalid_delays = {"negative": 0, "absurd": 0, "clock_step": 0, "warmup": 0}
        self.feed = FeedClient(settings, self._stamper, rng, self._on_events)
        self.senders = [
            LinkSender(
                link_settings(index, section),
                self.session,
                self._stamper,
                rng,
                holds.labels(section.address),
                lambda: self.monitor.state,
            )
            for index, section in enumerate(config.destination)
        ]
        own = registry("forwarder")
        own.register(ForwarderCollector(self))
        self._http: HttpServer | None = None
        if config.metrics.listen:
            routes: dict[str, Route] = {
                "/": landing("latency-forwarder", {"/metrics": "for Prometheus"}),
                "/metrics": MetricsPage(own, [self._delays, holds]),
            }
            self._http = HttpServer(routes, address("metrics.listen", config.metrics.listen))
        self._tasks: list[asyncio.Task[None]] = []
        self._last_status = (0.0, 0)

    async def start(self) -> None:
        self._log.info("starting", config=effective(self._config), session=f"{self.session:016x}")
        await self.monitor.refresh()
        if self._http is not None:
            await self._http.start()
            self._log.info("metrics", address="{}:{}".format(*self._http.address))
        loop = asyncio.get_running_loop()
        for work in (self.feed.run(), self.monitor.run(), self._expire(), *(sender.run() for sender in self.senders)):
            self._tasks.append(loop.create_task(work))

    async def wait(self) -> None:
        await supervise(self._tasks)

    async def stop(self) -> None:
        # The feed first: what it brought is then a fixed amount, which the links get time to deliver.
        await _end(self._tasks[:1])
        await asyncio.gather(*(sender.drain(self._config.drain_seconds) for sender in self.senders))
        await _end(self._tasks[1:])
        if self._http is not None:
            await self._http.stop()
        self._stamper.close()
        self._log.info(
            "totals",
            received=self.sequence,
            links={
                sender.settings.label: {
                    "forwarded": sender.buffer.forwarded,
                    "dropped": {why.name.lower(): n for why, n in sender.buffer.dropped.items() if n},
                }
                for sender in self.senders
            },
        )

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
        try:
            config = self._reread()
        except ConfigError as error:
            self._log.error("reload refused; the old configuration stays", error=str(error))
            return
        if config != self._config:
            self._log.warning("the configuration has changed; restart to apply it")

    def _counts(self, name: str) -> StreamCounts:
        return StreamCounts(0, 0, self._delays.labels(name))

    def _on_events(self, events: list[FeedEvent], stamp: Stamp) -> None:
        first = self.sequence + 1
        self.sequence += len(events)
        for sender in self.senders:
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
            elif stamp.kind is StampKind.WARMUP:
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


async def _end(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
