"""The receiver: paths in, measurements out."""

import asyncio
import random
import secrets
import socket
from collections.abc import Callable, Mapping
from pathlib import Path

import structlog

from daemons.configuration.feed import feed_settings
from daemons.configuration.receiver import FeedPath, LinkPath, ReceiverConfig, listener_of, race_order
from daemons.errors import ClockError, ConfigError, ResultsError
from daemons.feed.binance import Decoder
from daemons.feed.client import Feed, FeedCounts
from daemons.feed.streams import identity_of
from daemons.formats.summary import UNFINISHED, RowsSummary
from daemons.link.listener import LinkListener, ListenerSettings
from daemons.link.wire import Transport
from daemons.measurement.account import PathAccount
from daemons.measurement.figures import Figures
from daemons.measurement.race import RaceTable
from daemons.receiver.link_path import LinkPathState
from daemons.receiver.metrics import ReceiverCollector, ReceiverHistograms
from daemons.receiver.results import ArrivalFacts, RunFacts, distribution, summary, write_json
from daemons.receiver.rows import RowWriter, set_aside
from daemons.records import UNKNOWN_CLOCK
from daemons.service import logs
from daemons.service.activation import Activation
from daemons.service.announcing import announce
from daemons.service.config import Address, effective, is_loopback
from daemons.service.exporter import exporter
from daemons.service.http import HttpServer, Route, health, unready
from daemons.service.lifecycle import Tasks, end
from daemons.service.metrics import MetricsPage, landing, registry
from daemons.service.reload import Reloader
from daemons.stream.datagram import listening_socket, prepare_listening
from daemons.stream.stamping import Stamper
from daemons.timing.backoff import AttemptBudget
from daemons.timing.clock import SystemClock
from daemons.timing.discipline import ClockMonitor

__all__ = ["Receiver"]

EXPIRE_SECONDS = 0.5


class Receiver:
    """The program; see :class:`daemons.service.lifecycle.Program`.

    Args:
        config: the configuration.
        reread: loads the configuration again, for a reload.
    """

    def __init__(self, config: ReceiverConfig, reread: Callable[[], ReceiverConfig]) -> None:
        self.reloader = Reloader(config, reread, "latency_receiver")
        self._log = structlog.get_logger("receiver")
        self._clock = SystemClock()
        self._rng = random.Random(secrets.randbits(64))
        self._stamper = Stamper(self._clock)
        self.monitor = ClockMonitor(self._clock, self._on_step)
        self._clock_at_start = UNKNOWN_CLOCK
        self._histograms = ReceiverHistograms()
        self.rows: RowWriter | None = None
        self.race: RaceTable | None = None
        self._budget = AttemptBudget()
        self._told_resets: dict[tuple[str, str], int] = {}
        self.accounts: list[PathAccount] = []
        self.feeds: dict[str, Feed] = {}
        self.links: dict[str, LinkPathState] = {}
        self._listening: dict[str, str] = {}
        self._start_ns = 0
        self._complete = config.run.duration_seconds is None
        self._running = Tasks()
        self._tasks: list[asyncio.Task[None]] = []
        self._feeding: dict[str, asyncio.Task[None]] = {}
        self._served = False
        self._stopping = False
        self._last_status = (0.0, 0)
        own = registry("receiver")
        own.register(ReceiverCollector(self))
        self._http: HttpServer | None = None
        if config.metrics.listen:
            routes: dict[str, Route] = {
                "/": landing("latency-receiver", {}),
                **health(lambda: unready(served=self._served, stopping=self._stopping)),
                "/metrics": MetricsPage(own, self._histograms.families()),
            }
            self._http = exporter("receiver", config.metrics, routes, own)

    async def start(self) -> None:
        config = self._config
        self._log.info("starting", config=effective(config), setup_type=config.setup_type)
        await self._stamper.warm()
        await self.monitor.refresh()
        self._clock_at_start = self.monitor.state
        if config.run.duration_seconds is not None:
            self._demand_clock()
        self._build()
        metrics = ""
        if self._http is not None:
            await self._http.start()
            metrics = "{}:{}".format(*self._http.address)
            self._log.info("metrics", address=metrics)
        # Last, so that a start that fails, such as a second one on the same port, touches no earlier results.
        self._open_results()
        start = self._running.start
        self._start_ns = self._clock.wall_ns()
        works = [self.monitor.run(), self._tend()]
        if self.rows is not None:
            works.append(self.rows.run())
        for state in self.links.values():
            assert state.listener is not None
            state.listener.start()
            works.append(state.listener.tend())
        self._tasks = [start(work) for work in works]
        self._feeding = {name: start(feed.run()) for name, feed in self.feeds.items()}
        self._served = True
        announce({"ready": True, "metrics": metrics, "listening": self._listening, "config": effective(config)})

    async def wait(self) -> None:
        duration = self._config.run.duration_seconds
        if duration is None:
            await self._running.failure()
            return
        try:
            async with asyncio.timeout(duration):
                await self._running.failure()
        except TimeoutError:
            self._complete = True

    async def stop(self) -> None:
        self._stopping = True
        await end([*self._tasks, *self._feeding.values()])
        for state in self.links.values():
            if state.listener is not None:
                state.listener.close()
        for state in self.links.values():
            state.finish()
        for account in self.accounts:
            account.finish()
        if self.race is not None:
            self.race.finish()
        if self._http is not None:
            await self._http.stop()
        self._stamper.close()
        if self._served:
            self._conclude()
            await self._write_results()

    def status(self) -> str:
        now = asyncio.get_running_loop().time()
        events = sum(account.events for account in self.accounts)
        then, before = self._last_status
        rate = (events - before) / (now - then) if then and now > then else 0.0
        self._last_status = (now, events)
        paths = []
        for account in self.accounts:
            feed = self.feeds.get(account.name)
            up = feed.counts.connected if feed is not None else self._peers(account.name) > 0
            lost = account.total("gap_events") - account.total("late")
            paths.append(f"{account.name} {'up' if up else 'DOWN'} ({account.events} events, {lost} lost)")
        return f"{rate:.0f} events/s; {', '.join(paths)}"

    async def reload(self) -> None:
        old = self._config
        config = self.reloader.reload(_can_step)
        if config is None:
            return
        logs.configure(config.log.format, config.log.level)
        for index, (before, path) in enumerate(zip(old.path, config.path, strict=True)):
            if isinstance(path, FeedPath):
                if before == path:
                    continue
                feed = self.feeds[path.name]
                if feed.adopt(feed_settings(path.name, f"path[{index}]", path), path.connections):
                    self.accounts[index].expect(feed.streams)
                    continue
                await end([self._feeding[path.name]])
                self._make_feed(index, path, self.feeds[path.name].counts)
                self._feeding[path.name] = self._running.start(self.feeds[path.name].run())
            else:
                listener = self.links[path.name].listener
                assert listener is not None
                # Also where the section is the same: its key file may hold another key.
                where, settings = listener_of(index, path)
                listener.adopt(settings)
                self._tell_open(path.name, where[0], settings)

    def _on_step(self, step_ns: int) -> None:
        self._log.error("the wall clock was stepped", step_seconds=step_ns / 1e9)
        for state in self.links.values():
            state.on_step()

    @property
    def _config(self) -> ReceiverConfig:
        return self.reloader.config

    def invalid_of(self, account: PathAccount) -> dict[str, int]:
        """Return what the path's feed or listener refused, by reason."""
        feed = self.feeds.get(account.name)
        if feed is not None:
            return feed.counts.invalid
        listener = self.links[account.name].listener
        return {"malformed": 0 if listener is None else listener.counts.malformed}

    def _peers(self, name: str) -> int:
        listener = self.links[name].listener
        return 0 if listener is None else listener.counts.peers

    def _build(self) -> None:
        config = self._config
        # What has an end says at the end what it found, also when no file is written.
        keep = config.run.output is not None or config.run.duration_seconds is not None
        if config.run.csv_output is not None:
            self.rows = RowWriter(Path(config.run.csv_output))
        if len(config.path) > 1:
            self.race = RaceTable(
                len(config.path),
                order=race_order(config),
                max_entries=config.race.max_entries,
                max_age_ns=int(config.race.max_age_seconds * 1e9),
                keep_quantiles=keep,
            )
            for pair in self.race.pairs:
                names = [path.name for path in config.path]
                pair.lead = self._histograms.lead.labels(names[pair.path], names[pair.reference])
        activation = Activation.from_environment()
        for index, path in enumerate(config.path):
            account = PathAccount(
                path.name,
                index,
                link=isinstance(path, LinkPath),
                instruments=self._histograms.instruments(path.name),
                race=self.race,
                figures=Figures() if keep else None,
                row=None if self.rows is None else self.rows.add,
                identify=identity_of,
                symbol_of=Decoder().symbol_of,
            )
            self.accounts.append(account)
            if isinstance(path, FeedPath):
                self._make_feed(index, path)
            else:
                self._listen(index, path, account, activation)
        activation.close_unused()

    def _make_feed(self, index: int, path: FeedPath, counts: FeedCounts | None = None) -> None:
        settings = feed_settings(path.name, f"path[{index}]", path)
        account = self.accounts[index]
        feed = self.feeds[path.name] = Feed(
            settings,
            self._stamper,
            self._rng,
            account.observe_feed,
            account.interrupt,
            connections=path.connections,
            budget=self._budget,
            counts=counts,
        )
        account.expect(feed.streams)

    def _listen(self, index: int, path: LinkPath, account: PathAccount, activation: Activation) -> None:
        where, settings = listener_of(index, path)
        state = LinkPathState(account, settings, self._histograms.rtt.labels(path.name), lambda: self.monitor.state)
        self.links[path.name] = state
        datagrams = Transport.UDP in settings.transports
        stream = datagram = None
        if not (datagrams and path.format == "json"):
            stream = self._bound(where, socket.SOCK_STREAM, activation)
            # Both halves of a link share a port, also when the kernel chose it.
            where = (where[0], stream.getsockname()[1])
        if datagrams:
            datagram = self._bound(where, socket.SOCK_DGRAM, activation)
            where = (where[0], datagram.getsockname()[1])
        state.listener = LinkListener(settings, stream, datagram, self._stamper, state)
        self._listening[path.name] = "{}:{}".format(*where)
        self._log.info("listening", path=path.name, address=self._listening[path.name], transport=path.transport)
        self._tell_open(path.name, where[0], settings)

    def _tell_open(self, path: str, host: str, settings: ListenerSettings) -> None:
        """Say it out loud where whoever reaches the port may add samples: it was asked for, perhaps unawares."""
        if settings.keys or is_loopback(host) or all(network.prefixlen for network in settings.allowed):
            return
        self._log.warning(
            "this path takes events from anybody",
            path=path,
            allowed_sources=[str(network) for network in settings.allowed],
            remedy="give both ends a key, or name narrower networks",
        )

    @staticmethod
    def _bound(where: Address, kind: socket.SocketKind, activation: Activation) -> socket.socket:
        inherited = activation.take(where, kind)
        if inherited is None:
            return listening_socket(*where, kind)
        prepare_listening(inherited)
        return inherited

    async def _tend(self) -> None:
        while True:
            await asyncio.sleep(EXPIRE_SECONDS)
            now_ns = self._clock.monotonic_ns()
            for state in self.links.values():
                state.expire(now_ns)
            for account in self.accounts:
                account.expire(now_ns)
                self._tell_resets(account)
                if (feed := self.feeds.get(account.name)) is not None:
                    streams = account.streams
                    feed.look(now_ns / 1e9, {name: streams[name].events for name in feed.streams if name in streams})
            if self.race is not None:
                self.race.expire(now_ns)

    def _tell_resets(self, account: PathAccount) -> None:
        """Say once of each stream that its ids began anew: what follows is measured on, so nothing else shows it."""
        for stream, count in account.id_resets.items():
            if count != self._told_resets.get((account.name, stream)):
                self._told_resets[account.name, stream] = count
                self._log.warning(
                    "the exchange began the stream's ids anew", path=account.name, stream=stream, resets=count
                )

    def _demand_clock(self) -> None:
        state, limits = self._clock_at_start, self._config.clock
        if limits.allow_unsynchronized:
            return
        remedy = "start chrony, or allow it with --allow-unsynchronized-clock; race results do not need it"
        if not state.synchronized or state.error_bound_ns is None:
            raise ClockError(f"this host's clock is not synchronised (source: {state.source}); {remedy}")
        bound_ms = state.error_bound_ns / 1e6
        if bound_ms > limits.max_error_ms:
            raise ClockError(
                f"this host's clock may be off by {bound_ms:.3f} ms, more than {limits.max_error_ms:g} ms; {remedy}"
            )

    def _open_results(self) -> None:
        run = self._config.run
        if run.output is not None:
            output = Path(run.output)
            # Before measuring for an hour, see that the result can be written at all.
            if not output.parent.is_dir():
                raise ResultsError(f"{output}: its folder does not exist; create it")
            try:
                if (kept := set_aside(output)) is not None:
                    self._log.info("earlier results kept", kept=str(kept))
            except OSError as error:
                raise ResultsError(f"{output}: {error.strerror}; choose a folder that is writable") from error
            write_json(output, UNFINISHED)
        if self.rows is not None:
            self.rows.open()

    def _conclude(self) -> None:
        """Say who won, where there is an end at which somebody looks."""
        if (asked := self._config.run.duration_seconds) is None:
            return
        from daemons.receiver.conclusion import print_conclusion  # noqa: PLC0415 - a daemon without an end needs no rich
        from daemons.service.screen import screen  # noqa: PLC0415

        seconds = asked if self._complete else (self._clock.wall_ns() - self._start_ns) / 1e9
        print_conclusion(screen(), self.accounts, () if self.race is None else self.race.pairs, seconds, asked)

    async def _write_results(self) -> None:
        run = self._config.run
        if self.rows is not None:
            await self.rows.close()
        if run.output is None:
            return
        facts = RunFacts(
            setup_type=self._config.setup_type,
            start_ns=self._start_ns,
            end_ns=self._clock.wall_ns(),
            complete=self._complete,
            clock=self.monitor.state,
            clock_at_start=self._clock_at_start,
            allowed_unsynchronized=self._config.clock.allow_unsynchronized,
            rows=None if self.rows is None else RowsSummary(self.rows.written, self.rows.lost),
        )
        write_json(Path(run.output), summary(facts, self.accounts, self.race, self._arrivals()))
        self._log.info("results written", file=run.output)

    def _arrivals(self) -> dict[str, ArrivalFacts]:
        arrivals: dict[str, ArrivalFacts] = {}
        for account in self.accounts:
            invalid = self.invalid_of(account)
            if (feed := self.feeds.get(account.name)) is not None:
                reconnects = _nonzero(feed.counts.reconnects)
                arrivals[account.name] = ArrivalFacts(invalid, feed.counts.connections, reconnects)
                continue
            state = self.links[account.name]
            listener = state.listener
            assert listener is not None
            assert account.figures is not None
            arrivals[account.name] = ArrivalFacts(
                invalid,
                listener.counts.connections,
                dropped_datagrams=listener.dropped_datagrams,
                refusals=_nonzero(listener.counts.refusals),
                link=state.summary(distribution(account.figures.rtt)),
            )
        return arrivals


def _nonzero(counts: Mapping[str, int]) -> dict[str, int]:
    return {reason: count for reason, count in counts.items() if count}


def _can_step(old: ReceiverConfig, new: ReceiverConfig) -> None:
    """Refuse what needs a restart: sockets, run files, and which paths race."""
    if (old.metrics, old.run, old.race) != (new.metrics, new.run, new.race):
        raise ConfigError("metrics, run or race", "cannot change while running", "restart the daemon")
    if old.busy_poll != new.busy_poll:
        raise ConfigError("busy_poll", "cannot change while running", "restart the daemon")
    if [_fixed(path) for path in old.path] != [_fixed(path) for path in new.path]:
        raise ConfigError("path", "names, kinds and addresses cannot change while running", "restart the daemon")


def _fixed(path: FeedPath | LinkPath) -> tuple[str, ...]:
    return (path.name, path.listen, path.transport) if isinstance(path, LinkPath) else (path.name,)
