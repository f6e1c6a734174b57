"""The socket seam: a TCP connection whose reads come as (bytes, stamp), with TLS or without.

Everything above this module is told of bytes and stamps, and hands down bytes; nothing above it touches a socket.
"""

import asyncio
import contextlib
import socket
from collections.abc import Callable

from daemons.errors import StreamError, brief
from daemons.reasons import StreamReason
from daemons.records import LATE_NS, Stamp, inexact
from daemons.stream.departures import Departed, Departures
from daemons.stream.dial import reason_of
from daemons.stream.disorder import Disorder
from daemons.stream.headers import ArrivingHeader, of_handshake
from daemons.stream.stamping import ANCILLARY_BYTES, Ancillary, Stamper
from daemons.stream.tcp_info import TcpAccount
from daemons.stream.tls import TlsSession

__all__ = ["Connection"]

READ_BYTES = 262144
MAX_UNSENT = 1 << 20
"""What may wait for a peer that does not read, before it is given up."""
SEND_BYTES = 262144
FAREWELL_SECONDS = 1.0
"""How long a peer is waited for that is to read our last: four round trips of the longest way there is."""
DISCARD_BYTES = 65536
LAST_READS = 64
"""More than hold what the kernel keeps for us at most."""
_views = (memoryview(bytearray(READ_BYTES)),)
"""Where all connections read, in turn, for what was read is copied out at once: so a crowd of them costs no memory."""


class Connection:
    """A connected TCP socket driven by the event loop.

    Args:
        sock: connected and non-blocking, with stamping enabled.
        stamper: makes the stamps.
        on_data: called with the bytes of each read and its stamp: of the packet that brought the last of them.
        on_close: called once, with None when the peer closed in order, else with what broke.
        on_writable: called when everything written has gone to the kernel after it could not at once.
        tls: the session, its handshake complete.
        peer: the other side, for messages.
        max_unsent: bytes that may wait for room in the kernel; a peer that reads so little is given up (``unread``).
    """

    def __init__(
        self,
        sock: socket.socket,
        stamper: Stamper,
        *,
        on_data: Callable[[bytes, Stamp], None],
        on_close: Callable[[StreamError | None], None],
        on_writable: Callable[[], None] | None = None,
        tls: TlsSession | None = None,
        peer: str = "",
        max_unsent: int = MAX_UNSENT,
    ) -> None:
        self._socket = sock
        self._fd = sock.fileno()
        self._stamper = stamper
        self._reader = stamper.reader(sock)
        self._disorder = Disorder(sock)
        self._on_data = on_data
        self._on_close = on_close
        self._on_writable = on_writable
        self._tls = tls
        self.peer = peer
        self._loop = asyncio.get_running_loop()
        self._max_unsent = max_unsent
        self._unsent = bytearray()
        self._open = True
        self._tcp: TcpAccount | None = None
        self._departures: Departures | None = None
        self._written = 0

    @property
    def is_open(self) -> bool:
        """Whether :meth:`close` was not called and nothing broke."""
        return self._open

    @property
    def blocked(self) -> bool:
        """Whether bytes written still wait for room in the kernel's buffer."""
        return bool(self._unsent)

    @property
    def header(self) -> ArrivingHeader | None:
        """What the last packet of the handshake had, of a socket that was accepted."""
        return of_handshake(self._socket) if self._open else None

    def start(self) -> None:
        """Begin to read; plain bytes that came with the end of the TLS handshake are delivered at once."""
        self._loop.add_reader(self._fd, self._on_readable)
        if self._tls is not None:
            self._take(b"", self._reader.stamp([]))

    def observe_tcp(self, account: TcpAccount) -> None:
        """Let this account ask the kernel about the connection, from now until it is closed."""
        if self._open:
            self._tcp = account
            account.add(self._socket)

    def stamp_departures(self) -> None:
        """Let :meth:`write_stamped` work; before anything was written."""
        assert self._tls is None
        assert not self._written
        # A kernel that knows nothing of them gives none, which the counts of samples and stamps show.
        with contextlib.suppress(OSError):
            self._departures = Departures(self._socket)
            # The events go the other way; what comes are answers.
            self._reader = self._stamper.reader()

    def write_stamped(self, data: bytes, told: Departed) -> None:
        """Send bytes as :meth:`write` does, and tell when the last of them left this host and was acknowledged.

        Nothing is told where they did not leave at once, or the kernel gives no stamp.
        """
        departures = self._departures
        if departures is None or self._unsent or not self._open:
            self.write(data)
            return
        try:
            sent = self._socket.sendmsg((data,), departures.ask, socket.MSG_EOR)
        except OSError:
            # As if it had not been asked for: what is wrong will show again.
            self.write(data)
            return
        self._written += sent
        departures.asked(told if sent == len(data) else None, self._written - 1)
        if sent < len(data):
            self._loop.add_writer(self._fd, self._on_room)
            self._keep(memoryview(data)[sent:])

    def write(self, data: bytes) -> None:
        """Send bytes, now if the kernel takes them, else as soon as it does. After a close they are dropped."""
        if not self._open:
            return
        if self._tls is not None:
            data = self._tls.encrypt(data)
        if self._unsent:
            self._keep(data)
            return
        try:
            # Nothing is put behind it in its packet buffer: only at a new one TCP looks whether too much waits.
            sent = self._socket.send(data, socket.MSG_EOR)
        except BlockingIOError:
            sent = 0
        except OSError as error:
            # Told from the loop, not from inside the caller's own write.
            self._loop.call_soon(self._on_broken, reason_of(error, self.peer))
            return
        self._written += sent
        if sent < len(data):
            self._loop.add_writer(self._fd, self._on_room)
            self._keep(memoryview(data)[sent:])

    def _keep(self, data: bytes | memoryview) -> None:
        if len(self._unsent) + len(data) > self._max_unsent:
            why = f"{self.peer}: does not read what it is sent: {len(self._unsent) + len(data)} bytes wait"
            self._loop.call_soon(
                self._fail, StreamError(StreamReason.UNREAD, f"{why}; look at the peer, and at the way to it")
            )
            return
        self._unsent += data

    def close(self) -> None:
        """Close now, without a callback; unsent bytes are lost."""
        if self._open:
            self._detach()
            self._socket.close()

    def finish(self) -> "asyncio.Future[None]":
        """Close as :meth:`close` does, but let the peer read what was written first.

        Returns:
            What is done when the socket is closed; after :data:`FAREWELL_SECONDS` at the latest.
        """
        assert self._tls is None  # which has a farewell of its own
        if not self._open:
            gone: asyncio.Future[None] = self._loop.create_future()
            gone.set_result(None)
            return gone
        self._detach()
        return _farewell(self._socket)

    def _detach(self) -> None:
        """Tell and ask nothing any more."""
        self._open = False
        self._loop.remove_reader(self._fd)
        self._loop.remove_writer(self._fd)
        if self._tcp is not None:
            self._tcp.discard(self._socket)
        self._unsent.clear()

    def abort(self) -> None:
        """Close with a reset, so that the kernel throws away what it holds for a peer that does not read."""
        if self._open:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.close()

    def _on_readable(self) -> None:
        if self._departures is not None and self._departures.drain():
            self._watch_again()
        try:
            size, ancillary, _flags, _source = self._socket.recvmsg_into(_views, ANCILLARY_BYTES)
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            self._fail(reason_of(error, self.peer))
            return
        if not size:
            self._fail(None)
            return
        self._take_read(size, ancillary)

    def _take_read(self, size: int, ancillary: Ancillary) -> None:
        stamp = self._reader.stamp(ancillary)
        if stamp.handled_ns - stamp.ns > LATE_NS:
            stamp = self._disorder.judged(stamp)
        if size == READ_BYTES:
            # The kernel joins packets that wait, and the stamp is then of the last: a part of it may be unread.
            self._reader.left_some(stamp)
            stamp = inexact(stamp)
        self._take(bytes(_views[0][:size]), stamp)

    def _watch_again(self) -> None:
        """Have the loop begin anew with this socket.

        An error queue that is not empty is an error of the socket to the loop: uvloop calls who watches it a last time,
        and forgets all of it but what is registered anew after both were taken away.
        """
        self._loop.remove_reader(self._fd)
        self._loop.remove_writer(self._fd)
        self._loop.add_reader(self._fd, self._on_readable)
        if self._unsent:
            self._loop.add_writer(self._fd, self._on_room)

    def _take(self, data: bytes, stamp: Stamp) -> None:
        try:
            if self._tls is None:
                self._on_data(data, stamp)
            else:
                self._deliver(data, stamp)
        except Exception as error:  # noqa: BLE001 the wall: whatever a peer sends ends its own connection at most
            self._fail(
                StreamError(StreamReason.UNEXPECTED, f"{self.peer}: what it sent was not foreseen: {brief(error)}")
            )

    def _deliver(self, data: bytes, stamp: Stamp) -> None:
        assert self._tls is not None
        try:
            plain, ended = self._tls.decrypt(data)
        except StreamError as error:
            self._fail(error)
            return
        if plain:
            self._on_data(plain, stamp if self._tls.exact else inexact(stamp))
        if self._open and (wanted := self._tls.data_to_send()):
            self._send_raw(wanted)
        if ended:
            self._fail(None)

    def _send_raw(self, data: bytes) -> None:
        tls, self._tls = self._tls, None
        self.write(data)
        self._tls = tls

    def _on_room(self) -> None:
        unsent = self._unsent
        while unsent:
            try:
                # Freed before the bytes it views are.
                with memoryview(unsent) as whole, whole[:SEND_BYTES] as piece:
                    sent = self._socket.send(piece)
            except BlockingIOError:
                return
            except OSError as error:
                self._on_broken(reason_of(error, self.peer))
                return
            self._written += sent
            del unsent[:sent]
        self._loop.remove_writer(self._fd)
        if self._on_writable is not None:
            self._on_writable()

    def _on_broken(self, error: StreamError) -> None:
        """Take in what had come before a write failed: it may be the peer's last word, which a reset came after."""
        with contextlib.suppress(OSError):
            for _turn in range(LAST_READS):
                if not self._open:
                    return
                size, ancillary, _flags, _source = self._socket.recvmsg_into(_views, ANCILLARY_BYTES)
                if not size:
                    break
                self._take_read(size, ancillary)
        self._fail(error)

    def _fail(self, error: StreamError | None) -> None:
        if not self._open:
            return
        self.close()
        self._on_close(error)


def _farewell(sock: socket.socket) -> "asyncio.Future[None]":
    """Say that nothing more comes, discard what the peer still sends, and close when it has closed.

    A socket that is closed over bytes which nobody has read resets the connection (RFC 1122, section 4.2.2.13). The
    reset may overtake what was said last, or be noticed by the peer's next write before that was read.

    Args:
        sock: connected and non-blocking, and watched by nobody any more.

    Returns:
        What is done when the socket is closed, after :data:`FAREWELL_SECONDS` at the latest.
    """
    loop = asyncio.get_running_loop()
    over: asyncio.Future[None] = loop.create_future()
    descriptor = sock.fileno()

    def end() -> None:
        timer.cancel()
        loop.remove_reader(descriptor)
        sock.close()
        if not over.done():
            over.set_result(None)

    def discard() -> None:
        try:
            rest = sock.recv(DISCARD_BYTES)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            rest = b""
        if not rest:
            end()

    with contextlib.suppress(OSError):
        sock.shutdown(socket.SHUT_WR)
    timer = loop.call_later(FAREWELL_SECONDS, end)
    loop.add_reader(descriptor, discard)
    return over
