"""The receiver: paths in, measurements out."""

import asyncio
import random
import secrets
from collections.abc import Callable
from functools import partial
from pathlib import Path

import structlog

from daemons.configuration.receiver import FeedPathSection, ReceiverConfig, race_order
from daemons.errors import ClockError, ConfigError, ResultsError
from daemons.feed.binance import Decoder
from daemons.feed.streams import identity_of
from daemons.formats.rows import Row
from daemons.formats.summary import UNFINISHED, RowsSummary
from daemons.hardware_stamps import asked_for
from daemons.link.receiving.settings import LinkPathSection
from daemons.measurement.account import PathAccount
from daemons.measurement.figures import Figures
from daemons.measurement.race import RaceTable
from daemons.receiver.archive import Archive, archive_setup
from daemons.receiver.forwarders import Forwarders
from daemons.receiver.histograms import ReceiverHistograms
from daemons.receiver.metrics import ReceiverCollector
from daemons.receiver.paths import FeedPath, LinkPorts, ReceiverPath
from daemons.receiver.results import RunFacts, clock_summary, summary, write_json
from daemons.receiver.rows import RowWriter, set_aside
from daemons.records import UNKNOWN_CLOCK
from daemons.service.activation import Activation
from daemons.service.announcing import announce
from daemons.service.clock_log import ClockLog
from daemons.service.exporter import Pages
from daemons.service.lifecycle import Rate, Tasks, end
from daemons.service.log import logs
from daemons.service.settings.config import effective
from daemons.service.settings.reload import Reloader
from daemons.stream.hardware import HardwareStamps
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
        self._clock_log = ClockLog(self._log)
        self._clock = SystemClock()
        self._rng = random.Random(secrets.randbits(64))
        self._stamper = Stamper(self._clock)
        self.monitor = ClockMonitor(self._clock, self)
        self._clock_at_start = UNKNOWN_CLOCK
        self._hardware: HardwareStamps | None = None
        self._histograms = ReceiverHistograms()
        self.paths: list[ReceiverPath] = []
        self._ports = LinkPorts(self._stamper)
        # What has an end says at the end what it found, also when no file is written.
        self._keep = config.run.output is not None or config.run.duration_seconds is not None
        self._rows = None if config.run.csv_output is None else RowWriter(Path(config.run.csv_output))
        self._archive = self._made_archive(config)
        self._race = self._made_race(config)
        self._pages = Pages(
            "receiver",
            config.metrics,
            [
                ReceiverCollector(
                    self.paths,
                    self._race,
                    self._rows,
                    self._archive,
                    lambda: self.monitor.report,
                    self.reloader,
                    lambda: self._hardware,
                )
            ],
            self._histograms.families(),
        )
        self._start_ns = 0
        self._complete = config.run.duration_seconds is None
        self._running = Tasks()
        self._tasks: list[asyncio.Task[None]] = []
        self._rate = Rate()

    async def start(self) -> None:
        config = self._config
        self._log.info("starting", config=effective(config), setup_type=config.setup_type)
        await self._stamper.warm()
        wanted = config.hardware_stamps
        self._hardware = await asked_for(wanted.use, wanted.interface, self._stamper, self._log)
        await self.monitor.refresh()
        self._clock_at_start = self.monitor.state
        if config.run.duration_seconds is not None:
            self._demand_clock()
        self._build()
        if metrics := await self._pages.start():
            self._log.info("metrics", address=metrics)
        # Last, so that a start that fails, such as a second one on the same port, touches no earlier results.
        self._open_results()
        if self._archive is not None:
            await self._archive.open()
        start = self._running.start
        self._start_ns = self._clock.wall_ns()
        self._tasks = [start(self.monitor.run()), start(self._tend())]
        if self._hardware is not None:
            self._tasks.append(start(self._hardware.run()))
        if self._rows is not None:
            self._tasks.append(start(self._rows.run()))
        if self._archive is not None:
            self._tasks.append(start(self._archive.run()))
        for path in self.paths:
            path.start(start)
        self._ports.start(start)
        self._pages.serving = True
        listening_at = {path.name: path.address for path in self.paths if path.address}
        announce({"ready": True, "metrics": metrics, "listening": listening_at, "config": effective(config)})

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
        self._pages.stopping = True
        # All at once: what one path still brought while another has ended would be a loss of the other's.
        await asyncio.gather(end(self._tasks), self._ports.close(), *(path.stop() for path in self.paths))
        if self._race is not None:
            self._race.finish()
        await self._pages.stop()
        self._stamper.close()
        if self._pages.serving:
            self._conclude()
            await self._write_results()

    def status(self) -> str:
        events = sum(path.account.events for path in self.paths)
        rate = self._rate.of(events, asyncio.get_running_loop().time())
        return f"{rate:.0f} events/s; {', '.join(path.status() for path in self.paths)}"

    async def reload(self) -> None:
        config = self.reloader.reload(_can_step)
        if config is None:
            return
        logs.configure(config.log.format, config.log.level)
        for path, section in zip(self.paths, config.path, strict=True):
            await path.adopt(section)
        self._tell_streams()

    # ClockWatcher

    def on_step(self, step_ns: int) -> None:
        self._clock_log.on_step(step_ns)
        for path in self.paths:
            path.on_step()

    def on_disruption(self, *, disrupted: bool) -> None:
        self._clock_log.on_disruption(disrupted=disrupted)
        for path in self.paths:
            path.on_disruption(disrupted=disrupted)

    def on_device_trouble(self, trouble: str) -> None:
        self._clock_log.on_device_trouble(trouble)

    @property
    def _config(self) -> ReceiverConfig:
        return self.reloader.config

    def _made_race(self, config: ReceiverConfig) -> RaceTable | None:
        if len(config.path) < 2:
            return None
        race = RaceTable(
            len(config.path),
            order=race_order(config),
            max_entries=config.race.max_entries,
            max_age_ns=int(config.race.max_age_seconds * 1e9),
            keep_quantiles=self._keep,
        )
        names = [section.name for section in config.path]
        for pair in race.pairs:
            pair.lead = self._histograms.lead.labels(names[pair.path], names[pair.reference])
        return race

    def _build(self) -> None:
        activation = Activation.from_environment()
        budget = AttemptBudget()
        for index, section in enumerate(self._config.path):
            account = self._made_account(index, section)
            if isinstance(section, FeedPathSection):
                self.paths.append(FeedPath(section, f"path[{index}]", account, self._stamper, self._rng, budget))
            else:
                rtt = self._histograms.rtt.labels(section.name)
                forwarders = partial(Forwarders, account, rtt=rtt, clock_state=lambda: self.monitor.state)
                self.paths.append(self._ports.path(index, section, account, forwarders, activation))
        activation.close_unused()
        self._tell_streams()

    def _tell_streams(self) -> None:
        """Tell the links what the feeds have subscribed to: the JSON format does not name an event's stream."""
        streams = [name for path in self.paths for name in path.json_streams]
        for path in self.paths:
            path.know(streams)

    def _made_account(self, index: int, section: FeedPathSection | LinkPathSection) -> PathAccount:
        return PathAccount(
            section.name,
            index,
            link=isinstance(section, LinkPathSection),
            instruments=self._histograms.instruments(section.name),
            race=self._race,
            figures=Figures() if self._keep else None,
            row=self._row_of(index),
            identify=identity_of,
            symbol_of=Decoder().symbol_of,
            wall_ns=self._clock.wall_ns,
        )

    def _made_archive(self, config: ReceiverConfig) -> Archive | None:
        names = tuple(section.name for section in config.path)
        setup = archive_setup(config.archive, names, config.log)
        return None if setup is None else Archive(setup, lambda: clock_summary(self.monitor.state))

    def _row_of(self, index: int) -> Callable[[Row], None] | None:
        """Return what a path's rows are given to."""
        takers = [] if self._rows is None else [self._rows.add]
        if self._archive is not None:
            takers.append(self._archive.paths[index].add)
        if len(takers) < 2:
            return takers[0] if takers else None
        first, second = takers

        def both(row: Row) -> None:
            first(row)
            second(row)

        return both

    async def _tend(self) -> None:
        while True:
            await asyncio.sleep(EXPIRE_SECONDS)
            now_ns = self._clock.monotonic_ns()
            for path in self.paths:
                path.expire(now_ns)
            if self._race is not None:
                self._race.expire(now_ns)

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
        if self._rows is not None:
            self._rows.open()

    def _conclude(self) -> None:
        """Say who won, where there is an end at which somebody looks."""
        if (asked := self._config.run.duration_seconds) is None:
            return
        from daemons.receiver.conclusion import print_conclusion  # noqa: PLC0415 - a daemon without an end needs no rich
        from daemons.service.console.screen import screen  # noqa: PLC0415

        seconds = asked if self._complete else (self._clock.wall_ns() - self._start_ns) / 1e9
        accounts = [path.account for path in self.paths]
        print_conclusion(screen(), accounts, () if self._race is None else self._race.pairs, seconds, asked)

    async def _write_results(self) -> None:
        run = self._config.run
        if self._rows is not None:
            await self._rows.close()
        if self._archive is not None:
            await self._archive.close()
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
            rows=None if self._rows is None else RowsSummary(self._rows.written, self._rows.lost),
        )
        arrivals = {path.name: path.facts() for path in self.paths}
        write_json(Path(run.output), summary(facts, [path.account for path in self.paths], self._race, arrivals))
        self._log.info("results written", file=run.output)


def _can_step(old: ReceiverConfig, new: ReceiverConfig) -> None:
    """Refuse what needs a restart: sockets, run files, and which paths race."""
    if (old.metrics, old.run, old.archive, old.race) != (new.metrics, new.run, new.archive, new.race):
        raise ConfigError("metrics, run, archive or race", "cannot change while running", "restart the daemon")
    if (old.busy_poll, old.hardware_stamps) != (new.busy_poll, new.hardware_stamps):
        raise ConfigError("busy_poll or hardware_stamps", "cannot change while running", "restart the daemon")
    if [_fixed(path) for path in old.path] != [_fixed(path) for path in new.path]:
        raise ConfigError("path", "names, kinds and addresses cannot change while running", "restart the daemon")


def _fixed(path: FeedPathSection | LinkPathSection) -> tuple[str, ...]:
    return (path.name, path.listen, path.transport) if isinstance(path, LinkPathSection) else (path.name,)
