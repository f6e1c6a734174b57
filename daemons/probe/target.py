"""A target made ready to be asked: parsed once, when the configuration is read."""

import ipaddress
import socket
import ssl
from dataclasses import dataclass
from typing import Any

from daemons.configuration.probe import (
    EGRESS_NAME,
    EgressSection,
    ExpectSection,
    ProbeConfig,
    RequestSection,
    TargetSection,
    bare_host,
    parsed_url,
    secret_values,
    target_name,
)
from daemons.errors import ConfigError
from daemons.probe.attempt import ConnectionKind
from daemons.probe.expectation import Expectation
from daemons.probe.http.proxy import USER_AGENT, Proxy, authority_of, proxy_of
from daemons.probe.http.request import Request
from daemons.service.secrecy import Secrets, shown_url
from daemons.stream.tls import client_context

__all__ = ["Contexts", "Target", "prepare", "prepared", "secrets_of"]

_FAMILIES = {"any": socket.AF_UNSPEC, "ipv4": socket.AF_INET, "ipv6": socket.AF_INET6}
_MINIMUM_TLS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}
_ALPN = {"1.1": ["http/1.1"], "2": ["h2", "http/1.1"]}
_DEFAULT_PORTS = {"https": 443, "http": 80}


@dataclass(frozen=True, slots=True)
class Target:
    """Where an attempt goes and what it needs.

    Attributes:
        section: what the configuration says of it.
        name: the value of the ``target`` label.
        url: as it may be shown.
        secrets: what no record of an attempt may hold.
        host: from the URL: what is resolved, sent as SNI and verified; an absolute name has its dot, which TLS leaves
            out and `Host` keeps, as curl does.
        port: from the URL.
        proxy: through which the target is reached; None for the direct way.
        tunnel: host and port that the proxy is asked to connect to, for the proxy to resolve unless an address is
            pinned; empty where it passes plain HTTP on request by request, and without a proxy.
        pinned: the address to connect to, the target's or its proxy's, as connect(2) wants it with its family; None to
            resolve.
        context: TLS settings; None for plain HTTP.
        request: what is asked for.
        expectation: what makes an answer a success.
    """

    section: TargetSection | EgressSection
    name: str
    url: str
    secrets: Secrets
    host: str
    port: int
    proxy: Proxy | None
    tunnel: str
    pinned: tuple[int, tuple[Any, ...]] | None
    context: ssl.SSLContext | None
    request: Request
    expectation: Expectation

    @property
    def peer(self) -> tuple[str, int]:
        """Host and port that TCP connects to: the target's, or its proxy's."""
        return (self.host, self.port) if self.proxy is None else (self.proxy.host, self.proxy.port)

    @property
    def family(self) -> int:
        """Of the addresses to resolve to, as getaddrinfo(3) wants it."""
        return _FAMILIES[self.section.family]

    @property
    def http2(self) -> bool:
        """Whether HTTP/2 is spoken."""
        return self.section.http == "2"

    @property
    def kinds(self) -> tuple[ConnectionKind, ...]:
        """On which kinds of connection it is asked."""
        connections = self.section.connections if isinstance(self.section, TargetSection) else "cold"
        return tuple(ConnectionKind) if connections == "both" else (ConnectionKind(connections),)

    @property
    def interval_ns(self) -> int:
        """From one slot to the next."""
        return round(self.section.interval_seconds * 1e9)


class Contexts:
    """TLS contexts, one for each combination of settings: the authorities take 10 ms and a megabyte to load."""

    def __init__(self) -> None:
        self._made: dict[tuple[str, str, str], ssl.SSLContext] = {}

    def get(self, where: str, section: RequestSection) -> ssl.SSLContext:
        """Return the context for a section.

        Raises:
            ConfigError: the file of authorities cannot be used.
        """
        key = (section.ca_file, section.minimum_tls, section.http)
        context = self._made.get(key)
        if context is None:
            try:
                context = client_context(section.ca_file or None)
            except ConfigError as error:
                raise ConfigError(f"{where}.{error.where}", error.why, error.remedy) from error
            context.minimum_version = _MINIMUM_TLS[section.minimum_tls]
            context.set_alpn_protocols(_ALPN[section.http])
            self._made[key] = context
        return context


def prepare(section: TargetSection, where: str, contexts: Contexts) -> Target:
    """Make a target of its section, which has been checked.

    Raises:
        ConfigError: the file of authorities cannot be used.
    """
    return _target(
        section, where, contexts, target_name(section), section.method, section.body, Expectation(section.expect)
    )


def prepared(config: ProbeConfig) -> list[Target]:
    """Make all targets of a configuration; the egress endpoint comes last.

    Raises:
        ConfigError: a file of authorities cannot be used.
    """
    contexts = Contexts()
    made = [prepare(section, f"target[{number}]", contexts) for number, section in enumerate(config.target)]
    if config.egress is not None:
        made.append(_target(config.egress, "egress", contexts, EGRESS_NAME, "GET", "", Expectation(ExpectSection())))
    return made


def secrets_of(config: ProbeConfig) -> Secrets:
    """Return what no log line may hold, from the configuration and the files that it names.

    Raises:
        ConfigError: a file cannot be used.
    """
    return Secrets(value for target in prepared(config) for value in target.secrets.values)


def _target(
    section: TargetSection | EgressSection,
    where: str,
    contexts: Contexts,
    name: str,
    method: str,
    body: str,
    expectation: Expectation,
) -> Target:
    parts = parsed_url(f"{where}.url", section.url)
    host = parts.hostname or ""
    port = parts.port or _DEFAULT_PORTS[parts.scheme]
    proxy = proxy_of(section, where)
    passed_on = proxy if parts.scheme == "http" else None
    shown = f"[{host}]" if ":" in host else host
    return Target(
        section=section,
        name=name,
        url=shown_url(section.url),
        secrets=Secrets((*secret_values(section), *(proxy.secrets if proxy else ()))),
        host=host,
        port=port,
        proxy=proxy,
        tunnel=authority_of(_pins(section).get(bare_host(host), host), port) if proxy and not passed_on else "",
        pinned=_literal(proxy.host, proxy.port) if proxy else _literal(_pins(section).get(bare_host(host), host), port),
        context=contexts.get(where, section) if parts.scheme == "https" else None,
        request=Request(
            method=method,
            scheme=parts.scheme,
            authority=shown if port == _DEFAULT_PORTS[parts.scheme] else f"{shown}:{port}",
            path=(parts.path or "/") + (f"?{parts.query}" if parts.query else ""),
            headers=_headers(section.headers, passed_on),
            body=body.encode(),
            through_proxy=passed_on is not None,
        ),
        expectation=expectation,
    )


def _headers(given: dict[str, str], proxy: Proxy | None) -> tuple[tuple[str, str], ...]:
    # Compression would measure the server's compressor, and hide the body from the expectation.
    headers = {
        "user-agent": USER_AGENT,
        "accept": "*/*",
        "accept-encoding": "identity",
    }
    headers.update((name.lower(), value) for name, value in given.items())
    if proxy is not None and proxy.authorization:
        headers["proxy-authorization"] = proxy.authorization
    return tuple(headers.items())


def _pins(section: RequestSection) -> dict[str, str]:
    return {bare_host(name): address for name, address in section.resolve.items()}


def _literal(host: str, port: int) -> tuple[int, tuple[Any, ...]] | None:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return None
    if address.version == 4:
        return socket.AF_INET, (str(address), port)
    return socket.AF_INET6, (str(address), port, 0, 0)
