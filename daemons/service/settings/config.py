"""Configuration: a TOML file, overridden by flags, into frozen typed structs, refused whole if anything is wrong.

A configuration is made of :class:`~daemons.sections.Section` structs. Unknown keys are errors: a misspelt key that is
silently ignored is a measurement made with the wrong settings.
"""

import ipaddress
import os
import stat
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar

import msgspec

from daemons.errors import ConfigError
from daemons.secret import Secret
from daemons.sections import LogFormat, Section
from daemons.service.secrecy import HIDDEN, shown_url
from daemons.service.settings.errors import explain
from daemons.service.settings.toml_lines import Step, line_of

__all__ = [
    "Address",
    "LogSection",
    "MetricsSection",
    "UnseenCredentialError",
    "address",
    "effective",
    "is_loopback",
    "load",
    "networks",
    "private_file",
    "secret",
]


class UnseenCredentialError(ConfigError):
    """A credential that systemd would hand over; this process was not started by it."""


class LogSection(Section, frozen=True):
    """``[log]``: what is written about the daemon's own life, never about single events.

    Attributes:
        format: ``json`` (an object a line), ``console`` (lines to read), or ``auto``: lines to read where standard
            error is a terminal, and JSON elsewhere.
        level: the least that is worth a line.
    """

    format: LogFormat = "auto"
    level: Literal["debug", "info", "warning", "error"] = "info"


class MetricsSection(Section, frozen=True):
    """``[metrics]``: the exporter for Prometheus.

    Attributes:
        listen: where it listens, as ``HOST:PORT``; an empty string turns it off.
        web_config_file: who may read it, and over TLS: a web configuration as Prometheus' own exporters have
            (docs/security.md); None for anybody and plain HTTP.
    """

    listen: str
    web_config_file: str | None = None


Address = tuple[str, int]
"""Host (a name or an address, without brackets) and port."""

ConfigT = TypeVar("ConfigT", bound=Section)


def load(kind: type[ConfigT], file: Path | None, overrides: Mapping[str, Any]) -> ConfigT:
    """Read a configuration file and lay flags over it.

    Args:
        kind: the program's top-level section.
        file: a TOML file, or None for defaults and flags alone.
        overrides: a mapping shaped like the file; tables merge key by key, anything else replaces. Keys whose
            value is None are flags that were not given.

    Returns:
        The configuration, complete and type-checked.

    Raises:
        ConfigError: the file cannot be read, is not TOML, or holds an unknown, missing or malformed key.
    """
    raw: dict[str, Any] = {}
    text = ""
    if file is not None:
        try:
            text = file.read_text(encoding="utf-8")
            raw = tomllib.loads(text)
        except OSError as error:
            raise ConfigError(
                str(file), f"cannot be read: {error.strerror}", "give an existing, readable file"
            ) from error
        except RecursionError as error:
            raise ConfigError(str(file), "is nested too deep", "give values as the reference shows them") from error
        except ValueError as error:
            # Of tomllib its own error, that of text which is no UTF-8, and that of a number of thousands of digits.
            raise ConfigError(str(file), f"is not TOML: {error}", "correct the line named") from error
    merged = _merge(raw, overrides)
    try:
        return msgspec.convert(merged, kind, strict=True)
    except msgspec.ValidationError as error:
        explained = explain(str(error), kind, merged)
        raise explained.error(_place(file, text, raw, merged, explained.steps)) from error


def _place(
    file: Path | None, text: str, raw: Mapping[str, Any], merged: Mapping[str, Any], steps: Sequence[Step]
) -> str:
    """Name the file and the line where a value stands, unless it was given by a flag."""
    if file is None or not steps or raw.get(str(steps[0])) != merged.get(str(steps[0])):
        return ""
    line = line_of(text, steps)
    return str(file) if line is None else f"{file}:{line}"


def effective(config: Section) -> dict[str, Any]:
    """Return the configuration as plain data, for the log line at start.

    Key files appear by name only, URLs without what may be a credential, hidden fields not at all.
    """
    # Which of several kinds a section is stands in no field.
    tag = config.__struct_config__.tag_field
    kind = {tag: config.__struct_config__.tag} if tag else {}
    shown = {name: _shown(name in config.hidden, value) for name, value in msgspec.structs.asdict(config).items()}
    return kind | shown


def address(where: str, text: str, *, default_host: str = "") -> Address:
    """Parse ``HOST:PORT``, ``[V6]:PORT`` or, with a default host, ``:PORT``.

    Raises:
        ConfigError: no port, a port outside 0 to 65535, an unbracketed IPv6 address, or no possible name of a host.
    """
    host, colon, port = text.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    if not colon or (":" in host and not bracketed) or not port.isascii() or not port.isdigit():
        raise ConfigError(where, f"{text!r} is not an address", "write HOST:PORT or [IPV6]:PORT")
    if int(port) > 0xFFFF:
        raise ConfigError(where, f"port {port} is out of range", "use a port from 0 to 65535")
    host = host[1:-1] if bracketed else host
    if not host and not default_host:
        raise ConfigError(where, f"{text!r} names no host", "write HOST:PORT or [IPV6]:PORT")
    try:
        # As the resolver will have it: no label is empty, or longer than 63 bytes (RFC 1035, section 3.1).
        host.encode("idna")
    except UnicodeError as error:
        raise ConfigError(where, f"{host!r} is no host's name", "check its dots and spelling") from error
    return host or default_host, int(port)


def is_loopback(host: str) -> bool:
    """Say whether only this machine reaches what listens there; of names that is believed of ``localhost`` alone."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def networks(where: str, texts: tuple[str, ...]) -> tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]:
    """Parse CIDR blocks; a bare address is a block of one.

    IPv4 in IPv6 (``::ffff:10.0.0.0/104``), as a socket for both shows its peers, becomes IPv4 (RFC 4291, 2.5.5.2).

    Raises:
        ConfigError: not a CIDR block, or host bits set, which is more often a typing error than a wish.
    """
    parsed = []
    for text in texts:
        try:
            network = ipaddress.ip_network(text)
        except ValueError as error:
            raise ConfigError(where, str(error), _as_a_block(text)) from error
        parsed.append(_unmapped(network))
    return tuple(parsed)


def _as_a_block(text: str) -> str:
    """What was meant, where only bits beside the block were set."""
    try:
        meant = ipaddress.ip_interface(text)
    except ValueError:
        return "write a CIDR block such as 10.0.0.0/16"
    return f"write {meant.network} for the block, {ipaddress.ip_network(meant.ip)} for the one address"


def _unmapped(network: ipaddress.IPv4Network | ipaddress.IPv6Network) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    if isinstance(network, ipaddress.IPv4Network) or network.prefixlen < 96:
        return network
    mapped = network.network_address.ipv4_mapped
    return network if mapped is None else ipaddress.IPv4Network((mapped, network.prefixlen - 96))


def secret(where: str, file: str, *, remedy: str = "use at least 16, such as `openssl rand -hex 32`") -> Secret:
    """Read a key file, as :func:`private_file`; ``remedy`` tells what to do about a key that is too short.

    White space around the key is dropped, so a file made with ``openssl rand -hex 32`` and an editor agree.

    Raises:
        UnseenCredentialError: a credential, and there is no directory of credentials.
        ConfigError: not readable, open to others, or shorter than 16 bytes.
    """
    key = private_file(where, file).strip()
    if len(key) < 16:
        raise ConfigError(where, f"{file}: holds {len(key)} bytes", remedy)
    return Secret(key)


def private_file(where: str, file: str) -> bytes:
    """Read a file that is not for everyone; ``credential:NAME`` means a systemd credential (systemd.exec(5)).

    Raises:
        ConfigError: not readable, or open to others. A file of root, which is handed to a daemon's user by its group,
            may be readable by that group; systemd keeps others from its credentials by itself.
    """
    path = Path(file)
    if file.startswith("credential:"):
        directory = os.environ.get("CREDENTIALS_DIRECTORY")
        if not directory:
            raise UnseenCredentialError(
                where, f"{file!r} is handed over by systemd alone", "start by systemd, or give a file's path"
            )
        path = Path(directory) / file.removeprefix("credential:")
    try:
        with path.open("rb") as opened:
            content = opened.read()
            # Of the file that was read, whatever its name means meanwhile.
            status = os.fstat(opened.fileno())
    except OSError as error:
        raise ConfigError(where, f"{file}: cannot be read: {error.strerror}", "create it with mode 0600") from error
    if not file.startswith("credential:"):
        mode = stat.S_IMODE(status.st_mode)
        # As ssh(1) does with the keys of others: what is not ours is kept by who owns it.
        forbidden = 0o077 if status.st_uid == os.getuid() else 0o037
        if mode & forbidden:
            raise ConfigError(where, f"{file}: is open to others (mode {mode:04o})", "chmod 0600 it")
    return content


def _shown(hidden: bool, value: Any) -> Any:
    if isinstance(value, Section):
        return effective(value)
    if isinstance(value, (list, tuple)):
        return [_shown(hidden, one) for one in value]
    if isinstance(value, dict):
        return {name: _shown(hidden, one) for name, one in value.items()}
    if hidden and value:
        return HIDDEN
    return shown_url(value) if isinstance(value, str) and "://" in value else msgspec.to_builtins(value)


def _merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in over.items():
        if value is None:
            continue
        below = merged.get(key)
        if isinstance(value, Mapping):
            value = _merge(below if isinstance(below, Mapping) else {}, value)  # noqa: PLW2901
            if not value and key not in base:
                continue
        merged[key] = value
    return merged
