"""UDP with a kernel stamp on every datagram."""

import asyncio
import socket
from collections.abc import Callable

from daemons.errors import ListenError
from daemons.records import Stamp
from daemons.stream import stamping
from daemons.stream.stamping import ANCILLARY_BYTES, Stamper

__all__ = ["DatagramReceiver", "listening_socket"]

MAX_DATAGRAM = 65536
READS_A_TURN = 64
"""Datagrams taken in one turn of the loop: enough to keep up, few enough to let timers run."""

RECEIVE_BUFFER_BYTES = 8 << 20


def listening_socket(host: str, port: int, kind: socket.SocketKind) -> socket.socket:
    """Make a bound (for TCP, listening) socket with stamping on.

    Args:
        host: name or address; empty for all.
        port: 0 lets the kernel choose.
        kind: SOCK_STREAM or SOCK_DGRAM.

    Raises:
        ListenError: the address is in use, not ours, or not permitted.
    """
    try:
        found = socket.getaddrinfo(host or None, port, type=kind, flags=socket.AI_PASSIVE)
        family, _kind, protocol, _canonical, target = found[0]
        sock = socket.socket(family, kind, protocol)
    except OSError as error:
        raise ListenError(
            f"{host}:{port}", f"not an address: {error.strerror}", "write an address of this host"
        ) from error
    try:
        sock.setblocking(False)
        stamping.enable(sock)
        if kind == socket.SOCK_STREAM:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        else:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
        sock.bind(target)
        if kind == socket.SOCK_STREAM:
            sock.listen(128)
    except OSError as error:
        sock.close()
        raise ListenError(
            f"{host}:{port}", f"cannot be listened on: {error.strerror}", "stop what uses it or choose another"
        ) from error
    return sock


class DatagramReceiver:
    """Reads a bound UDP socket.

    Args:
        sock: bound, non-blocking, with stamping enabled.
        stamper: makes the stamps.
        on_datagram: called with the bytes, the stamp and the sender's address of each datagram.
    """

    def __init__(
        self, sock: socket.socket, stamper: Stamper, on_datagram: Callable[[bytes, Stamp, tuple[str, int]], None]
    ) -> None:
        self._socket = sock
        self._reader = stamper.reader()
        self._on_datagram = on_datagram
        self._loop = asyncio.get_running_loop()

    def start(self) -> None:
        """Begin to read."""
        self._loop.add_reader(self._socket.fileno(), self._on_readable)

    def close(self) -> None:
        """Stop reading and close the socket."""
        self._loop.remove_reader(self._socket.fileno())
        self._socket.close()

    def _on_readable(self) -> None:
        receive = self._socket.recvmsg
        for _turn in range(READS_A_TURN):
            try:
                data, ancillary, _flags, source = receive(MAX_DATAGRAM, ANCILLARY_BYTES)
            except (BlockingIOError, InterruptedError):
                return
            except OSError:
                # A pending ICMP error of an earlier datagram; the socket itself is fine.
                continue
            self._on_datagram(data, self._reader.stamp(ancillary), (source[0], source[1]))
