"""A small HTTP/1.1 server on the daemon's own event loop, for metrics, health and debug pages.

It lives in the loop instead of a thread because a thread that renders metrics holds the interpreter lock for
whole switch intervals (5 ms), which the hot path then waits for. Bodies are asynchronous iterators, so a long page
yields to the loop between its chunks. Framing and parsing are h11's. TLS is done here and not by asyncio, whose
handshakes would be outside the bounds on connections and on their time.
"""

import asyncio
import os
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import NoReturn
from urllib.parse import parse_qs, urlsplit

import h11
import structlog

from daemons.errors import ListenError, StreamError
from daemons.service import logs
from daemons.service.negotiation import takes_gzip
from daemons.service.passwords import Passwords, PasswordVerdict
from daemons.service.web_config import Web, WebFile
from daemons.stream.crowd import Crowd
from daemons.stream.descriptors import share
from daemons.stream.tls import TlsSession

__all__ = ["REFUSALS", "HttpServer", "Page", "Request", "Route", "health", "text", "unready"]

IDLE_SECONDS = 75.0
"""How long a connection may be silent between requests, or not take what it asked for."""
REQUEST_SECONDS = 10.0
"""How long a request may take from its first byte to its last."""
MAX_CONNECTIONS = 64
"""When more come, the one that has been without progress for longest, of the address that has most, gives way."""
MAX_BODY = 1 << 20
"""Bytes of a request's body that are read, and ignored; the connection of a larger one is closed."""
GZIP_LEVEL = 1
"""The fastest: the loop that compresses is the one that measures."""
REFUSALS = ("tls", "certificate", "credentials", "limited")
"""Why a client was not served: no handshake, a certificate that is not to be trusted, no or a wrong password, or too
many passwords to check."""
_TLS_HANDSHAKE = b"\x16"
"""How a TLS connection begins (RFC 8446, section 5.1)."""
_PLAIN = (
    b"HTTP/1.0 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n"
    b"this page is served over TLS: use https://\n"
)
"""What a client is told that begins without TLS."""
_REALM = 'Basic realm="backbone-latency", charset="UTF-8"'
_CLOSE = (("connection", "close"),)


@dataclass(frozen=True, slots=True)
class Page:
    """An answer: status, media type, body chunks, and further header fields."""

    body: AsyncIterator[bytes]
    content_type: str = "text/plain; charset=utf-8"
    status: int = 200
    fields: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Request:
    """What pages are made from: the query's first value per key, and the formats that are asked for."""

    query: dict[str, str] = field(default_factory=dict)
    accept: str = ""


Route = Callable[[Request], Awaitable[Page]]


async def text(content: str) -> AsyncIterator[bytes]:
    """Yield one string as a body."""
    yield content.encode()


def health(unready: Callable[[], str]) -> dict[str, Route]:
    """Make the two pages that Prometheus' programs have, for whoever watches over daemons.

    Args:
        unready: says why the daemon does not do its work: its start is not complete, or it ends; empty when it does.
    """

    async def healthy(_request: Request) -> Page:
        # It is the loop that measures which answers.
        return Page(text("healthy\n"))

    async def is_ready(_request: Request) -> Page:
        why = unready()
        return Page(text(f"not ready: {why}\n"), status=503) if why else Page(text("ready\n"))

    return {"/-/healthy": healthy, "/-/ready": is_ready}


def unready(*, served: bool, stopping: bool) -> str:
    """Return why a daemon in this state does not do its work; empty if it does."""
    return "stopping" if stopping else "" if served else "starting"


async def _compressed(body: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Compress a body as it comes (RFC 1952); a piece may be empty, so that the loop has its turn all the same."""
    packer = zlib.compressobj(GZIP_LEVEL, wbits=16 + zlib.MAX_WBITS)
    async for chunk in body:
        yield packer.compress(chunk)
    yield packer.flush()


class _Refused(Exception):  # noqa: N818 - it is no error of ours
    """A client that is not let in; the argument is the reason."""


class _Visit:
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
        self.protocol = h11.Connection(h11.SERVER)
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
            _Refused: it became none, or the client's certificate has no name that is allowed.
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
            raise _Refused("tls")
        try:
            while not session.handshake(data or _refuse("tls")):
                self._send(session.data_to_send())
                data = await self._reader.read(16384)
        except StreamError as error:
            raise _Refused("certificate" if error.reason == "certificate" else "tls") from error
        finally:
            # In trouble it is the alert, which tells the client why, where there is one still.
            if not self._writer.is_closing():
                self._send(session.data_to_send())
        if self.web.allowed_names and not self.web.allowed_names & session.peer_names:
            _refuse("certificate")
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

    def allow(self, seconds: float) -> None:
        """Let it take so long for what comes next."""
        self._idle.reschedule(self._loop.time() + seconds)

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
        fields = [("content-type", page.content_type), ("transfer-encoding", "chunked"), *page.fields, *self.web.fields]
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


def _refuse(reason: str) -> NoReturn:
    raise _Refused(reason)


class HttpServer:
    """Serves GET and HEAD for fixed paths.

    Args:
        routes: the page maker for each path.
        listen: host and port; port 0 lets the kernel choose.
        web: who may read, and over TLS; None for anybody and plain HTTP.

    Attributes:
        refusals: clients that were not let in, by reason.
    """

    def __init__(self, routes: dict[str, Route], listen: tuple[str, int], web: WebFile | None = None) -> None:
        self.refusals = dict.fromkeys(REFUSALS, 0)
        self._routes = routes
        self._web = web or WebFile(Web)
        self._passwords = Passwords()
        self._log = structlog.get_logger("metrics")
        self._listen = listen
        self._server: asyncio.Server | None = None
        self._visits: Crowd[_Visit] = Crowd(share(MAX_CONNECTIONS))
        self._connections: set[asyncio.Task[None]] = set()

    @property
    def address(self) -> tuple[str, int]:
        """The bound host and port; only after :meth:`start`."""
        assert self._server is not None
        host, port, *_ = self._server.sockets[0].getsockname()
        return host, port

    async def start(self) -> None:
        """Listen.

        Raises:
            ListenError: the address is in use, not ours, or not permitted.
        """
        host, port = self._listen
        try:
            self._server = await asyncio.start_server(self._accept, host, port)
        except OSError as error:
            # asyncio puts the address into the text, where it is said already.
            why = os.strerror(error.errno) if error.errno else str(error)
            raise ListenError(
                f"{host}:{port}", f"metrics cannot listen: {why}", "choose another --metrics address"
            ) from error

    async def stop(self) -> None:
        """Close the listening socket and all connections."""
        if self._server is not None:
            self._server.close()
            for task in tuple(self._connections):
                task.cancel()
            await asyncio.gather(*self._connections, return_exceptions=True)
            await self._server.wait_closed()
        await self._passwords.close()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        host = str((writer.get_extra_info("peername") or ("",))[0])
        try:
            async with asyncio.timeout(None) as idle:
                visit = _Visit(reader, writer, host, idle, self._web.current())
                if (evicted := self._visits.add(visit)) is not None and evicted.task is not None:
                    evicted.task.cancel()
                try:
                    await visit.secure()
                    while await self._exchange(visit):
                        visit.protocol.start_next_cycle()
                    visit.close()
                finally:
                    self._visits.discard(visit)
        except _Refused as refused:
            self._tell(host, str(refused), refused.__cause__)
        except (OSError, TimeoutError, StreamError, h11.ProtocolError, asyncio.CancelledError):
            # A scraper that hangs up, stalls or gives way to another concerns nobody but itself.
            writer.transport.abort()
        except Exception as error:  # noqa: BLE001 whatever is asked ends its own connection at most
            logs.unexpected(error, "a page that was being sent")
            writer.transport.abort()
        finally:
            self._connections.discard(task)
            writer.close()

    async def _exchange(self, visit: _Visit) -> bool:
        """Serve one request; return whether another may follow."""
        protocol = visit.protocol
        try:
            request = await visit.request()
        except h11.RemoteProtocolError as error:
            if protocol.our_state in (h11.IDLE, h11.SEND_RESPONSE):
                await visit.answer(_refusal(error.error_status_hint), only_head=False, progress=lambda: None)
            return False
        if request is None:
            return False
        web = self._web.current()
        if web is not visit.web and visit.served:
            # What let it in is no more: it may come again, which scrapers do at once.
            return False
        page = _doubtful(request) or await self._unlocked(visit, web, request) or await self._page(request)
        await visit.answer(
            page,
            only_head=request.method == b"HEAD",
            progress=lambda: self._visits.renew(visit),
            compress=takes_gzip(_field(request, b"accept-encoding")),
        )
        self._visits.renew(visit)
        visit.served = True
        return protocol.our_state is h11.DONE and protocol.their_state is h11.DONE

    async def _unlocked(self, visit: _Visit, web: Web, request: h11.Request) -> Page | None:
        """Check the password; return what is answered instead of a page where it is not right."""
        if not web.users:
            return None
        said = [value for name, value in request.headers if name == b"authorization"]
        # The check has its time; the client has to wait for it.
        visit.allow(IDLE_SECONDS)
        verdict = PasswordVerdict.WRONG
        if len(said) == 1:
            verdict = await self._passwords.check(web.users, said[0], visit.host)
        if verdict is PasswordVerdict.RIGHT:
            return None
        if verdict is PasswordVerdict.LIMITED:
            self._tell(visit.host, "limited")
            return Page(text("too many passwords to check\n"), status=429, fields=(("retry-after", "5"),))
        if said:
            self._tell(visit.host, "credentials")
        else:
            # How a browser and many a client begin.
            self.refusals["credentials"] += 1
        return Page(text("name and password, please\n"), status=401, fields=(("www-authenticate", _REALM),))

    def _tell(self, host: str, reason: str, cause: BaseException | None = None) -> None:
        self.refusals[reason] += 1
        self._log.warning("client refused", peer=host, reason=reason, why=str(cause) if cause else None)

    async def _page(self, request: h11.Request) -> Page:
        if request.method not in (b"GET", b"HEAD"):
            return Page(text("only GET and HEAD are served here\n"), status=405, fields=(("allow", "GET, HEAD"),))
        try:
            url = urlsplit(request.target.decode("latin-1"))
        except ValueError:
            return _refusal(400)
        route = self._routes.get(url.path)
        if route is None:
            return Page(text(f"{url.path}: no such page; try {' '.join(self._routes)}\n"), status=404)
        try:
            query = {key: values[0] for key, values in parse_qs(url.query).items()}
            return await route(Request(query, _field(request, b"accept")))
        except Exception as error:  # noqa: BLE001 a broken page must not take the daemon with it
            logs.unexpected(error, f"page {url.path}")
            return Page(text("this page failed; the daemon's log says why\n"), status=500)


def _field(request: h11.Request, name: bytes) -> str:
    """Join all lines of a header field (RFC 9110, section 5.3)."""
    return b",".join(value for key, value in request.headers if key == name).decode("latin-1")


def _doubtful(request: h11.Request) -> Page | None:
    """Return what is answered, as the connection's last word, to what h11 lets pass: another reads it differently.

    A length beside chunks, and chunks of a client that knows none, are how one request is hidden in another (RFC 9112,
    sections 6.1 and 11.2).
    """
    if not request.http_version.startswith(b"1."):
        return _refusal(505)
    names = {name for name, _value in request.headers}
    chunked = b"transfer-encoding" in names
    if chunked and (b"content-length" in names or request.http_version == b"1.0"):
        return _refusal(400)
    return None


def _refusal(status: int) -> Page:
    return Page(text("this is no request that is understood here\n"), status=status, fields=_CLOSE)
