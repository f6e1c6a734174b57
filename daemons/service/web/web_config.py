"""``[metrics] web_config_file``: who may read the pages, and over TLS, in the format that Prometheus' exporters share.

The format is exporter-toolkit's (https://github.com/prometheus/exporter-toolkit/blob/master/docs/web-configuration.md),
so that one file serves all exporters of a host. What cannot be done as it says there is refused, not ignored.
"""

import os
import re
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Literal

import msgspec
import structlog

from daemons.errors import ConfigError
from daemons.sections import Section
from daemons.service.settings.config import private_file
from daemons.service.settings.errors import explain

__all__ = ["Web", "WebFile", "load_web", "tell"]

Auth = Literal["NoClientCert", "VerifyClientCertIfGiven", "RequireAndVerifyClientCert"]
Version = Literal["TLS12", "TLS13"]

_VERSIONS = {"TLS12": ssl.TLSVersion.TLSv1_2, "TLS13": ssl.TLSVersion.TLSv1_3}
_VERIFY = {
    "NoClientCert": ssl.CERT_NONE,
    "VerifyClientCertIfGiven": ssl.CERT_OPTIONAL,
    "RequireAndVerifyClientCert": ssl.CERT_REQUIRED,
}
_HASH = re.compile(r"\$2[aby]\$(\d\d)\$[./A-Za-z0-9]{53}", re.ASCII)
MAX_COST = 16
"""bcrypt's cost: each step doubles the time; 16 takes seconds for each password that was not seen before."""
_OUT_OF_TIME = (9, 10)
"""X509_V_ERR_CERT_NOT_YET_VALID and X509_V_ERR_CERT_HAS_EXPIRED, of OpenSSL's x509_vfy.h."""
_HEADERS: dict[str, tuple[str, ...]] = {
    "Content-Security-Policy": (),
    "Strict-Transport-Security": (),
    "X-Content-Type-Options": ("nosniff",),
    "X-Frame-Options": ("deny", "sameorigin"),
    "X-XSS-Protection": (),
}
"""What may be set, and to what; empty for anything."""
_TEXT_ALL_THE_SAME = tuple(f"tag:yaml.org,2002:{kind}" for kind in ("int", "float", "timestamp"))


class TlsServerSection(Section, frozen=True):
    """``tls_server_config``."""

    cert_file: str
    key_file: str
    client_auth_type: Auth = "NoClientCert"
    client_ca_file: str | None = None
    client_allowed_sans: tuple[str, ...] = ()
    min_version: Version = "TLS12"
    max_version: Version = "TLS13"


class HttpServerSection(Section, frozen=True):
    """``http_server_config``; ``http2`` is accepted and changes nothing: HTTP/1.1 is what clients are offered."""

    http2: bool = False
    headers: dict[str, str] = msgspec.field(default_factory=dict)


class WebConfig(Section, frozen=True):
    """The file."""

    hidden: ClassVar[tuple[str, ...]] = ("basic_auth_users",)

    tls_server_config: TlsServerSection | None = None
    http_server_config: HttpServerSection | None = None
    basic_auth_users: dict[str, str] | None = None


FileState = tuple[Path, tuple[int, ...] | None]
"""A file, and what changes when it does; None for one that is not there."""


@dataclass(frozen=True, slots=True)
class Web:
    """What the server does by it.

    Attributes:
        tls: None for plain HTTP.
        allowed_names: alternative names of which a client's certificate must have one; empty for any.
        users: bcrypt hashes by name; empty where nobody has to say who they are.
        fields: header fields of every answer.
        files: what it was read from, as each was before it was read.
        doubts: what is no reason not to serve, and will keep clients out all the same; a sentence each.
    """

    tls: ssl.SSLContext | None = None
    allowed_names: frozenset[str] = frozenset()
    users: dict[bytes, bytes] = field(default_factory=dict)
    fields: tuple[tuple[str, str], ...] = ()
    files: "tuple[FileState, ...]" = ()
    doubts: tuple[str, ...] = ()


def load_web(where: str, file: str) -> Web:
    """Read a web configuration and the certificates that it names, relative to its own folder.

    Args:
        where: the key that names the file.
        file: its path, or ``credential:NAME``.

    Raises:
        UnseenCredentialError: a credential, and there is no directory of credentials.
        ConfigError: it, or a file that it names, is unusable, or a file with secrets is open to others.
    """
    path = _path(file)
    files = [_state(path)]
    config = _config(file, private_file(where, file))
    section = config.tls_server_config
    tls: ssl.SSLContext | None = None
    doubts: tuple[str, ...] = ()
    if section is not None:
        inside = f"{file}: tls_server_config"
        named = [section.cert_file, section.key_file, *filter(None, [section.client_ca_file])]
        files += [_state(path.parent / name) for name in named]
        tls = _context(inside, section, path.parent)
        doubts = _doubts(tls, path.parent / section.cert_file)
    return Web(
        tls=tls,
        allowed_names=frozenset(section.client_allowed_sans if section else ()),
        users=_users(file, config.basic_auth_users or {}),
        fields=_fields(file, config.http_server_config),
        files=tuple(files),
        doubts=doubts,
    )


class WebFile:
    """A web configuration that follows its file, as Prometheus' exporters do: certificates are renewed unattended.

    Args:
        load: reads it.

    """

    def __init__(self, load: Callable[[], Web]) -> None:
        self._load = load
        self._web = load()
        self._seen = self._web.files

    @property
    def doubts(self) -> tuple[str, ...]:
        """Of the one in force; see :class:`Web`."""
        return self._web.doubts

    @classmethod
    def of(cls, file: str) -> "WebFile":
        """Load it.

        Raises:
            ConfigError: see :func:`load_web`.
        """
        return cls(partial(load_web, "metrics.web_config_file", file))

    def current(self) -> Web:
        """Return the one in force; where a file has changed and is good, the new one."""
        seen = tuple(_state(file) for file, _state_then in self._seen)
        if seen != self._seen:
            # Also where it is bad: it is told once, and looked at again when it changes again.
            self._seen = seen
            try:
                self._web = self._load()
            except ConfigError as error:
                structlog.get_logger("metrics").error("web configuration refused; the old one stays", error=str(error))
            else:
                self._seen = self._web.files
                structlog.get_logger("metrics").info("web configuration loaded")
                tell(self)
        return self._web


def tell(web: WebFile) -> None:
    """Log what is doubtful about it."""
    for doubt in web.doubts:
        structlog.get_logger("metrics").warning("clients that verify the certificate are kept out", why=doubt)


def _state(file: Path) -> FileState:
    try:
        status = file.stat()
    except OSError:
        return file, None
    return file, (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_mode)


def _path(file: str) -> Path:
    if file.startswith("credential:"):
        return Path(os.environ.get("CREDENTIALS_DIRECTORY", "")) / file.removeprefix("credential:")
    return Path(file)


def _config(file: str, content: bytes) -> WebConfig:
    raw = {} if (found := _yaml(file, content)) is None else found
    if not isinstance(raw, dict):
        raise ConfigError(file, "holds no table", "write it as docs/security.md shows")
    try:
        return msgspec.convert(raw, WebConfig, strict=True)
    except msgspec.ValidationError as error:
        raise explain(str(error), WebConfig, raw).error(file) from None


def _yaml(file: str, content: bytes) -> Any:
    """Parse YAML; its library is loaded only where there is such a file.

    Raises:
        ConfigError: it is none. No text of it is in the message, for it may be a secret.
    """
    import yaml  # noqa: PLC0415 - a daemon without such a file has no use for it

    class Loader(yaml.SafeLoader):
        """Refuses a key given twice, of which the library would silently take the last; numbers stay text.

        No key is a number, and the toolkit takes ``X-XSS-Protection: 1`` and a user 123 without quotes.
        """

        def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
            keys = [key.value for key, _value in node.value if isinstance(key, yaml.ScalarNode)]
            if len(set(keys)) != len(keys):
                raise yaml.constructor.ConstructorError(None, None, "a key is given twice", node.start_mark)
            return super().construct_mapping(node, deep)

    Loader.yaml_implicit_resolvers = {
        first: [(tag, pattern) for tag, pattern in resolvers if tag not in _TEXT_ALL_THE_SAME]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }
    try:
        return yaml.load(content, Loader)  # noqa: S506 - it is a SafeLoader
    except yaml.MarkedYAMLError as error:
        line = f":{error.problem_mark.line + 1}" if error.problem_mark else ""
        raise ConfigError(f"{file}{line}", f"is not YAML: {error.problem}", "correct the line named") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ConfigError(file, f"is not YAML ({type(error).__name__})", "write it as docs/security.md shows") from None


def _context(where: str, section: TlsServerSection, folder: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    # Nobody needs it, and it lets a client make the server compute (RFC 5246, section 7.4.1.1).
    context.options |= ssl.OP_NO_RENEGOTIATION
    minimum, maximum = _VERSIONS[section.min_version], _VERSIONS[section.max_version]
    if minimum > maximum:
        raise ConfigError(f"{where}.min_version", f"{section.min_version} is above max_version", "swap them")
    context.minimum_version, context.maximum_version = minimum, maximum
    certificate, key = folder / section.cert_file, folder / section.key_file
    private_file(f"{where}.key_file", str(key))
    if b"PRIVATE KEY-----" in _readable(f"{where}.cert_file", certificate):
        # A key in the same file, as some tools write it, is a key all the same.
        private_file(f"{where}.cert_file", str(certificate))

    def no_password() -> str:
        raise ConfigError(f"{where}.key_file", f"{key}: is encrypted", "give a key without a passphrase, mode 0600")

    try:
        context.load_cert_chain(certificate, key, password=no_password)
    except ssl.SSLError as error:
        why = (error.reason or str(error)).lower().replace("_", " ")
        raise ConfigError(
            f"{where}.cert_file", f"{certificate} and {key}: {why}", "give a PEM certificate chain and its own key"
        ) from error
    _ask_for_certificates(where, context, section, folder)
    return context


def _ask_for_certificates(where: str, context: ssl.SSLContext, section: TlsServerSection, folder: Path) -> None:
    context.verify_mode = _VERIFY[section.client_auth_type]
    verifies = context.verify_mode != ssl.CERT_NONE
    if not verifies and (section.client_ca_file or section.client_allowed_sans):
        raise ConfigError(
            f"{where}.client_auth_type",
            "NoClientCert asks for no certificate that could be verified",
            "write RequireAndVerifyClientCert, or remove client_ca_file and client_allowed_sans",
        )
    if not verifies:
        return
    if not section.client_ca_file:
        raise ConfigError(
            f"{where}.client_ca_file", "is missing", "name the PEM file of the authorities that sign clients"
        )
    authorities = folder / section.client_ca_file
    _readable(f"{where}.client_ca_file", authorities)
    try:
        context.load_verify_locations(authorities)
    except ssl.SSLError as error:
        raise ConfigError(
            f"{where}.client_ca_file", f"{authorities}: holds no certificate", "give a PEM file of authorities"
        ) from error


def _doubts(server: ssl.SSLContext, certificate: Path) -> tuple[str, ...]:
    """Say whether a certificate's time has passed, or has not come, as a client finds that trusts it otherwise."""
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname = False
    client.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    client.load_verify_locations(certificate)
    to_client, to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = (client.wrap_bio(to_client, to_server), server.wrap_bio(to_server, to_client, server_side=True))
    for end in (*ends, *ends):
        try:
            end.do_handshake()
        except ssl.SSLWantReadError:
            continue
        except ssl.SSLCertVerificationError as error:
            if error.verify_code in _OUT_OF_TIME:
                return (f"{certificate}: {error.verify_message}; renew it, or set the clock",)
            break
        except ssl.SSLError:
            # Such as a certificate of the client's, which is asked for and not here.
            break
    return ()


def _readable(where: str, file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise ConfigError(
            where, f"{file}: cannot be read: {error.strerror}", "paths are relative to the web configuration's folder"
        ) from error


def _users(file: str, users: dict[str, str]) -> dict[bytes, bytes]:
    for name, hashed in users.items():
        where = f"{file}: basic_auth_users"
        if not name or ":" in name:
            raise ConfigError(where, f"{name!r} cannot be a user's name", "use a name without a colon")
        cost = _HASH.fullmatch(hashed)
        # Not a word of it: who wrote a password where its hash belongs must not find it in the log.
        if cost is None or int(cost[1]) < 4:
            raise ConfigError(f"{where}.{name}", "is no bcrypt hash", "write what `htpasswd -nBC 10 NAME` prints")
        if int(cost[1]) > MAX_COST:
            raise ConfigError(
                f"{where}.{name}", f"a cost of {int(cost[1])} takes too long", f"use 10, and {MAX_COST} at most"
            )
    return {name.encode(): hashed.encode() for name, hashed in users.items()}


def _fields(file: str, section: HttpServerSection | None) -> tuple[tuple[str, str], ...]:
    fields = tuple((section.headers if section else {}).items())
    for name, value in fields:
        where = f"{file}: http_server_config.headers.{name}"
        if name not in _HEADERS:
            raise ConfigError(where, "is no header that may be set", f"use {', '.join(_HEADERS)}")
        if _HEADERS[name] and value not in _HEADERS[name]:
            raise ConfigError(where, f"{value!r} is not known here", f"use {' or '.join(_HEADERS[name])}")
        if not value.isascii() or not value.isprintable():
            raise ConfigError(where, "has characters that no header has", "write it in printable ASCII")
    return fields
