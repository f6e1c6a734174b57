"""How a path through a forwarder is set, and what its listening end needs to know beside that."""

import ipaddress
from dataclasses import dataclass
from typing import Final, Literal

from daemons.link.messages import Transport
from daemons.secret import Secret
from daemons.sections import Section

__all__ = ["LINK_PORT", "LinkPathSection", "ListenerSettings", "Network"]

LINK_PORT: Final = 8080
"""Where forwarders connect unless told otherwise."""

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class LinkPathSection(Section, frozen=True, kw_only=True, tag_field="kind", tag="link"):
    """``[[path]]`` with ``kind = "link"``: through a forwarder.

    Attributes:
        name: the path's name, a label of every metric: 1 to 64 printable characters, no quotation marks.
        listen: where the forwarder connects, as ``HOST:PORT``. Paths may share it: a forwarder then says by
            ``path_name`` at its destination which one it brings.
        transport: what carries the events; ``udp`` takes TCP as well.
        format: ours, the JSON of the original Rust programs, or either.
        key_file: the secret that the forwarder has too, or several to change from one to the other.
        allowed_sources: addresses and networks that forwarders may come from; empty for anywhere.
    """

    name: str
    listen: str = f"0.0.0.0:{LINK_PORT}"
    transport: Literal["tcp", "udp"] = "tcp"
    format: Literal["binary", "json", "any"] = "binary"
    key_file: str | tuple[str, ...] | None = None
    allowed_sources: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ListenerSettings:
    """Who may send what on a path.

    Attributes:
        section: the path's.
        keys: shared secrets, of which a forwarder has one; empty for none. With a key JSON is refused, for it cannot
            be signed.
        allowed: networks that forwarders may come from; empty for all.
    """

    section: LinkPathSection
    keys: tuple[Secret, ...] = ()
    allowed: tuple[Network, ...] = ()

    @property
    def transports(self) -> frozenset[Transport]:
        """What forwarders may use."""
        return frozenset(Transport) if self.section.transport == "udp" else frozenset((Transport.TCP,))

    def allows(self, host: str) -> bool:
        """Say whether a forwarder may come from an address."""
        if not self.allowed:
            return True
        address = ipaddress.ip_address(host.partition("%")[0])
        if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
            address = address.ipv4_mapped
        return any(address in network for network in self.allowed)
