"""A small HTTP/1.1 server on the daemon's own event loop, for metrics, health and debug pages.

It lives in the loop instead of a thread because a thread that renders metrics holds the interpreter lock for
whole switch intervals (5 ms), which the hot path then waits for. Bodies are asynchronous iterators, so a long page
yields to the loop between its chunks. Framing and parsing are h11's. TLS is done here and not by asyncio, whose
handshakes would be outside the bounds on connections and on their time.
"""

import asyncio
import os
from urllib.parse import parse_qs, urlsplit

import h11
import structlog

from daemons.errors import ListenError, StreamError
from daemons.service.log import logs
from daemons.service.web.negotiation import takes_gzip
from daemons.service.web.pages import Page, Request, Route, text
from daemons.service.web.passwords import Passwords, PasswordVerdict
from daemons.service.web.visit import MAX_HEAD, Refusal, Refused, Visit
from daemons.service.web.web_config import Web, WebFile
from daemons.stream.crowd import Crowd
from daemons.stream.descriptors import share

__all__ = ["HttpServer"]

MAX_CONNECTIONS = 64
"""When more come, the one that has been without progress for longest, of the address that has most, gives way."""
_REALM = 'Basic realm="backbone-latency", charset="UTF-8"'
_CLOSE = (("connection", "close"),)


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
        self.refusals = dict.fromkeys(Refusal, 0)
        self._routes = routes
        self._web = web or WebFile(Web)
        self._passwords = Passwords()
        self._log = structlog.get_logger("metrics")
        self._listen = listen
        self._server: asyncio.Server | None = None
        self._visits: Crowd[Visit] = Crowd(share(MAX_CONNECTIONS))
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
                visit = Visit(reader, writer, host, idle, self._web.current())
                if (evicted := self._visits.add(visit)) is not None and evicted.task is not None:
                    evicted.task.cancel()
                try:
                    await self._serve(visit)
                    await visit.linger()
                finally:
                    self._visits.discard(visit)
        except (OSError, TimeoutError, StreamError, h11.ProtocolError, asyncio.CancelledError):
            # A scraper that hangs up, stalls or gives way to another concerns nobody but itself.
            writer.transport.abort()
        except Exception as error:  # noqa: BLE001 whatever is asked ends its own connection at most
            logs.unexpected(error, "a page that was being sent")
            writer.transport.abort()
        finally:
            self._connections.discard(task)
            writer.close()

    async def _serve(self, visit: Visit) -> None:
        """Serve what is asked on a connection, until nothing more is to be."""
        try:
            await visit.secure()
            while await self._exchange(visit):
                visit.protocol.start_next_cycle()
            visit.close()
        except Refused as refused:
            self._tell(visit.host, refused.reason, refused.__cause__)

    async def _exchange(self, visit: Visit) -> bool:
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

    async def _unlocked(self, visit: Visit, web: Web, request: h11.Request) -> Page | None:
        """Check the password; return what is answered instead of a page where it is not right."""
        if not web.users:
            return None
        said = [value for name, value in request.headers if name == b"authorization"]
        visit.wait()
        verdict = PasswordVerdict.WRONG
        if len(said) == 1:
            verdict = await self._passwords.check(web.users, said[0], visit.host)
        if verdict is PasswordVerdict.RIGHT:
            return None
        if verdict is PasswordVerdict.LIMITED:
            self._tell(visit.host, Refusal.LIMITED)
            return Page(text("too many passwords to check\n"), status=429, fields=(("retry-after", "5"),))
        if said:
            self._tell(visit.host, Refusal.CREDENTIALS)
        else:
            # How a browser and many a client begin.
            self.refusals[Refusal.CREDENTIALS] += 1
        return Page(text("name and password, please\n"), status=401, fields=(("www-authenticate", _REALM),))

    def _tell(self, host: str, reason: Refusal, cause: BaseException | None = None) -> None:
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
    why = f"a request may have {MAX_HEAD} bytes" if status == 431 else "this is no request that is understood here"
    return Page(text(f"{why}\n"), status=status, fields=_CLOSE)
