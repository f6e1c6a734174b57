"""What a listening end of a link needs to know."""

import ipaddress
from dataclasses import dataclass
from typing import Literal

from daemons.link.messages import Transport
from daemons.secret import Secret

__all__ = ["ListenerSettings", "Network"]

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True, slots=True)
class ListenerSettings:
    """Who may send what on a path.

    Attributes:
        path: the path's name.
        transports: what forwarders may use.
        formats: ``binary``, ``json`` or ``any``.
        keys: shared secrets, of which a forwarder has one; empty for none. With a key JSON is refused, for it cannot
            be signed.
        allowed: networks that forwarders may come from; empty for all.
    """

    path: str
    transports: frozenset[Transport] = frozenset((Transport.TCP,))
    formats: Literal["binary", "json", "any"] = "binary"
    keys: tuple[Secret, ...] = ()
    allowed: tuple[Network, ...] = ()

    def allows(self, host: str) -> bool:
        """Say whether a forwarder may come from an address."""
        if not self.allowed:
            return True
        address = ipaddress.ip_address(host.partition("%")[0])
        if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
            address = address.ipv4_mapped
        return any(address in network for network in self.allowed)
