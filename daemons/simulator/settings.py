"""What the simulator is asked for, checked."""

import ssl
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any

from daemons.errors import ConfigError
from daemons.service.settings.config import Address, address
from daemons.service.settings.spans import parse_span
from daemons.simulator.streams import KINDS, Stream, parse

__all__ = ["DoorPath", "Settings", "check"]


@dataclass(frozen=True, slots=True)
class DoorPath:
    """One more address of the exchange, and its own delay, jitter and drift in seconds."""

    listen: Address
    delay: float
    jitter: float
    drift: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """All flags, checked; see ``--help`` for their meaning."""

    listen: Address
    sbe_listen: Address | None
    far_listen: Address | None
    doors: tuple[DoorPath, ...]
    far_delay_ms: float
    far_jitter_ms: float
    streams: tuple[Stream, ...]
    rate: float
    poisson: bool
    seed: int
    duration: float | None
    futures: bool
    wait_for_clients: int
    stop_after_events: int | None
    tls: ssl.SSLContext | None
    ping_interval_seconds: float
    ping_timeout_seconds: float
    disconnect_every: float
    silent_after: float | None
    cull: bool
    skip_ids_every: int
    malformed_every: int
    reject_status: int | None
    shutdown_notice: bool


def check(flags: dict[str, Any]) -> Settings:
    """Make settings of the flags.

    Raises:
        ConfigError: an address, a stream, a combination or a certificate that cannot be used.
    """
    rest = dict(flags)
    futures = rest["futures"]
    if rest["far_jitter_ms"] * 2 > rest["far_delay_ms"]:
        raise ConfigError(
            "--far-jitter-ms",
            f"{rest['far_jitter_ms']:g} is more than half of the delay, {rest['far_delay_ms']:g}",
            "lower it, or raise --far-delay-ms",
        )
    if rest["ping_interval_seconds"] is None:
        rest["ping_interval_seconds"] = 180.0 if futures else 20.0
    if rest["ping_timeout_seconds"] is None:
        rest["ping_timeout_seconds"] = 600.0 if futures else 60.0
    rest["listen"] = address("--listen", rest["listen"])
    rest["doors"] = tuple(_door(text) for text in rest["doors"])
    for other in ("far_listen", "sbe_listen"):
        if rest[other] is not None:
            rest[other] = address(f"--{other.replace('_', '-')}", rest[other])
    if futures and rest["sbe_listen"] is not None:
        raise ConfigError("--sbe-listen", "futures have no SBE streams", "leave --futures or it out")
    rest["streams"] = tuple(_stream(name) for name in dict.fromkeys("/".join(rest["streams"]).split("/")))
    try:
        HTTPStatus(rest["reject_status"] or 200)
    except ValueError as error:
        raise ConfigError("--reject-status", str(error), "use a status that exists, such as 429") from error
    return Settings(tls=_tls(rest.pop("tls_certificate"), rest.pop("tls_key")), **rest)


def _door(text: str) -> DoorPath:
    """Read ``HOST:PORT=DELAY,JITTER[,DRIFT]``."""
    listen, _equals, spans = text.rpartition("=")
    try:
        delay, jitter, *rest = [parse_span(part) for part in spans.split(",")]
        (drift,) = rest or [0.0]
    except ValueError as error:
        remedy = "write HOST:PORT=DELAY,JITTER[,DRIFT], such as 127.0.0.2:9443=5ms,0.1ms"
        raise ConfigError("--door", f"{text!r} is not a door", remedy) from error
    if (jitter + drift) * 2 > delay:
        raise ConfigError("--door", f"jitter and drift of {text!r} are more than half of its delay", "lower them")
    return DoorPath(address("--door", listen), delay, jitter, drift)


def _stream(name: str) -> Stream:
    stream = parse(name)
    if stream is None:
        raise ConfigError(
            "--stream", f"{name!r} cannot be generated", f"use a lower-case symbol, @, and {', '.join(KINDS)}"
        )
    return stream


def _tls(certificate: Path | None, key: Path | None) -> ssl.SSLContext | None:
    if certificate is None and key is None:
        return None
    if certificate is None or key is None:
        missing = "--tls-certificate" if certificate is None else "--tls-key"
        raise ConfigError(missing, "is missing", "give both or none")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(certificate, key)
    except OSError as error:  # ssl.SSLError is one
        why = error.strerror or str(error)
        raise ConfigError(
            "--tls-certificate", f"{certificate} with {key}: {why}", "give PEM files that belong together"
        ) from error
    return context
