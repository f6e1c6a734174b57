"""A daemon's pages behind their lock: what it serves by its ``[metrics]`` section, and what it refused as a metric."""

from collections.abc import Iterable, Iterator, Mapping

from msgspec.structs import replace
from prometheus_client.metrics_core import CounterMetricFamily, Metric
from prometheus_client.registry import Collector

from daemons.service.metrics.page import HistogramFamily, MetricsPage, landing, registry
from daemons.service.settings.checking import with_credentials
from daemons.service.settings.config import MetricsSection, address
from daemons.service.web.pages import Route, health, unready
from daemons.service.web.server import HttpServer
from daemons.service.web.web_config import WebFile, tell

__all__ = ["Pages", "check_metrics"]


class Pages:
    """What a daemon serves over HTTP: its metrics, whether it lives and works, and what it has of its own.

    Args:
        daemon: its name in metrics, ``latency-`` apart.
        section: where to listen, and who may read; nothing is served where it names no address.
        collectors: of counters and gauges.
        histograms: its histogram families.
        own: its own pages by path, each with a text for the landing page.
        default_host: where the address names none.

    Raises:
        ConfigError: the section, or its web configuration, is unusable.

    Attributes:
        serving: to be set once the daemon does its work.
        stopping: to be set when it begins to stop.
    """

    def __init__(
        self,
        daemon: str,
        section: MetricsSection,
        collectors: Iterable[Collector],
        histograms: Iterable[HistogramFamily],
        own: Mapping[str, tuple[str, Route]] | None = None,
        *,
        default_host: str = "",
    ) -> None:
        self.serving = self.stopping = False
        self._server: HttpServer | None = None
        if not section.listen:
            return
        source = registry(daemon)
        for collector in collectors:
            source.register(collector)
        own = own or {}
        routes: dict[str, Route] = {
            "/": landing(f"latency-{daemon}", {path: what for path, (what, _route) in own.items()}),
            "/metrics": MetricsPage(source, histograms),
            **health(lambda: unready(served=self.serving, stopping=self.stopping)),
            **{path: route for path, (_what, route) in own.items()},
        }
        web = None if section.web_config_file is None else WebFile.of(section.web_config_file)
        server = HttpServer(routes, address("metrics.listen", section.listen, default_host=default_host), web)
        source.register(_Refusals(daemon, server))
        if web is not None:
            tell(web)
        self._server = server

    async def start(self) -> str:
        """Begin to serve; return at which address, empty for none.

        Raises:
            ListenError: the address cannot be listened on.
        """
        if self._server is None:
            return ""
        await self._server.start()
        return "{}:{}".format(*self._server.address)

    async def stop(self) -> None:
        """Serve no more."""
        if self._server is not None:
            await self._server.stop()


def check_metrics(section: MetricsSection, unseen: list[str] | None) -> None:
    """Check that the web configuration can be used; see :func:`daemons.service.settings.checking.with_credentials`.

    Raises:
        ConfigError: it cannot.
    """

    def load(section: MetricsSection) -> None:
        if section.web_config_file is not None:
            web = WebFile.of(section.web_config_file)
            if unseen is not None:
                unseen.extend(web.doubts)

    with_credentials(load, section, lambda section: replace(section, web_config_file=None), unseen)


class _Refusals(Collector):
    def __init__(self, daemon: str, server: HttpServer) -> None:
        self._daemon = daemon
        self._server = server

    def collect(self) -> Iterator[Metric]:
        refusals = CounterMetricFamily(
            "latency_page_refusals",
            "Clients that a page did not serve: no TLS, an untrusted certificate, no or a wrong password, or too many "
            "passwords to check.",
            labels=["daemon", "reason"],
        )
        for reason, count in self._server.refusals.items():
            refusals.add_metric([self._daemon, reason], count)
        yield refusals
