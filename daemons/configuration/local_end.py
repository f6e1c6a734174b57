"""Where connections leave this host, as it is configured."""

import ipaddress

from daemons.errors import ConfigError
from daemons.stream.local_end import LocalEnd

__all__ = ["check_source", "local_end"]

_BROADCAST = ipaddress.IPv4Address("255.255.255.255")
_LONGEST = 15
"""Of an interface's name: IFNAMSIZ with its end (netdevice(7))."""


def local_end(where: str, source_address: str | None, interface: str | None, dscp: int | None = None) -> LocalEnd:
    """Check what a section says of it.

    Raises:
        ConfigError: one of them can be no address, or no interface's name.
    """
    if source_address is not None:
        check_source(f"{where}.source_address", source_address, interface)
    if interface is not None and (
        not 0 < len(interface.encode()) <= _LONGEST or "/" in interface or any(one.isspace() for one in interface)
    ):
        raise ConfigError(f"{where}.interface", f"{interface!r} is no interface's name", "see ip link")
    return LocalEnd(source_address or "", interface or "", dscp)


def check_source(where: str, text: str, interface: str | None = None) -> None:
    """Refuse an address that no connection of this host can leave from.

    Whether it is this host's shows when it is used: an interface may get it later than the program starts.

    Args:
        where: the key of the configuration.
        text: the address.
        interface: the interface to leave by, where one is named.

    Raises:
        ConfigError: it is no address, or one that only destinations have (RFC 1122, section 3.2.1.3; RFC 4291, 2.4).
    """
    try:
        address = ipaddress.ip_address(text)
    except ValueError as error:
        raise ConfigError(where, f"{text!r} is no IP address", "write one of this host's, without a port") from error
    if address.is_multicast:
        raise ConfigError(where, f"{text} is a group's address", "write one of this host's own")
    if address.is_unspecified:
        raise ConfigError(where, f"{text} is no address of a host", "leave it out to let the routes choose")
    if isinstance(address, ipaddress.IPv4Address):
        if address == _BROADCAST:
            raise ConfigError(where, f"{text} is everybody's address", "write one of this host's own")
    elif address.ipv4_mapped is not None:
        raise ConfigError(where, f"{text} is an IPv4 address in IPv6 form", f"write {address.ipv4_mapped}")
    elif address.is_link_local and address.scope_id is None and not interface:
        # bind(2) takes none without its link (RFC 4007, section 6).
        raise ConfigError(where, f"{text} is an address on every link", f"write {text}%INTERFACE, or add `interface`")
