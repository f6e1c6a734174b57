"""The suite: what to ask, from where, and what is expected. A TOML file, refused whole if anything in it is wrong."""

import ipaddress
import math
import re
from pathlib import Path
from urllib.parse import urlsplit

from daemons.configuration.probe import EgressSection, parsed_proxy
from daemons.errors import ConfigError
from daemons.sections import Seconds, Section
from daemons.service.settings.config import load

__all__ = [
    "EgressEndpoint",
    "EgressExpectation",
    "OverlayExpectation",
    "Range",
    "RequestExpectation",
    "RouteExpectation",
    "Scenario",
    "Suite",
    "SuiteTarget",
    "load_suite",
]

Range = tuple[float, float]
"""The smallest and the largest value that is right, both included."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_NO_LOSS_WORTH_NAMING: Range = (0.0, 0.01)
_TOLD = EgressSection(url="https://ipinfo.io/json")
"""Where nothing is said of an answer, it is read as latency-probe reads it."""


class SuiteTarget(Section, frozen=True):
    """``[target]``: what every scenario asks.

    Attributes:
        url: https or http.
        count: requests on each kind of connection.
        interval_seconds: between two of them.
        timeout_seconds: for one.
        address: to use for the URL's host instead of resolving it, so that all scenarios ask the same server.
        ca_file: authorities to trust instead of the system's.
    """

    url: str
    count: int = 400
    interval_seconds: Seconds = 0.25
    timeout_seconds: Seconds = 5.0
    address: str = ""
    ca_file: str = ""


class EgressEndpoint(Section, frozen=True):
    """``[egress]``: who tells us how the internet sees us; see ``[egress]`` of latency-probe.

    Attributes:
        url: of the endpoint.
        address_field: path of the address in its JSON answer.
        city_field: path of the city.
        country_field: path of the country.
        ca_file: authorities to trust instead of the system's.
    """

    url: str = _TOLD.url
    address_field: str = _TOLD.address_field
    city_field: str = _TOLD.city_field
    country_field: str = _TOLD.country_field
    ca_file: str = ""


class RequestExpectation(Section, frozen=True):
    """``[scenario.cold]`` with ``[scenario.warm]``: where the figures of all answered requests must lie, in ms.

    Attributes:
        median_ms: the smallest and the largest value that is right; likewise below.
        p95_ms: the 95th percentile.
        p99_ms: the 99th percentile.
        p999_ms: the 99.9th percentile.
        max_ms: the longest request.
        failed: the share of requests that may fail.
    """

    median_ms: Range | None = None
    p95_ms: Range | None = None
    p99_ms: Range | None = None
    p999_ms: Range | None = None
    max_ms: Range | None = None
    failed: Range = _NO_LOSS_WORTH_NAMING


class OverlayExpectation(Section, frozen=True):
    """``[scenario.overlay]``: round trips to the other end of the tunnel.

    Attributes:
        peer: its inner address.
        count: echo requests.
        interval_seconds: between two of them.
        median_ms: the smallest and the largest value that is right; likewise below.
        p95_ms: the 95th percentile.
        max_ms: the longest round trip.
        lost: the share that may stay unanswered.
    """

    peer: str
    count: int = 100
    interval_seconds: Seconds = 0.1
    median_ms: Range | None = None
    p95_ms: Range | None = None
    max_ms: Range | None = None
    lost: Range = _NO_LOSS_WORTH_NAMING


class RouteExpectation(Section, frozen=True):
    """``[scenario.route]``: which way packets go.

    Attributes:
        target: where to; the host of ``[target]`` by default.
        cycles: probes to each hop.
        hops: how many there may be.
        through: addresses or blocks that must be on the way, in this order.
        last_ms: mean round trip to the last hop.
        command: the mtr program.
    """

    target: str = ""
    cycles: int = 10
    hops: Range | None = None
    through: tuple[str, ...] = ()
    last_ms: Range | None = None
    command: str = "mtr"


class EgressExpectation(Section, frozen=True):
    """``[scenario.egress]``: as whom we must appear.

    Attributes:
        address: ours, as the internet sees it.
        host: instead of the address: the public address of this host of the deployment or inventory.
        city: as the endpoint spells it.
        country: likewise.
    """

    address: str = ""
    host: str = ""
    city: str = ""
    country: str = ""


class Scenario(Section, frozen=True):
    """``[[scenario]]``: a vantage, and what is expected there. Phases without a section of their own are left out.

    Attributes:
        name: of the scenario.
        host: where it is measured; empty for this machine.
        count: requests of each kind, where it differs from ``[target]``.
        proxy: ``http://HOST:PORT`` of the HTTP proxy that requests and the egress check go through; empty for none.
        proxy_credentials_file: on the scenario's host, with one line USER:PASSWORD.
    """

    name: str
    host: str = ""
    count: int = 0
    proxy: str = ""
    proxy_credentials_file: str = ""
    cold: RequestExpectation = RequestExpectation()
    warm: RequestExpectation = RequestExpectation()
    overlay: OverlayExpectation | None = None
    route: RouteExpectation | None = None
    egress: EgressExpectation | None = None


class Suite(Section, frozen=True):
    """The whole file.

    Attributes:
        baseline: the scenario that the others are compared with; empty for no comparison.
    """

    target: SuiteTarget
    scenario: tuple[Scenario, ...]
    egress: EgressEndpoint = EgressEndpoint()
    baseline: str = ""

    @property
    def target_host(self) -> str:
        """The host of the target's URL."""
        return urlsplit(self.target.url).hostname or ""

    def route_target(self, route: RouteExpectation) -> str:
        """Where a scenario's route leads."""
        return route.target or self.target.address or self.target_host


def load_suite(file: Path) -> Suite:
    """Read and check a suite.

    Raises:
        ConfigError: anything in it is unknown, malformed or impossible.
    """
    suite = load(Suite, file, {})
    if not suite.scenario:
        raise ConfigError("scenario", "there is none", "write a [[scenario]] for each vantage")
    names = [scenario.name for scenario in suite.scenario]
    if suite.baseline and suite.baseline not in names:
        raise ConfigError("baseline", f"{suite.baseline!r} is no scenario", f"there are {', '.join(names)}")
    if suite.target.count < 1 or not 0.01 <= suite.target.interval_seconds <= 86_400:
        raise ConfigError(
            "target", "count or interval_seconds is out of range", "ask at least once, every 10 ms or less often"
        )
    for index, scenario in enumerate(suite.scenario):
        where = f"scenario[{index}]"
        if not _NAME.fullmatch(scenario.name) or names.count(scenario.name) > 1:
            raise ConfigError(
                f"{where}.name",
                f"{scenario.name!r} is no name, or used twice",
                "use letters, digits, dot, dash, underscore, and each once: results go to a folder of that name",
            )
        _check_scenario(where, scenario)
        _check_proxy(where, scenario, suite.target)
    return suite


def _check_proxy(where: str, scenario: Scenario, target: SuiteTarget) -> None:
    if not scenario.proxy:
        if scenario.proxy_credentials_file:
            raise ConfigError(f"{where}.proxy_credentials_file", "there is no proxy to show it to", "add proxy")
        return
    parsed_proxy(f"{where}.proxy", scenario.proxy)
    if target.address and urlsplit(target.url).scheme == "http":
        raise ConfigError("target.address", "a proxy resolves the names of http URLs itself", "ask by https")


def _check_scenario(where: str, scenario: Scenario) -> None:
    for name in ("cold", "warm", "overlay", "route", "egress"):
        section = getattr(scenario, name)
        if section is None:
            continue
        for field in section.__struct_fields__:
            value = getattr(section, field)
            if isinstance(value, tuple) and field != "through":
                _check_range(f"{where}.{name}.{field}", value)
    if scenario.overlay is not None and scenario.overlay.count < 1:
        raise ConfigError(f"{where}.overlay.count", f"{scenario.overlay.count} is too few", "send at least one request")
    for text in scenario.route.through if scenario.route is not None else ():
        try:
            ipaddress.ip_network(text)
        except ValueError as error:
            raise ConfigError(f"{where}.route.through", str(error), "write an address or a block") from error
    egress = scenario.egress
    if egress is not None and not (egress.address or egress.host or egress.city or egress.country):
        raise ConfigError(
            f"{where}.egress", "nothing is expected", "give address, host, city or country, or leave the section out"
        )


def _check_range(where: str, value: Range) -> None:
    low, high = value
    if not (math.isfinite(low) and low <= high):
        raise ConfigError(where, f"[{low:g}, {high:g}] is no range", "write the smallest value, then the largest")
