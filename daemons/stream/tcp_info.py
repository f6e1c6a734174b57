"""TCP's own view of a connection: what the kernel measured of its round trips, losses and queues (TCP_INFO).

The layout is that of ``struct tcp_info`` in the kernel's include/uapi/linux/tcp.h, which only ever grows at its end; a
kernel that knows less of it gives less, and what it does not give is None, as is what TCP has not measured yet.
"""

import contextlib
import socket
import struct
from fcntl import ioctl
from typing import Final

import msgspec

__all__ = ["OUT_OF_ORDER_AT", "SINCE_DATA_AT", "SIZE", "TcpAccount", "TcpInfo", "parse", "read"]

_SIOCOUTQ: Final = 0x5411
"""Bytes that the peer has not acknowledged, sent or not (tcp(7)); ss shows them as Send-Q."""
SIZE: Final = 232
_UNMEASURED: Final = (1 << 32) - 1
"""The least round trip before the first (``minmax_reset`` to ~0U), which is no time."""

_U32: Final = struct.Struct("=I").unpack_from
# Offsets in bytes: eight of a byte each, then words of 32 bits up to 104, of mixed size after it.
_RTT, _RTTVAR, _REORDERING, _TOTAL_RETRANS = 68, 72, 88, 100
_NOTSENT, _MIN_RTT = 144, 148
_REORD_SEEN = 220
SINCE_DATA_AT: Final = 52
"""Where it says how many milliseconds ago data came last (``tcpi_last_data_recv``), in steps of a clock tick."""
OUT_OF_ORDER_AT: Final = 224
"""Where it says how many packets came out of order (``tcpi_rcv_ooopack``, since Linux 5.4)."""


class TcpInfo(msgspec.Struct, frozen=True):
    """What TCP knows of a connection; None where this kernel does not tell, or nothing was measured.

    Attributes:
        rtt_ns: smoothed round trip of what we sent (RFC 6298).
        rttvar_ns: its mean deviation.
        least_rtt_ns: the shortest of late.
        retransmitted: segments sent again, ever.
        reordering: the segments by which an acknowledgement may be late before it means a loss.
        reorderings: how often packets of ours were seen to overtake each other.
        out_of_order: packets that came before one that should have come first: it was lost, or overtaken.
        unsent_bytes: written by us, and still in the kernel.
    """

    rtt_ns: int | None
    rttvar_ns: int | None
    least_rtt_ns: int | None
    retransmitted: int
    reordering: int
    reorderings: int | None
    out_of_order: int | None
    unsent_bytes: int | None


def parse(data: bytes) -> TcpInfo:
    """Read the bytes of a ``struct tcp_info``, of whatever length."""

    def word(at: int) -> int | None:
        return int(_U32(data, at)[0]) if at + 4 <= len(data) else None

    rtt, least = word(_RTT), word(_MIN_RTT)
    # Before the first round trip the smoothed one is 0, and its deviation a guess of 250 ms (RFC 6298, section 2).
    measured = bool(rtt)
    rttvar = word(_RTTVAR)
    return TcpInfo(
        rtt_ns=rtt * 1000 if rtt else None,
        rttvar_ns=rttvar * 1000 if measured and rttvar is not None else None,
        least_rtt_ns=None if least in (None, _UNMEASURED) or not measured else least * 1000,
        retransmitted=word(_TOTAL_RETRANS) or 0,
        reordering=word(_REORDERING) or 0,
        reorderings=word(_REORD_SEEN),
        out_of_order=word(OUT_OF_ORDER_AT),
        unsent_bytes=word(_NOTSENT),
    )


def read(sock: socket.socket) -> TcpInfo:
    """Ask the kernel; about a microsecond.

    Raises:
        OSError: the socket is closed, or no TCP socket.
    """
    return parse(sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, SIZE))


def send_queue_bytes(sock: socket.socket) -> int:
    """Return how many bytes written to a TCP socket its peer has not acknowledged.

    Raises:
        OSError: the socket is closed.
    """
    return int(struct.unpack("i", ioctl(sock.fileno(), _SIOCOUTQ, b"\0\0\0\0"))[0])


class TcpAccount:
    """What TCP says of the connections of one link or feed, one after the other or side by side.

    Counts go on over reconnects: what a connection had counted is kept when it ends.

    Args:
        whole: the account of all, where this one is of some of its connections.
    """

    def __init__(self, whole: "TcpAccount | None" = None) -> None:
        self._whole = whole
        self._open: dict[socket.socket, TcpInfo] = {}
        self._ended: dict[str, int | None] = dict.fromkeys(_COUNTED, 0)

    def add(self, sock: socket.socket) -> None:
        """Take in a connected socket; it must be taken out again before it is closed."""
        if self._whole is not None:
            self._whole.add(sock)
        try:
            self._open[sock] = info = read(sock)
        except OSError:
            # It was cut between its last word and this.
            return
        for name in _COUNTED:
            if getattr(info, name) is None:
                self._ended[name] = None

    def discard(self, sock: socket.socket) -> None:
        """Keep the counts of a socket that is about to be closed."""
        if self._whole is not None:
            self._whole.discard(sock)
        last = self._open.pop(sock, None)
        if last is not None:
            last = _read_or(sock, last)
            for name in _COUNTED:
                ended = self._ended[name]
                self._ended[name] = None if ended is None else ended + (getattr(last, name) or 0)

    def now(self) -> list[TcpInfo]:
        """Ask the kernel about each connection that is open."""
        for sock, last in self._open.items():
            self._open[sock] = _read_or(sock, last)
        return list(self._open.values())

    def send_queue_bytes(self) -> int:
        """Return what all of them together have written and the peers have not acknowledged."""
        total = 0
        for sock in self._open:
            # Of a descriptor that is closed (-1) ioctl says ValueError.
            with contextlib.suppress(OSError, ValueError):
                total += send_queue_bytes(sock)
        return total

    def total(self, name: str) -> int | None:
        """Return a count over all connections ever: ``retransmitted``, ``reorderings`` or ``out_of_order``.

        None where this kernel does not tell: 0 would say that there were none.
        """
        ended = self._ended[name]
        return None if ended is None else ended + sum(getattr(info, name) or 0 for info in self._open.values())


_COUNTED: Final = ("retransmitted", "reorderings", "out_of_order")


def _read_or(sock: socket.socket, last: TcpInfo) -> TcpInfo:
    try:
        return read(sock)
    except OSError:
        return last
