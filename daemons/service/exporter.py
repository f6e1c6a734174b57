"""A daemon's pages behind their lock: the server by the ``[metrics]`` section, and what it refused as a metric."""

from collections.abc import Iterator

from msgspec.structs import replace
from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import CounterMetricFamily, Metric
from prometheus_client.registry import Collector

from daemons.service.checking import with_credentials
from daemons.service.config import MetricsSection, address
from daemons.service.http import HttpServer, Route
from daemons.service.web_config import WebFile

__all__ = ["check_metrics", "exporter"]


def exporter(
    daemon: str, section: MetricsSection, routes: dict[str, Route], source: CollectorRegistry, *, default_host: str = ""
) -> HttpServer:
    """Make the server of a daemon's pages.

    Args:
        daemon: its name in metrics.
        section: where to listen, and who may read.
        routes: the pages.
        source: gets the server's own counters.
        default_host: where the address names none.

    Raises:
        ConfigError: the section, or its web configuration, is unusable.
    """
    web = None if section.web_config_file is None else WebFile.of(section.web_config_file)
    server = HttpServer(routes, address("metrics.listen", section.listen, default_host=default_host), web)
    source.register(_Refusals(daemon, server))
    return server


def check_metrics(section: MetricsSection, unseen: list[str] | None) -> None:
    """Check that the web configuration can be used; see :func:`daemons.service.checking.with_credentials`.

    Raises:
        ConfigError: it cannot.
    """

    def load(section: MetricsSection) -> None:
        if section.web_config_file is not None:
            WebFile.of(section.web_config_file)

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
