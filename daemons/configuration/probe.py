"""latency-probe's configuration: sections of the file, and the checks that types cannot make."""

import ipaddress
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias
from urllib.parse import SplitResult, urlsplit

import msgspec

from daemons.configuration.defaults import PROBE_METRICS
from daemons.configuration.local_end import check_source
from daemons.errors import ConfigError
from daemons.sections import Dscp, Seconds, Section
from daemons.service.secrecy import shown_url, values_in_query
from daemons.service.settings.config import LogSection, MetricsSection, address, load

__all__ = [
    "EGRESS_NAME",
    "EgressSection",
    "ExpectSection",
    "OverlaySection",
    "ProbeConfig",
    "RequestSection",
    "RouteSection",
    "TargetSection",
    "bare_host",
    "load_config",
    "parsed_proxy",
    "parsed_url",
    "secret_values",
    "target_name",
]

Interval: TypeAlias = Annotated[float, msgspec.Meta(ge=0.01, le=86_400)]
Timeout: TypeAlias = Annotated[float, msgspec.Meta(ge=0.001, le=3600)]
MAX_HOPS = 30
EGRESS_NAME = "egress"
"""The egress check's value of the ``target`` label."""

_RESERVED_HEADERS = frozenset(
    {"host", "connection", "content-length", "transfer-encoding", "accept-encoding", "te"}
) | {"proxy-authorization", "proxy-connection"}
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


class ExpectSection(Section, frozen=True):
    """``expect``: what makes an answer a success.

    Attributes:
        status: the status codes that are right.
        json_field: a path into a JSON body, keys and list positions joined by dots, that must exist.
        json_value: what that field must be equal to, when given.
        regex: a pattern that must occur in the body.
    """

    status: tuple[int, ...] = (200,)
    json_field: str = ""
    json_value: str | int | float | bool | None = None
    regex: str = ""


class RequestSection(Section, frozen=True):
    """What targets and the egress check have in common: where a request goes, by which way, and how.

    Attributes:
        url: https or http.
        interval_seconds: the distance of the slots.
        timeout_seconds: for one attempt from its start to its last byte; may exceed the interval.
        resolve: the address to use for the URL's host instead of resolving it; name for certificate, SNI and Host stay.
        family: which addresses of a name to use.
        source_address: to send from; must be an address of this host.
        interface: to send through (SO_BINDTODEVICE).
        dscp: the class of its packets, such as 46 for expedited forwarding; without it the system's.
        proxy: ``http://HOST:PORT`` of the HTTP proxy to go through; empty for the direct way.
        proxy_credentials_file: a private file with one line USER:PASSWORD for the proxy.
        minimum_tls: the oldest TLS version accepted.
        http: the HTTP version to speak.
        headers: to send beside those that the probe itself sends.
        ca_file: PEM file of authorities to trust instead of the system's.
        max_body_bytes: a longer body fails the attempt.
    """

    hidden = ("headers", "body")

    url: str
    interval_seconds: Interval = 10.0
    timeout_seconds: Timeout = 5.0
    resolve: dict[str, str] = msgspec.field(default_factory=dict)
    family: Literal["any", "ipv4", "ipv6"] = "any"
    source_address: str = ""
    interface: str = ""
    dscp: Dscp | None = None
    proxy: str = ""
    proxy_credentials_file: str = ""
    minimum_tls: Literal["1.2", "1.3"] = "1.2"
    http: Literal["1.1", "2"] = "1.1"
    headers: dict[str, str] = msgspec.field(default_factory=dict)
    ca_file: str = ""
    max_body_bytes: int = 1 << 20


class TargetSection(RequestSection, frozen=True):
    """``[[target]]``: an endpoint that is asked again and again.

    Attributes:
        name: the value of the ``target`` label; the URL's host by default.
        method: of the request.
        body: of the request.
        connections: ask on new connections, on a kept one, or on each at this interval.
        expect: what makes an answer a success.
    """

    name: str = ""
    method: Literal["GET", "HEAD", "POST", "PUT", "OPTIONS"] = "GET"
    body: str = ""
    connections: Literal["cold", "warm", "both"] = "both"
    expect: ExpectSection = ExpectSection()


class EgressSection(RequestSection, frozen=True):
    """``[egress]``: from which address the internet sees us.

    Attributes:
        expected_address: the address that we should leave from; empty for no expectation.
        expected_city: likewise, as the endpoint spells it.
        expected_country: likewise.
        address_field: path of the address in a JSON answer; an answer that is not JSON is the address itself.
        city_field: path of the city in a JSON answer.
        country_field: path of the country in a JSON answer.
    """

    interval_seconds: Interval = 60.0
    timeout_seconds: Timeout = 10.0
    expected_address: str = ""
    expected_city: str = ""
    expected_country: str = ""
    address_field: str = "ip"
    city_field: str = "city"
    country_field: str = "country"


class RouteSection(Section, frozen=True):
    """``[route]``: which way packets go, by mtr(8).

    Attributes:
        target: name or address.
        interval_seconds: between the starts of two traces.
        cycles: probes to each hop in one trace.
        max_hops: where a trace ends; bounds the metrics' ``hop`` label.
        protocol: what mtr sends.
        port: for tcp and udp.
        source_address: to send from.
        interface: to send through.
        command: the mtr program.
    """

    target: str
    interval_seconds: Seconds = 300.0
    cycles: int = 10
    max_hops: int = MAX_HOPS
    protocol: Literal["icmp", "udp", "tcp"] = "icmp"
    port: int = 443
    source_address: str = ""
    interface: str = ""
    command: str = "mtr"


class OverlaySection(Section, frozen=True):
    """``[overlay]``: round trips to the other end of a tunnel, by ICMP echo.

    Attributes:
        peer: its address.
        interval_seconds: between two echo requests.
        timeout_seconds: after which a request counts as lost.
        payload_bytes: after the ICMP header.
        source_address: to send from.
        interface: to send through.
    """

    peer: str
    interval_seconds: Interval = 1.0
    timeout_seconds: Timeout = 2.0
    payload_bytes: int = 56
    source_address: str = ""
    interface: str = ""


class ProbeConfig(Section, frozen=True):
    """The beginning of the file."""

    target: tuple[TargetSection, ...] = ()
    egress: EgressSection | None = None
    route: RouteSection | None = None
    overlay: OverlaySection | None = None
    metrics: MetricsSection = MetricsSection(listen=PROBE_METRICS)
    log: LogSection = LogSection()


def load_config(file: Path | None, overrides: Mapping[str, Any]) -> ProbeConfig:
    """Read and check the configuration.

    Raises:
        ConfigError: anything in it is unknown, malformed or impossible.
    """
    config = load(ProbeConfig, file, overrides)
    if not (config.target or config.egress or config.route or config.overlay):
        raise ConfigError("target", "nothing to probe", "add a [[target]], or give --target URL")
    _check_targets(config.target)
    if config.egress is not None:
        _check_request("egress", config.egress)
        if config.egress.expected_address:
            _check_address("egress.expected_address", config.egress.expected_address)
    if config.route is not None:
        _check_route(config.route)
    if config.overlay is not None:
        _check_overlay(config.overlay)
    if config.metrics.listen:
        address("metrics.listen", config.metrics.listen, default_host="127.0.0.1")
    return config


def bare_host(host: str) -> str:
    """Return a host as names are compared: lower case, without the dot that an absolute name ends with."""
    return host.lower().removesuffix(".")


def target_name(section: TargetSection) -> str:
    """Return the value of the ``target`` label."""
    return section.name or urlsplit(section.url).hostname or ""


def parsed_url(where: str, url: str) -> SplitResult:
    """Split a URL that a request can be made of.

    Raises:
        ConfigError: another scheme, no host, credentials, a fragment, or characters that a request cannot carry.
    """
    shown = repr(shown_url(url))
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        # Its message may hold all that stands before the path.
        why = "malformed" if "@" in url else str(error)
        raise ConfigError(where, f"{shown} is not a URL: {why}", "write https://HOST/PATH") from error
    if parts.scheme not in ("https", "http") or not parts.hostname:
        raise ConfigError(where, f"{shown} is not an HTTPS URL", "write https://HOST/PATH")
    if any(not "!" <= character <= "~" for character in url):
        raise ConfigError(
            where,
            f"{shown} holds a character that a request cannot carry",
            "write the host in punycode and the rest percent-encoded",
        )
    if port == 0:
        raise ConfigError(where, f"{shown}: nothing listens on port 0", "write a port from 1 to 65535, or none")
    try:
        parts.hostname.encode("idna")
    except UnicodeError as error:
        raise ConfigError(where, f"{parts.hostname!r} is no host's name", "check its dots and spelling") from error
    if parts.username is not None or parts.fragment:
        raise ConfigError(where, f"{shown} holds credentials or a fragment", "send credentials by `headers`")
    return parts


def parsed_proxy(where: str, url: str) -> tuple[str, int]:
    """Split a proxy's URL into host and port.

    Raises:
        ConfigError: another scheme, no port, credentials, or more than host and port.
    """
    remedy = "write http://HOST:PORT"
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        why = "malformed" if "@" in url else str(error)
        raise ConfigError(where, f"{shown_url(url)!r} is not a URL: {why}", remedy) from error
    if parts.username is not None:
        # The text itself is not shown: it holds the password.
        raise ConfigError(where, "holds user and password", "write them into a proxy_credentials_file")
    if parts.scheme in ("https", "socks4", "socks5", "socks5h"):
        raise ConfigError(where, f"{url!r}: a proxy is spoken to in plain HTTP only", remedy)
    if parts.scheme != "http" or not parts.hostname or not url.isascii() or any(letter <= " " for letter in url):
        raise ConfigError(where, f"{url!r} is no proxy", remedy)
    if not port:
        raise ConfigError(where, f"{url!r} names no port, and proxies have none in common", remedy)
    if parts.path not in ("", "/") or parts.query or parts.fragment:
        raise ConfigError(where, f"{url!r} holds more than host and port", remedy)
    return parts.hostname, port


def secret_values(section: RequestSection) -> Iterator[str]:
    """Yield what must not be shown of a section: values of headers, of the body, and of the URL's query."""
    for value in section.headers.values():
        yield value
        # A scheme and its credentials (RFC 9110, section 11.4).
        yield value.partition(" ")[2]
    yield from values_in_query(urlsplit(section.url).query)
    if isinstance(section, TargetSection):
        yield section.body
        yield from values_in_query(section.body)


def _check_targets(targets: tuple[TargetSection, ...]) -> None:
    for number, target in enumerate(targets):
        _check_target(f"target[{number}]", target)
    names = Counter(map(target_name, targets))
    for name, count in names.items():
        if count > 1:
            raise ConfigError(
                "target.name", f"{name!r} names {count} targets", "give each a name of its own, in a file"
            )
    if EGRESS_NAME in names:
        raise ConfigError("target.name", f"{EGRESS_NAME!r} is the name of the egress check", "choose another")


def _check_target(where: str, target: TargetSection) -> None:
    _check_request(where, target)
    if target.name and not _NAME.fullmatch(target.name):
        raise ConfigError(f"{where}.name", f"{target.name!r} is no label", "use letters, digits, dot, dash, underscore")
    expect = target.expect
    if not expect.status or not all(200 <= status <= 599 for status in expect.status):
        raise ConfigError(f"{where}.expect.status", f"{list(expect.status)} is impossible", "list codes of 200 to 599")
    if expect.json_value is not None and not expect.json_field:
        raise ConfigError(f"{where}.expect.json_value", "there is no json_field to compare it with", "add json_field")
    try:
        re.compile(expect.regex)
    except re.error as error:
        raise ConfigError(f"{where}.expect.regex", f"{expect.regex!r}: {error}", "correct the pattern") from error
    if target.method == "HEAD" and (expect.json_field or expect.regex):
        raise ConfigError(f"{where}.expect", "a HEAD request has no body to look into", "use GET")


def _check_request(where: str, request: RequestSection) -> None:
    parts = parsed_url(f"{where}.url", request.url)
    if request.http == "2" and parts.scheme != "https":
        raise ConfigError(f"{where}.http", "HTTP/2 needs https", 'write an https URL, or http = "1.1"')
    for host, pinned in request.resolve.items():
        if bare_host(host) != bare_host(parts.hostname or ""):
            raise ConfigError(
                f"{where}.resolve", f"{host!r} is not the URL's host", f"pin {parts.hostname!r}, or remove it"
            )
        _check_address(f"{where}.resolve.{host}", pinned)
    _check_proxy(where, request)
    _check_links(where, request, parts.hostname or "")
    if request.source_address:
        check_source(f"{where}.source_address", request.source_address, request.interface)
    for name, value in request.headers.items():
        if not _TOKEN.fullmatch(name) or not value.isascii() or not value.isprintable() or value != value.strip():
            # Without the value, which may be a key.
            raise ConfigError(
                f"{where}.headers", f"{name!r}: is no header", "use printable ASCII, no blank at its beginning or end"
            )
        if name.lower() in _RESERVED_HEADERS:
            raise ConfigError(f"{where}.headers", f"{name!r} is the probe's own business", "remove it")
    if not 0 <= request.max_body_bytes <= 1 << 30:
        raise ConfigError(f"{where}.max_body_bytes", f"{request.max_body_bytes} is out of range", "0 to 1073741824")


def _check_proxy(where: str, request: RequestSection) -> None:
    if not request.proxy:
        if request.proxy_credentials_file:
            raise ConfigError(f"{where}.proxy_credentials_file", "there is no proxy to show it to", "add proxy")
        return
    parsed_proxy(f"{where}.proxy", request.proxy)
    if request.resolve and urlsplit(request.url).scheme == "http":
        raise ConfigError(
            f"{where}.resolve", "a proxy resolves the names of http URLs itself", "remove it, or write an https URL"
        )


def _check_links(where: str, request: RequestSection, host: str) -> None:
    """Refuse IPv6 addresses that leave open on which link they are (RFC 4007, section 6)."""
    asked = {f"{where}.resolve.{name}": pinned for name, pinned in request.resolve.items()} or {f"{where}.url": host}
    if request.proxy:
        asked = {f"{where}.proxy": parsed_proxy(f"{where}.proxy", request.proxy)[0]}
    for place, text in asked.items():
        try:
            address = ipaddress.IPv6Address(text)
        except ValueError:
            continue
        if address.scope_id is not None:
            # A zone is written as %lo or %25lo, and the kernel would be told another way.
            raise ConfigError(place, f"{text!r} holds a zone", "write the address alone, and the zone as `interface`")
        if address.is_link_local and not request.interface:
            raise ConfigError(place, f"{text!r} is an address on every link", "add the `interface` that leads to it")


def _check_route(route: RouteSection) -> None:
    if not route.target or route.target.startswith("-"):
        raise ConfigError("route.target", f"{route.target!r} is no host", "write a name or an address")
    if not 1 <= route.max_hops <= MAX_HOPS:
        raise ConfigError("route.max_hops", f"{route.max_hops} is out of range", f"use 1 to {MAX_HOPS}")
    if not 1 <= route.cycles <= 100:
        raise ConfigError("route.cycles", f"{route.cycles} is out of range", "use 1 to 100")
    if not 1 <= route.port <= 0xFFFF:
        raise ConfigError("route.port", f"{route.port} is out of range", "use 1 to 65535")
    if route.interval_seconds < route.cycles + 1:
        raise ConfigError(
            "route.interval_seconds",
            f"{route.interval_seconds:g} s is too short for {route.cycles} cycles of a second each",
            "lengthen it",
        )
    if route.source_address:
        check_source("route.source_address", route.source_address, route.interface)


def _check_overlay(overlay: OverlaySection) -> None:
    _check_address("overlay.peer", overlay.peer)
    if not 8 <= overlay.payload_bytes <= 65000:
        raise ConfigError("overlay.payload_bytes", f"{overlay.payload_bytes} is out of range", "use 8 to 65000")
    if overlay.source_address:
        check_source("overlay.source_address", overlay.source_address, overlay.interface)


def _check_address(where: str, text: str) -> None:
    try:
        ipaddress.ip_address(text)
    except ValueError as error:
        raise ConfigError(where, f"{text!r} is not an IP address", "write one such as 10.0.1.10") from error
