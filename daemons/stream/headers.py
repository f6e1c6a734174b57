"""What the headers of arriving packets say of the way: how many hops are left (TTL, hop limit), and the class (DSCP).

Of datagrams the kernel tells it with a read, if it is asked (ip(7), ipv6(7)): that is done for single ones, so that all
others cost what they did. Of TCP it keeps, for accepted sockets alone, what the last packet of the handshake had.
"""

import contextlib
import socket
import struct
import sys
from dataclasses import dataclass, field
from typing import Final

__all__ = ["HEADER_BYTES", "ArrivingHeader", "Headers", "ask", "mark", "of_handshake", "parse"]

# Of include/uapi/linux/in.h and in6.h; Python does not name all of them.
_IP_RECVTTL, _IP_PKTOPTIONS, _IPV6_PKTOPTIONS = 12, 9, 6
_ASKED: Final = (
    (socket.IPPROTO_IP, _IP_RECVTTL),
    (socket.IPPROTO_IP, socket.IP_RECVTOS),
    (socket.IPPROTO_IPV6, socket.IPV6_RECVHOPLIMIT),
    (socket.IPPROTO_IPV6, socket.IPV6_RECVTCLASS),
)
_TTL: Final = {(socket.IPPROTO_IP, socket.IP_TTL), (socket.IPPROTO_IPV6, socket.IPV6_HOPLIMIT)}
_TOS: Final = {(socket.IPPROTO_IP, socket.IP_TOS), (socket.IPPROTO_IPV6, socket.IPV6_TCLASS)}
HEADER_BYTES: Final = 2 * socket.CMSG_SPACE(4)
"""Room for both beside the stamp."""
_CMSG: Final = struct.Struct("@Nii")
_HOSTS: Final = 64
_DSCP_SHIFT: Final = 2
"""Below it are the two bits of congestion notification (RFC 3168, section 5)."""

Ancillary = list[tuple[int, int, bytes]]


@dataclass(frozen=True, slots=True)
class ArrivingHeader:
    """Of one packet; None where the kernel did not tell."""

    ttl: int | None
    dscp: int | None


@dataclass(slots=True)
class Headers:
    """The newest of a path.

    Attributes:
        ttl: hops left.
        dscp: class.
        ttl_changes: times that the hops left of one host's packets were others than before: another route.
    """

    ttl: int | None = None
    dscp: int | None = None
    ttl_changes: int = 0
    _of: dict[str, int] = field(default_factory=dict)

    def take(self, host: str, header: ArrivingHeader) -> None:
        """Take in what a packet of a host had."""
        if header.ttl is not None:
            self.ttl = header.ttl
            self.ttl_changes += self._of.get(host, header.ttl) != header.ttl
            if host not in self._of and len(self._of) >= _HOSTS:
                del self._of[next(iter(self._of))]
            self._of[host] = header.ttl
        if header.dscp is not None:
            self.dscp = header.dscp


def mark(sock: socket.socket, dscp: int) -> None:
    """Give all that a socket sends a class (RFC 2474).

    Raises:
        OSError: the kernel does not.
    """
    if sock.family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_TCLASS, dscp << _DSCP_SHIFT)
    # Of a socket of IPv6 this is of what goes to addresses of IPv4.
    sock.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, dscp << _DSCP_SHIFT)


def ask(sock: socket.socket, *, on: bool) -> None:
    """Have the kernel tell with each read from now on, or no longer."""
    for level, option in _ASKED:
        # Those of the other family are refused.
        with contextlib.suppress(OSError):
            sock.setsockopt(level, option, on)


def parse(ancillary: Ancillary) -> ArrivingHeader | None:
    """Read what came with a read; None where neither did."""
    ttl = dscp = None
    for level, kind, data in ancillary:
        # TOS comes as a byte, all others as an int.
        value = int.from_bytes(data, sys.byteorder) if len(data) in (1, 4) else None
        if value is None:
            continue
        if (level, kind) in _TTL:
            ttl = value
        elif (level, kind) in _TOS:
            dscp = (value & 0xFF) >> _DSCP_SHIFT
    return None if ttl is None and dscp is None else ArrivingHeader(ttl, dscp)


def of_handshake(sock: socket.socket) -> ArrivingHeader | None:
    """Return what the packet had that completed the handshake of an accepted TCP socket; None where nobody knows."""
    try:
        # A socket of IPv6 may have a peer of IPv4, and then knows nothing of its own family.
        six = sock.family == socket.AF_INET6 and not sock.getpeername()[0].startswith("::ffff:")
        options = (socket.IPPROTO_IPV6, _IPV6_PKTOPTIONS) if six else (socket.IPPROTO_IP, _IP_PKTOPTIONS)
        ask(sock, on=True)
        found = _messages(sock.getsockopt(*options, 256))
        ask(sock, on=False)
    except OSError:
        # It has been cut, or is no socket of either family.
        return None
    return parse(found)


def _messages(data: bytes) -> Ancillary:
    """Cut control messages apart, as CMSG_NXTHDR does (cmsg(3))."""
    found: Ancillary = []
    while len(data) >= _CMSG.size:
        length, level, kind = _CMSG.unpack_from(data)
        if not _CMSG.size <= length <= len(data):
            break
        found.append((level, kind, data[_CMSG.size : length]))
        data = data[(length + 7) & ~7 :]
    return found
