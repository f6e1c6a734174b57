"""One TCP connection, with TLS or without, whose every step leaves an instant behind."""

import asyncio
import contextlib
import errno
import os
import socket
import ssl
from collections.abc import Callable
from typing import Any

from daemons.errors import StreamError
from daemons.probe.attempt import AttemptError, Reason
from daemons.reasons import StreamReason
from daemons.records import StampKind
from daemons.stream.descriptors import is_reserved
from daemons.stream.dial import reason_of
from daemons.stream.local_end import LocalEnd
from daemons.stream.stamping import ANCILLARY_BYTES, Ancillary, Stamper, enable
from daemons.stream.tls import TlsSession

__all__ = ["Channel"]

READ_BYTES = 65536

_CONNECTING = {
    StreamReason.REFUSED: Reason.CONNECT_REFUSED,
    StreamReason.RESET: Reason.RESET,
    StreamReason.TIMEOUT: Reason.CONNECT_TIMEOUT,
    StreamReason.UNREACHABLE: Reason.CONNECT_UNREACHABLE,
    StreamReason.LOCAL: Reason.LOCAL,
}
_CONNECTED = {
    StreamReason.RESET: Reason.RESET,
    StreamReason.TIMEOUT: Reason.RESET,
    StreamReason.TLS: Reason.TLS,
    StreamReason.CERTIFICATE: Reason.CERTIFICATE,
}


class Channel:
    """A connection being made, used and closed by one attempt after another.

    Args:
        family: AF_INET or AF_INET6.
        stamper: gives the reads their kernel stamps.
        where: the peer's name and address, for messages.

    Raises:
        AttemptError: this process has run out of descriptors, but for those that its pages need.
    """

    def __init__(self, family: int, stamper: Stamper, where: str) -> None:
        self._loop = asyncio.get_running_loop()
        self._clock = stamper.clock
        self._where = where
        self._tls: TlsSession | None = None
        self._arrival_ns = 0
        self.host_delay_ns: int | None = None
        try:
            self._socket = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        except OSError as error:
            raise AttemptError(Reason.LOCAL, str(reason_of(error, where))) from error
        self._fd = self._socket.fileno()
        if is_reserved(self._fd):
            self._socket.close()
            raise AttemptError(Reason.LOCAL, str(reason_of(OSError(errno.EMFILE, os.strerror(errno.EMFILE)), where)))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        enable(self._socket)
        self._reader = stamper.reader()

    def bind(self, source_address: str, interface: str, dscp: int | None = None) -> None:
        """Send from an address, through an interface, in a class; empty for whatever the routes say, or the system.

        Raises:
            AttemptError: neither is this host's.
        """
        try:
            LocalEnd(source_address, interface, dscp).bind(self._socket)
        except OSError as error:
            asked = " ".join(filter(None, (source_address, interface)))
            raise AttemptError(
                Reason.LOCAL, f"{asked}: cannot send from there: {error.strerror}; use an address of this host"
            ) from error

    async def connect(self, address: tuple[Any, ...]) -> int:
        """Connect; return the instant when the connection stood.

        Raises:
            AttemptError: it does not.
        """
        number = self._socket.connect_ex(address)
        if number == errno.EINPROGRESS:
            await self._ready(self._loop.add_writer, self._loop.remove_writer)
            number = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        done_ns = self._clock.monotonic_ns()
        if number:
            failure = reason_of(OSError(number, os.strerror(number)), self._where)
            raise AttemptError(_CONNECTING.get(failure.reason, Reason.CONNECT), str(failure))
        return done_ns

    @property
    def source(self) -> str:
        """Our own address and port."""
        host, port, *_ = self._socket.getsockname()
        return f"{host}:{port}"

    async def handshake(self, context: ssl.SSLContext, server_name: str, data: bytes = b"") -> TlsSession:
        """Do the TLS handshake; return the session, for what was negotiated.

        Args:
            context: TLS settings.
            server_name: to send and to verify.
            data: bytes of the peer that have come already.

        Raises:
            AttemptError: the peer is not what it should be, or went away.
        """
        session = TlsSession(context, server_name)
        while True:
            try:
                done = session.handshake(data)
            except StreamError as error:
                # The alert tells the peer why; whether it still listens does not matter.
                with contextlib.suppress(OSError):
                    self._socket.send(session.data_to_send())
                raise _translated(error) from error
            await self._write(session.data_to_send())
            if done:
                self._tls = session
                return session
            data = await self._read()
            if not data:
                raise AttemptError(Reason.TLS, f"{self._where}: closed during the TLS handshake; is this a TLS port?")

    async def send(self, data: bytes) -> int:
        """Send bytes; return the instant when the call that handed over the last of them began.

        Raises:
            AttemptError: the connection broke.
        """
        return await self._write(self._tls.encrypt(data) if self._tls else data)

    async def receive(self) -> tuple[bytes, int]:
        """Wait for bytes.

        Returns:
            The bytes, none at the end, and the instant they arrived at this host.

        Raises:
            AttemptError: the connection broke.
        """
        if self._tls is None:
            return await self._read(), self._arrival_ns
        # Plain bytes may be waiting that came with the end of the handshake.
        data = b""
        while True:
            plain, ended = self._decrypted(data)
            if wanted := self._tls.data_to_send():
                await self._write(wanted)
            if plain or ended:
                return plain, self._arrival_ns
            data = await self._read()
            if not data:
                return b"", self._arrival_ns

    def idle(self) -> bytes | None:
        """Look, without waiting, at what came while nobody asked.

        Returns:
            The bytes, none if nothing came; None when the connection is at its end.
        """
        came: list[bytes] = []
        while True:
            try:
                data = self._socket.recv(READ_BYTES)
            except BlockingIOError:
                return b"".join(came)
            except OSError:
                return None
            if not data:
                return None
            if self._tls is not None:
                try:
                    data, ended = self._decrypted(data)
                except AttemptError:
                    return None
                if ended:
                    return None
            came.append(data)

    def watch(self, heard: Callable[[], None]) -> None:
        """Call when bytes are there, or the end."""
        self._loop.add_reader(self._fd, heard)

    def unwatch(self) -> None:
        """Call no more."""
        self._loop.remove_reader(self._fd)

    def answer(self, data: bytes) -> bool:
        """Send a few bytes without waiting; False when they do not all go, after which nothing else can be sent."""
        data = self._tls.encrypt(data) if self._tls and data else data
        try:
            return not data or self._socket.send(data) == len(data)
        except OSError:
            return False

    def close(self) -> None:
        """Close; a TLS peer is told."""
        if self._tls is not None:
            with contextlib.suppress(OSError):
                self._socket.send(self._tls.close_notify())
            self._tls = None
        self._loop.remove_reader(self._fd)
        self._loop.remove_writer(self._fd)
        self._socket.close()

    def _decrypted(self, data: bytes) -> tuple[bytes, bool]:
        assert self._tls is not None
        try:
            return self._tls.decrypt(data)
        except StreamError as error:
            raise _translated(error) from error

    async def _read(self) -> bytes:
        while True:
            try:
                data, ancillary, _flags, _source = self._socket.recvmsg(READ_BYTES, ANCILLARY_BYTES)
            except BlockingIOError:
                await self._ready(self._loop.add_reader, self._loop.remove_reader)
            except OSError as error:
                raise _translated(reason_of(error, self._where)) from error
            else:
                self._note_arrival(ancillary)
                return data

    def _note_arrival(self, ancillary: Ancillary) -> None:
        stamp = self._reader.stamp(ancillary)
        if stamp.kind is StampKind.KERNEL and not stamp.step_ns:
            self._arrival_ns = stamp.steady_ns
            self.host_delay_ns = stamp.handled_ns - stamp.ns
        else:
            self._arrival_ns = self._clock.monotonic_ns()
            self.host_delay_ns = None

    async def _write(self, data: bytes) -> int:
        rest = memoryview(data)
        while True:
            handed_ns = self._clock.monotonic_ns()
            try:
                rest = rest[self._socket.send(rest) :] if rest else rest
            except BlockingIOError:
                await self._ready(self._loop.add_writer, self._loop.remove_writer)
            except OSError as error:
                raise _translated(reason_of(error, self._where)) from error
            if not rest:
                return handed_ns

    async def _ready(self, add: Callable[..., None], remove: Callable[[int], bool]) -> None:
        """Wait until the descriptor can be read or written."""
        ready: asyncio.Future[None] = self._loop.create_future()
        add(self._fd, _set, ready)
        try:
            await ready
        finally:
            remove(self._fd)


def _set(ready: "asyncio.Future[None]") -> None:
    if not ready.done():
        ready.set_result(None)


def _translated(error: StreamError) -> AttemptError:
    return AttemptError(_CONNECTED.get(error.reason, Reason.RESET), str(error))
