"""latency-probe as the lifecycle runs it: what is probed, on one timetable, with metrics beside it."""

import asyncio
from collections.abc import Callable

import structlog

from daemons.configuration.probe import ProbeConfig
from daemons.errors import ConfigError
from daemons.probe.collector import Collector
from daemons.probe.debug import DebugPage
from daemons.probe.families import Families
from daemons.probe.http.resolve import Resolver
from daemons.probe.prober import Prober
from daemons.probe.roster import Roster
from daemons.probe.schedule import Timetable
from daemons.probe.target import prepared, secrets_of
from daemons.service.announcing import announce
from daemons.service.exporter import Pages, check_metrics
from daemons.service.log import logs
from daemons.service.settings.config import effective
from daemons.service.settings.reload import Reloader
from daemons.service.web.pages import Page, Request, text
from daemons.stream.stamping import Stamper
from daemons.timing.clock import SystemClock

__all__ = ["ProbeProgram"]


class ProbeProgram:
    """The daemon.

    Args:
        config: checked.
        reread: loads the configuration again, for a reload.
    """

    def __init__(self, config: ProbeConfig, reread: Callable[[], ProbeConfig]) -> None:
        self._reloader = Reloader(config, reread, "latency_probe")
        self._log = structlog.get_logger("probe")
        clock = SystemClock()
        self._stamper = Stamper(clock)
        self._timetable = Timetable(clock, asyncio.get_running_loop())
        self._families = Families()
        prober = Prober(self._stamper, Resolver(clock))
        self._roster = Roster(self._stamper, prober, self._timetable, self._families)
        self._pages = Pages(
            "probe",
            config.metrics,
            [Collector(self._roster, self._reloader)],
            self._families.all,
            {
                "/health": ("whether the daemon runs, and how its targets answer", self._health),
                "/probe": ("one attempt now: ?target=NAME&debug=true", DebugPage(lambda: self._roster.targets, prober)),
            },
            default_host="127.0.0.1",
        )

    async def start(self) -> None:
        """Begin to probe, then serve the metrics.

        Raises:
            ConfigError: a file that the configuration names cannot be used.
            ListenError: the metrics' address cannot be listened on.
        """
        config = self._reloader.config
        self._log.info("starting", config=effective(config))
        await self._roster.apply(config)
        metrics = await self._pages.start()
        self._pages.serving = True
        announce({"ready": True, "metrics": metrics, "targets": sorted(self._roster.targets)})

    async def wait(self) -> None:
        """Probe for ever."""
        await asyncio.Event().wait()

    async def stop(self) -> None:
        """End all attempts and close all connections."""
        self._pages.stopping = True
        await self._roster.close()
        self._timetable.close()
        await self._pages.stop()
        self._stamper.close()

    def status(self) -> str:
        """Say how many targets answer, and whether the schedule is kept."""
        seen = self._roster.observations
        answering = sum(one.successful for one in seen)
        missed = sum(slots.missed for one in seen for slots in one.slots.values())
        return f"{answering} of {len(seen)} targets answer as expected, {missed} slots missed"

    async def reload(self) -> None:
        """Read the file again; a bad one changes nothing, and is shown in a metric."""
        config = self._reloader.reload(_can_step)
        if config is None:
            return
        logs.configure(config.log.format, config.log.level, secrets_of(config))
        await self._roster.apply(config)

    async def _health(self, _request: Request) -> Page:
        return Page(text(self.status() + "\n"))


def _can_step(old: ProbeConfig, new: ProbeConfig) -> None:
    prepared(new)
    check_metrics(new.metrics, None)
    if old.metrics != new.metrics:
        raise ConfigError("metrics.listen", "cannot change while running", "restart the daemon")
