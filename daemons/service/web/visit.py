"""One connection of a client to the pages: its protocol, with TLS or without, and the clock that ends it."""

import asyncio
import zlib
from collections.abc import AsyncIterator, Callable
from email.utils import formatdate
from enum import StrEnum
from http import HTTPStatus
from typing import NoReturn

import h11

from daemons.errors import StreamError
from daemons.reasons import StreamReason
from daemons.service.web.pages import Page
from daemons.service.web.web_config import Web
from daemons.stream.tls import TlsSession

__all__ = ["MAX_HEAD", "Refusal", "Refused", "Visit"]

IDLE_SECONDS = 75.0
"""How long a connection may be silent between requests, or not take what it asked for."""
REQUEST_SECONDS = 10.0
"""How long a request may take from its first byte to its last."""
MAX_HEAD = 16384
"""Bytes of a request's line and header fields."""
MAX_BODY = 1 << 20
"""Bytes of a request's body that are read, and ignored; the connection of a larger one is closed."""
LINGER_SECONDS = 1.0
"""How long a client that sends more than is read may take to read the answer."""
GZIP_LEVEL = 1
"""The fastest: the loop that compresses is the one that measures."""
_TLS_HANDSHAKE = b"\x16"
"""How a TLS connection begins (RFC 8446, section 5.1)."""
_PLAIN = (
    b"HTTP/1.0 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n"
    b"this page is served over TLS: use https://\n"
)
"""What a client is told that begins without TLS."""


async def _compressed(body: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Compress a body as it comes (RFC 1952); a piece may be empty, so that the loop has its turn all the same."""
    packer = zlib.compressobj(GZIP_LEVEL, wbits=16 + zlib.MAX_WBITS)
    async for chunk in body:
        yield packer.compress(chunk)
    yield packer.flush()


class Refusal(StrEnum):
    """Why a client was not served."""

    TLS = "tls"
    """No handshake."""
    CERTIFICATE = "certificate"
    """One that is not to be trusted."""
    CREDENTIALS = "credentials"
    """No password, or a wrong one."""
    LIMITED = "limited"
    """Too many passwords to check."""


class Refused(Exception):  # noqa: N818 - it is no error of ours
    """A client that is not let in."""

    def __init__(self, reason: Refusal) -> None:
        super().__init__(reason)
        self.reason = reason


class Visit:
    """One connection: its protocol, and the clock that ends it."""

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        host: str,
        idle: asyncio.Timeout,
        web: Web,
    ) -> None:
        self.web = web
        self.protocol = h11.Connection(h11.SERVER, max_incomplete_event_size=MAX_HEAD)
        self.host = host
        self.task = asyncio.current_task()
        self.served = False
        self._reader = reader
        self._writer = writer
        self._tls: TlsSession | None = None
        self._idle = idle
        self._loop = asyncio.get_running_loop()

    async def secure(self) -> None:
        """Make it a TLS connection, where the configuration wants one.

        Raises:
            Refused: it became none, or the client's certificate has no name that is allowed.
        """
        if self.web.tls is None:
            return
        session = TlsSession(self.web.tls, self.host, server_side=True)
        self.allow(REQUEST_SECONDS)
        data = await self._reader.read(16384)
        if not data:
            raise ConnectionAbortedError
        if not data.startswith(_TLS_HANDSHAKE):
            self._send(_PLAIN)
            await self._writer.drain()
            raise Refused(Refusal.TLS)
        try:
            while not session.handshake(data or _refuse(Refusal.TLS)):
                self._send(session.data_to_send())
                data = await self._reader.read(16384)
        except StreamError as error:
            untrusted = error.reason is StreamReason.CERTIFICATE
            raise Refused(Refusal.CERTIFICATE if untrusted else Refusal.TLS) from error
        finally:
            # In trouble it is the alert, which tells the client why, where there is one still.
            if not self._writer.is_closing():
                self._send(session.data_to_send())
        if self.web.allowed_names and not self.web.allowed_names & session.peer_names:
            _refuse(Refusal.CERTIFICATE)
        self._tls = session

    async def _read(self) -> bytes:
        """Read what comes next; empty at the end."""
        data = b""
        while self._tls is not None:
            # First what came together with the end of the handshake.
            plain, closed = self._tls.decrypt(data)
            self._send(self._tls.data_to_send())
            if plain or closed:
                return plain
            data = await self._reader.read(16384)
            if not data:
                return b""
        return await self._reader.read(16384)

    def _write(self, data: bytes | None) -> None:
        if data:
            self._send(data if self._tls is None else self._tls.encrypt(data))

    def _send(self, data: bytes) -> None:
        if self._writer.is_closing():
            # The client hung up between two pieces; uvloop would raise a RuntimeError, as for a fault of ours.
            raise ConnectionAbortedError
        self._writer.write(data)

    def close(self) -> None:
        """Tell the client that nothing follows."""
        if self._tls is not None and not self._writer.is_closing():
            self._send(self._tls.close_notify())

    async def linger(self) -> None:
        """Throw away what the client still sends, for a moment, so that it can read the answer.

        A socket that is closed over bytes which nobody has read resets the connection (RFC 9112, section 9.6).
        """
        if not self._writer.is_closing():
            self.allow(LINGER_SECONDS)
            self._writer.write_eof()
            while await self._reader.read(16384):
                pass

    def allow(self, seconds: float) -> None:
        """Let it take so long for what comes next."""
        self._idle.reschedule(self._loop.time() + seconds)

    def wait(self) -> None:
        """Let it wait for us, who have something to find out."""
        self.allow(IDLE_SECONDS)

    async def request(self) -> h11.Request | None:
        """Read a request to its end; None when the client closed first.

        Raises:
            h11.RemoteProtocolError: it is none.
        """
        request: h11.Request | None = None
        body = 0
        self.allow(IDLE_SECONDS)
        silent = self.protocol.trailing_data[0] == b""
        while True:
            event = self.protocol.next_event()
            if event is h11.NEED_DATA:
                if request is not None and self.protocol.they_are_waiting_for_100_continue:
                    # RFC 9110, section 10.1.1: the final answer may come at once, and no body after it.
                    return request
                data = await self._read()
                if silent and data:
                    silent = False
                    self.allow(REQUEST_SECONDS)
                self.protocol.receive_data(data)
            elif isinstance(event, h11.Request):
                request = event
            elif isinstance(event, h11.Data):
                body += len(event.data)
                if body > MAX_BODY:
                    return request
            elif isinstance(event, h11.EndOfMessage):
                return request
            else:
                return None

    async def answer(
        self, page: Page, *, only_head: bool, progress: Callable[[], None], compress: bool = False
    ) -> None:
        """Send a page; ``progress`` is called for each piece that the client has room for."""
        send = self.protocol.send
        # RFC 9110, section 6.6.1: who has a clock says when it was.
        fields = [("date", formatdate(usegmt=True)), ("content-type", page.content_type)]
        fields += [("transfer-encoding", "chunked"), *page.fields, *self.web.fields]
        # What another client gets of the same address may be in another format (RFC 9110, section 12.5.5).
        fields += [("vary", "Accept, Accept-Encoding"), *([("content-encoding", "gzip")] if compress else [])]
        reason = HTTPStatus(page.status).phrase.encode()
        self._write(send(h11.Response(status_code=page.status, reason=reason, headers=fields)))
        if not only_head:
            async for chunk in _compressed(page.body) if compress else page.body:
                self.allow(IDLE_SECONDS)
                if chunk:
                    self._write(send(h11.Data(data=chunk)))
                    await self._writer.drain()
                progress()
                await asyncio.sleep(0)
        self._write(send(h11.EndOfMessage()))
        await self._writer.drain()


def _refuse(reason: Refusal) -> NoReturn:
    raise Refused(reason)
