"""Transmit stamps: when the kernel handed what we sent to the device, and when the peer's kernel had it.

See the kernel's Documentation/networking/timestamping.rst, sections 1.3.1, 1.3.4 and 2.1. Asked for with single sends
(a control message), so that all others cost what they did. The stamps come back in the socket's error queue, which the
event loop takes for an error of the socket until it is empty: whoever owns the socket has to :meth:`Departures.drain`.
"""

import socket
import struct
from collections.abc import Callable
from typing import Final

from daemons.stream.stamping import SO_TIMESTAMPING

__all__ = ["ERROR_QUEUE_BYTES", "Departed", "Departures", "parse"]

_RX_SOFTWARE: Final = 1 << 3
_SOFTWARE: Final = 1 << 4
_TX_SOFTWARE: Final = 1 << 1
_OPT_ID: Final = 1 << 7
_TX_ACK: Final = 1 << 9
_OPT_TSONLY: Final = 1 << 11
"""Nothing of what was sent comes back with its stamp."""

_EXTENDED_ERROR: Final = struct.Struct("=IBBBBII")
"""``struct sock_extended_err`` of include/uapi/linux/errqueue.h: errno, origin, type, code, padding, info, data."""
_ORIGIN_TIMESTAMPING: Final = 4
_SENT, _ACKNOWLEDGED = 0, 2
_ERRORS: Final = {(socket.IPPROTO_IP, 11), (socket.IPPROTO_IPV6, 25)}
"""IP_RECVERR and IPV6_RECVERR, under which the extended error comes (ip(7), ipv6(7))."""
_TIMES: Final = struct.Struct("qq")
ERROR_QUEUE_BYTES: Final = 256
"""Room for a stamp and an extended error with its address."""
MOST_AT_ONCE: Final = 64

Ancillary = list[tuple[int, int, bytes]]
Departed = Callable[[int, int | None], None]
"""Told when what was sent left, and, over TCP, when it was acknowledged, by the wall clock."""


def parse(ancillary: Ancillary) -> tuple[int, int, int] | None:
    """Read a message of the error queue: which moment, of which send, at what time; None when it is no stamp."""
    ns, moment, number = 0, -1, 0
    for level, kind, data in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, SO_TIMESTAMPING) and len(data) >= _TIMES.size:
            seconds, nanoseconds = _TIMES.unpack_from(data)
            ns = seconds * 1_000_000_000 + nanoseconds
        elif (level, kind) in _ERRORS and len(data) >= _EXTENDED_ERROR.size:
            _errno, origin, _type, _code, _pad, info, number = _EXTENDED_ERROR.unpack_from(data)
            moment = info if origin == _ORIGIN_TIMESTAMPING else -1
    # Hardware stamps come without the first of the three times.
    return (moment, number, ns) if ns and moment in (_SENT, _ACKNOWLEDGED) else None


class Departures:
    """The transmit stamps of one socket, of one send at a time.

    Args:
        sock: connected; over TCP nothing written to it may be on its way, for its bytes are counted from here.

    Attributes:
        ask: what to send along with what is to be stamped.
        unmatched: stamps of sends that nobody waits for any more.
    """

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self._stream = sock.type == socket.SOCK_STREAM
        flags = _RX_SOFTWARE | _SOFTWARE | _OPT_ID | _OPT_TSONLY
        sock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPING, flags)
        wanted = _TX_SOFTWARE | (_TX_ACK if self._stream else 0)
        self.ask: Ancillary = [(socket.SOL_SOCKET, SO_TIMESTAMPING, struct.pack("I", wanted))]
        self._asked = 0
        self._number = -1
        self._sent_ns: int | None = None
        self._told: Departed | None = None
        self.unmatched = 0

    def asked(self, told: Departed | None, last_byte: int = 0) -> None:
        """Note that something was sent with :attr:`ask`; what was waited for before is not any more.

        Args:
            told: called once its stamps are there; None where they would not be of what was meant.
            last_byte: over TCP, the place of its last byte, from 0 on.
        """
        # Datagrams are counted by the kernel, and only those that a stamp was asked for; of bytes, all.
        self._number = (last_byte if self._stream else self._asked) & 0xFFFFFFFF
        self._asked += 1
        self._sent_ns = None
        self._told = told

    def drain(self) -> bool:
        """Take all stamps that have come; return whether there were any."""
        found = False
        # Between two looks no more than a few can come; the bound is for a kernel that we do not know.
        for _turn in range(MOST_AT_ONCE):
            try:
                ancillary = self._socket.recvmsg(0, ERROR_QUEUE_BYTES, socket.MSG_ERRQUEUE)[1]
            except OSError:
                # The queue is empty; or the socket is closed or broken, which its owner's own reads and writes tell.
                break
            found = True
            if (stamp := parse(ancillary)) is not None:
                self._take(*stamp)
        return found

    def _take(self, moment: int, number: int, ns: int) -> None:
        if self._told is None or number != self._number:
            self.unmatched += 1
        elif moment == _SENT and self._stream:
            # A retransmission is stamped again; the event left with the first.
            self._sent_ns = self._sent_ns or ns
        elif moment == _SENT:
            self._finish(ns, None)
        elif self._sent_ns is None:
            # The first stamp found no room in the queue.
            self.unmatched += 1
            self._told = None
        else:
            self._finish(self._sent_ns, ns)

    def _finish(self, sent_ns: int, acknowledged_ns: int | None) -> None:
        told, self._told = self._told, None
        assert told is not None
        told(sent_ns, acknowledged_ns)
