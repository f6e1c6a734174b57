"""latency-probe as the lifecycle runs it: what is probed, on one timetable, with metrics beside it."""

import asyncio
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import structlog

from daemons.errors import ConfigError
from daemons.probe.collector import Collector
from daemons.probe.config import ProbeConfig, load_config
from daemons.probe.debug import DebugPage
from daemons.probe.families import Families
from daemons.probe.prober import Prober
from daemons.probe.resolve import Resolver
from daemons.probe.roster import Roster
from daemons.probe.schedule import Timetable
from daemons.service.config import address, effective
from daemons.service.http import HttpServer, Page, Route, text
from daemons.service.metrics import MetricsPage, landing, registry
from daemons.stream.stamping import Stamper
from daemons.timing.clock import SystemClock

__all__ = ["ProbeProgram"]


class ProbeProgram:
    """The daemon.

    Args:
        config: checked.
        file: where it was read from, to read it again on SIGHUP; None when there is no file.
        overrides: the flags that lie over the file.
    """

    def __init__(self, config: ProbeConfig, file: Path | None, overrides: Mapping[str, Any]) -> None:
        self._config = config
        self._file = file
        self._overrides = overrides
        self._log = structlog.get_logger("probe")
        clock = SystemClock()
        self._stamper = Stamper(clock)
        self._timetable = Timetable(clock, asyncio.get_running_loop())
        self._families = Families()
        prober = Prober(self._stamper, Resolver(clock))
        self._roster = Roster(self._stamper, prober, self._timetable, self._families)
        self._debug = DebugPage(self._roster, prober)
        self._server: HttpServer | None = None
        self._reload_succeeded = True

    async def start(self) -> None:
        """Begin to probe, then serve the metrics.

        Raises:
            ConfigError: a file that the configuration names cannot be used.
            ListenError: the metrics' address cannot be listened on.
        """
        self._log.info("configured", config=effective(self._config))
        await self._roster.apply(self._config)
        metrics = ""
        if self._config.metrics.listen:
            self._server = self._exporter()
            await self._server.start()
            metrics = "{}:{}".format(*self._server.address)
        # One line of JSON for whoever started this program, with the port that the kernel chose.
        line = {"ready": True, "metrics": metrics, "targets": sorted(self._roster.targets)}
        sys.stdout.write(json.dumps(line) + "\n")
        sys.stdout.flush()

    async def wait(self) -> None:
        """Probe for ever."""
        await asyncio.Event().wait()

    async def stop(self) -> None:
        """End all attempts and close all connections."""
        await self._roster.close()
        self._timetable.close()
        if self._server is not None:
            await self._server.stop()
        self._stamper.close()

    def status(self) -> str:
        """Say how many targets answer, and whether the schedule is kept."""
        seen = self._roster.observations
        answering = sum(one.successful for one in seen)
        missed = sum(slots.missed for one in seen for slots in one.slots.values())
        return f"{answering} of {len(seen)} targets answer as expected, {missed} slots missed"

    async def reload(self) -> None:
        """Read the file again; a bad one changes nothing, and is shown in a metric."""
        try:
            config = load_config(self._file, self._overrides)
            await self._roster.apply(config)
        except ConfigError as error:
            self._reload_succeeded = False
            self._log.error("configuration refused, the old one stays", why=str(error))
            return
        if (config.metrics, config.log) != (self._config.metrics, self._config.log):
            self._log.warning("changes of [metrics] and [log] take effect at the next start")
        self._config = config
        self._reload_succeeded = True
        self._log.info("configuration read again", config=effective(config))

    def _exporter(self) -> HttpServer:
        source = registry("probe")
        source.register(Collector(self._roster, lambda: self._reload_succeeded))
        routes: dict[str, Route] = {
            "/": landing(
                "latency-probe",
                {
                    "/metrics": "for Prometheus",
                    "/health": "whether the daemon runs",
                    "/probe": "one attempt now: ?target=NAME&debug=true",
                },
            ),
            "/metrics": MetricsPage(source, self._families.all),
            "/health": self._health,
            "/probe": self._debug,
        }
        return HttpServer(routes, address("metrics.listen", self._config.metrics.listen, default_host="127.0.0.1"))

    async def _health(self, _query: dict[str, str]) -> Page:
        return Page(text(self.status() + "\n"))
