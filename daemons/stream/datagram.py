"""UDP with a kernel stamp on every datagram."""

import asyncio
import contextlib
import socket
import sys
from collections.abc import Callable

import structlog

from daemons.errors import ListenError
from daemons.records import Stamp
from daemons.stream import headers, stamping
from daemons.stream.departures import Departed, Departures
from daemons.stream.dial import reason_of
from daemons.stream.headers import HEADER_BYTES, ArrivingHeader
from daemons.stream.local_end import ANYWHERE, LocalEnd
from daemons.stream.stamping import ANCILLARY_BYTES, Stamper

__all__ = ["DatagramReceiver", "DatagramSender", "listening_pair", "listening_socket", "prepare_listening"]

SO_RCVBUFFORCE = 33
SO_MEMINFO = 55
_DROPS_INDEX = 8

MAX_DATAGRAM = 65536
READS_A_TURN = 64
"""Datagrams taken in one turn of the loop: enough to keep up, few enough to let timers run."""

PROMPT_NS = 50_000
"""A datagram read within so long of its arrival is taken for the last one; if it is not, the loop calls again."""

STAMP_SECONDS = 0.005
"""How long after a send its transmit stamp is looked for; a device that is slower is seen at the next."""

CHOICES = 16
"""Ports of the kernel's choice that are tried for one that is free for both protocols."""
RECEIVE_BUFFER_BYTES = 8 << 20
SEND_BUFFER_BYTES = 4 << 20


def prepare_listening(sock: socket.socket) -> None:
    """Make a socket that is, or will be, bound fit for events: stamps, and room for a burst of datagrams."""
    sock.setblocking(False)
    stamping.enable(sock)
    if sock.type == socket.SOCK_DGRAM:
        _widen(sock)


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
        prepare_listening(sock)
        if kind == socket.SOCK_STREAM:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(target)
        if kind == socket.SOCK_STREAM:
            sock.listen(128)
    except OSError as error:
        sock.close()
        raise ListenError(
            f"{host}:{port}", f"cannot be listened on: {error.strerror}", "stop what uses it or choose another"
        ) from error
    return sock


def listening_pair(host: str, port: int) -> tuple[socket.socket, socket.socket]:
    """Make a listening TCP socket and a bound UDP one of the same number.

    Args:
        host: name or address; empty for all.
        port: 0 lets the kernel choose, which chooses for one of the two: another is asked for while the other is taken.

    Raises:
        ListenError: as :func:`listening_socket`.
    """
    for attempt in range(1, CHOICES + 1):
        stream = listening_socket(host, port, socket.SOCK_STREAM)
        try:
            return stream, listening_socket(host, stream.getsockname()[1], socket.SOCK_DGRAM)
        except ListenError:
            stream.close()
            if port or attempt == CHOICES:
                raise
    raise AssertionError("the last choice has returned or raised")


def _widen(sock: socket.socket) -> None:
    """Ask for a large receive buffer, past the system's limit if we may; say so if we get less."""
    try:
        sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, RECEIVE_BUFFER_BYTES)
    except PermissionError:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
    # The kernel doubles what it grants, for its own bookkeeping (socket(7)).
    granted = sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) // 2
    if granted < RECEIVE_BUFFER_BYTES:
        structlog.get_logger("socket").warning(
            "receive buffer is smaller than asked for; bursts may be lost",
            granted_bytes=granted,
            wanted_bytes=RECEIVE_BUFFER_BYTES,
            remedy=f"sysctl net.core.rmem_max={RECEIVE_BUFFER_BYTES}",
        )


class DatagramReceiver:
    """Reads a bound UDP socket.

    Args:
        sock: bound, non-blocking, with stamping enabled.
        stamper: makes the stamps.
        on_datagram: called with the bytes, the stamp and the sender's address of each datagram.

    Attributes:
        header: of the datagram in hand, of the first after each :meth:`look`; else None.
    """

    def __init__(
        self, sock: socket.socket, stamper: Stamper, on_datagram: Callable[[bytes, Stamp, tuple[str, int]], None]
    ) -> None:
        self._socket = sock
        self._reader = stamper.reader(sock)
        self._on_datagram = on_datagram
        self._dropped_at_close = 0
        self.header: ArrivingHeader | None = None
        self._loop = asyncio.get_running_loop()

    @property
    def dropped(self) -> int:
        """Datagrams that the kernel threw away because this socket's buffer was full (sock_diag(7))."""
        if self._socket.fileno() < 0:
            return self._dropped_at_close
        information = self._socket.getsockopt(socket.SOL_SOCKET, SO_MEMINFO, 4 * (_DROPS_INDEX + 1))
        return int.from_bytes(information[4 * _DROPS_INDEX :], sys.byteorder)

    def start(self) -> None:
        """Begin to read."""
        self._loop.add_reader(self._socket.fileno(), self._on_readable)

    def look(self) -> None:
        """Have the next datagram come with its header."""
        headers.ask(self._socket, on=True)

    def close(self) -> None:
        """Stop reading and close the socket."""
        self._dropped_at_close = self.dropped
        self._loop.remove_reader(self._socket.fileno())
        self._socket.close()

    def _on_readable(self) -> None:
        receive = self._socket.recvmsg
        for _turn in range(READS_A_TURN):
            try:
                data, ancillary, _flags, source = receive(MAX_DATAGRAM, ANCILLARY_BYTES + HEADER_BYTES)
            except (BlockingIOError, InterruptedError):
                return
            except OSError:
                # A pending ICMP error of an earlier datagram; the socket itself is fine.
                continue
            stamp = self._reader.stamp(ancillary)
            if len(ancillary) > 1:
                self.header = headers.parse(ancillary)
                headers.ask(self._socket, on=False)
            self._on_datagram(data, stamp, (source[0], source[1]))
            self.header = None
            if stamp.handled_ns - stamp.ns < PROMPT_NS:
                # It did not wait, so nothing waits behind it; a read that finds nothing is not cheap.
                return


class DatagramSender:
    """A UDP socket connected to one peer.

    Args:
        target: the peer's address and port.
        family: its address family.
        on_writable: called when the kernel has room again after :meth:`send` returned False.
        on_refused: called when the peer's host said that nobody listens for an earlier datagram (ICMP port
            unreachable); the kernel reports one for any number of them.
        local: where datagrams leave this host.

    Raises:
        StreamError: there is no route, or no descriptor left.
    """

    def __init__(
        self,
        target: tuple[str, int],
        family: int,
        on_writable: Callable[[], None],
        on_refused: Callable[[], None],
        local: LocalEnd = ANYWHERE,
    ) -> None:
        where = f"{target[0]}:{target[1]}"
        try:
            self._socket = socket.socket(family, socket.SOCK_DGRAM)
        except OSError as error:
            raise reason_of(error, where) from error
        try:
            self._socket.setblocking(False)
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
            local.bind(self._socket)
            self._socket.connect(target)
        except OSError as error:
            self._socket.close()
            raise reason_of(error, where) from error
        self._on_writable = on_writable
        self._loop = asyncio.get_running_loop()
        self._on_refused = on_refused
        self._departures: Departures | None = None
        self.blocked = False

    def stamp_departures(self) -> None:
        """Let :meth:`send_stamped` work."""
        with contextlib.suppress(OSError):
            self._departures = Departures(self._socket)

    def send_stamped(self, datagram: bytes, told: Departed) -> bool:
        """Send as :meth:`send` does, and tell when it left this host, where the kernel says so.

        Raises:
            StreamError: as :meth:`send`.
        """
        departures = self._departures
        if departures is None:
            return self.send(datagram)
        # What an earlier one left behind, if it came late.
        departures.drain()
        try:
            try:
                self._socket.sendmsg((datagram,), departures.ask)
            except ConnectionRefusedError:
                # As in :meth:`send`, which would not learn of it any more.
                self._on_refused()
                self._socket.sendmsg((datagram,), departures.ask)
        except OSError:
            # As if it had not been asked for: what is wrong will show again.
            return self.send(datagram)
        departures.asked(told)
        # No reader: nothing else would look, and nothing is disturbed by a stamp that waits.
        self._loop.call_later(STAMP_SECONDS, departures.drain)
        return True

    def send(self, datagram: bytes) -> bool:
        """Send a datagram; False when the kernel has no room for it now.

        Raises:
            StreamError: the datagram cannot be sent at all.
        """
        try:
            try:
                self._socket.send(datagram)
            except ConnectionRefusedError:
                # Reported for an earlier datagram; this one was not sent yet.
                self._on_refused()
                self._socket.send(datagram)
        except BlockingIOError:
            if not self.blocked:
                self.blocked = True
                self._loop.add_writer(self._socket.fileno(), self._on_room)
            return False
        except OSError as error:
            raise reason_of(error, "udp") from error
        return True

    def close(self) -> None:
        """Close the socket."""
        if self.blocked:
            self._loop.remove_writer(self._socket.fileno())
        self._socket.close()

    def _on_room(self) -> None:
        self.blocked = False
        self._loop.remove_writer(self._socket.fileno())
        self._on_writable()
