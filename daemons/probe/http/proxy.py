"""The HTTP proxy that a request goes through, and what it must be told of us."""

import base64
from dataclasses import dataclass, field

from daemons.configuration.probe import RequestSection, parsed_proxy
from daemons.errors import ConfigError
from daemons.service.distribution import installed_version
from daemons.service.settings.config import private_file

__all__ = ["USER_AGENT", "Proxy", "authority_of", "proxy_of"]

_SCHEME = "Basic "
USER_AGENT = f"latency-probe/{installed_version()}"


@dataclass(frozen=True, slots=True)
class Proxy:
    """Where the proxy is and how it knows us.

    Attributes:
        host: name or address; only this is resolved here, the target's name is the proxy's to resolve.
        port: TCP port.
        authorization: the value of Proxy-Authorization; empty for none. A secret: in no message, page or record.
    """

    host: str
    port: int
    authorization: str = field(default="", repr=False)

    @property
    def authority(self) -> str:
        """Host and port, as a URL has them."""
        return authority_of(self.host, self.port)

    @property
    def secrets(self) -> tuple[str, ...]:
        """What of it must not be shown: user and password, as they are sent and as they were written."""
        encoded = self.authorization.removeprefix(_SCHEME)
        _user, _colon, password = base64.b64decode(encoded).decode("utf-8", "replace").partition(":")
        return (encoded, password)


def authority_of(host: str, port: int) -> str:
    """Join host and port as URLs and CONNECT have them (RFC 3986, section 3.2).

    >>> authority_of("api.example.com", 443), authority_of("2001:db8::1", 443)
    ('api.example.com:443', '[2001:db8::1]:443')
    """
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def proxy_of(section: RequestSection, where: str) -> Proxy | None:
    """Make the proxy of a section, which has been checked; None for the direct way.

    Raises:
        ConfigError: the file of credentials cannot be used.
    """
    if not section.proxy:
        return None
    host, port = parsed_proxy(f"{where}.proxy", section.proxy)
    file = section.proxy_credentials_file
    return Proxy(host, port, _basic(f"{where}.proxy_credentials_file", file) if file else "")


def _basic(where: str, file: str) -> str:
    """Encode user and password (RFC 7617, section 2): the first colon divides them, control characters are refused."""
    content = private_file(where, file).strip(b"\r\n")
    user, colon, _password = content.partition(b":")
    if not colon or not user or any(byte < 0x20 or byte == 0x7F for byte in content):
        raise ConfigError(where, f"{file}: is not one line USER:PASSWORD", "write it so")
    return _SCHEME + base64.b64encode(content).decode()
