"""Where connections leave this host, as it is configured."""

import ipaddress

from daemons.errors import ConfigError
from daemons.stream.local_end import LocalEnd

__all__ = ["local_end"]

_LONGEST = 15
"""Of an interface's name: IFNAMSIZ with its end (netdevice(7))."""


def local_end(where: str, source_address: str | None, interface: str | None, dscp: int | None = None) -> LocalEnd:
    """Check what a section says of it.

    Raises:
        ConfigError: one of them can be no address, or no interface's name.
    """
    if source_address is not None:
        try:
            ipaddress.ip_address(source_address)
        except ValueError as error:
            raise ConfigError(
                f"{where}.source_address",
                f"{source_address!r} is no IP address",
                "write one of this host's, without a port",
            ) from error
    if interface is not None and (
        not 0 < len(interface.encode()) <= _LONGEST or "/" in interface or any(one.isspace() for one in interface)
    ):
        raise ConfigError(f"{where}.interface", f"{interface!r} is no interface's name", "see ip link")
    return LocalEnd(source_address or "", interface or "", dscp)
