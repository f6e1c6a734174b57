"""From which of this host's addresses, over which of its interfaces, and in which class, a connection leaves."""

import ipaddress
import socket
from dataclasses import dataclass

from daemons.stream.headers import mark

__all__ = ["ANYWHERE", "LocalEnd"]


@dataclass(frozen=True, slots=True)
class LocalEnd:
    """The near end of a connection.

    Attributes:
        address: an address of this host, without a port; empty to let the routes choose.
        interface: the name of the only interface to use (``SO_BINDTODEVICE``, socket(7)); empty for any.
        dscp: the class of its packets (RFC 2474); None for the system's.
    """

    address: str = ""
    interface: str = ""
    dscp: int | None = None

    def fits(self, family: int) -> bool:
        """Say whether the far end may have an address of this family."""
        if not self.address:
            return True
        own = socket.AF_INET6 if ipaddress.ip_address(self.address).version == 6 else socket.AF_INET
        return family == own

    def bind(self, sock: socket.socket) -> None:
        """Let a socket that is not connected yet leave from here.

        Raises:
            OSError: EADDRNOTAVAIL where the address is none of this host's, ENODEV where there is no such interface.
        """
        if self.dscp is not None:
            mark(sock, self.dscp)
        if self.interface:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, self.interface.encode())
        if self.address:
            if sock.type == socket.SOCK_STREAM:
                # The port is chosen at connect(2), for this peer: as many are free as without an address (ip(7)).
                sock.setsockopt(socket.IPPROTO_IP, _IP_BIND_ADDRESS_NO_PORT, 1)
            # Resolved, for bind itself drops the zone of a link-local address (fe80::1%eth0; RFC 4007, section 11).
            sock.bind(socket.getaddrinfo(self.address, 0, type=sock.type, flags=socket.AI_NUMERICHOST)[0][4])

    def __str__(self) -> str:
        return ", ".join(part for part in (self.address, self.interface) if part)


ANYWHERE = LocalEnd()
_IP_BIND_ADDRESS_NO_PORT = 24
"""From linux/in.h; the socket module does not name it. It works for IPv6 sockets too."""
