"""A small HTTP/1.1 server on the daemon's own event loop, for metrics, health and debug pages.

It lives in the loop instead of a thread because a thread that renders metrics holds the interpreter lock for
whole switch intervals (5 ms), which the hot path then waits for. Bodies are asynchronous iterators, so a long page
yields to the loop between its chunks. Framing and parsing are h11's.
"""

import asyncio
import os
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from urllib.parse import parse_qs, urlsplit

import h11

from daemons.errors import ListenError
from daemons.service import logs

__all__ = ["HttpServer", "Page", "Route"]

IDLE_SECONDS = 75.0
MAX_CONNECTIONS = 64


@dataclass(frozen=True, slots=True)
class Page:
    """An answer: status, media type and body chunks."""

    body: AsyncIterator[bytes]
    content_type: str = "text/plain; charset=utf-8"
    status: int = 200


Route = Callable[[dict[str, str]], Awaitable[Page]]
"""Takes the query's first value per key; answers a page."""


async def text(content: str) -> AsyncIterator[bytes]:
    """Yield one string as a body."""
    yield content.encode()


class HttpServer:
    """Serves GET and HEAD for fixed paths.

    Args:
        routes: the page maker for each path.
        listen: host and port; port 0 lets the kernel choose.
        tls: server-side settings; None for plain HTTP.
    """

    def __init__(self, routes: dict[str, Route], listen: tuple[str, int], *, tls: ssl.SSLContext | None = None) -> None:
        self._routes = routes
        self._tls = tls
        self._listen = listen
        self._server: asyncio.Server | None = None
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
            self._server = await asyncio.start_server(self._accept, host, port, ssl=self._tls)
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

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        if len(self._connections) >= MAX_CONNECTIONS:
            writer.transport.abort()
            return
        self._connections.add(task)
        try:
            async with asyncio.timeout(None) as idle:
                connection = h11.Connection(h11.SERVER)
                while True:
                    idle.reschedule(asyncio.get_running_loop().time() + IDLE_SECONDS)
                    if not await self._exchange(connection, reader, writer):
                        break
                    connection.start_next_cycle()
        except (OSError, TimeoutError, h11.ProtocolError, asyncio.CancelledError):
            # A scraper that hangs up, stalls or sends nonsense concerns nobody but itself.
            writer.transport.abort()
        finally:
            self._connections.discard(task)
            writer.close()

    async def _exchange(
        self, connection: h11.Connection, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        request = await _receive_request(connection, reader)
        if request is None:
            return False
        url = urlsplit(request.target.decode("latin-1"))
        page = await self._page(request.method, url.path, url.query)
        head = h11.Response(
            status_code=page.status,
            headers=[("content-type", page.content_type), ("transfer-encoding", "chunked")],
        )
        writer.write(connection.send(head) or b"")
        if request.method != b"HEAD":
            async for chunk in page.body:
                if chunk:
                    writer.write(connection.send(h11.Data(data=chunk)) or b"")
                    await writer.drain()
                await asyncio.sleep(0)
        writer.write(connection.send(h11.EndOfMessage()) or b"")
        await writer.drain()
        return connection.our_state is h11.DONE and connection.their_state is h11.DONE

    async def _page(self, method: bytes, path: str, query: str) -> Page:
        if method not in (b"GET", b"HEAD"):
            return Page(text("only GET and HEAD are served here\n"), status=405)
        route = self._routes.get(path)
        if route is None:
            return Page(text(f"{path}: no such page; try {' '.join(self._routes)}\n"), status=404)
        try:
            return await route({key: values[0] for key, values in parse_qs(query).items()})
        except Exception as error:  # noqa: BLE001 a broken page must not take the daemon with it
            logs.unexpected(error, f"page {path}")
            return Page(text("this page failed; the daemon's log says why\n"), status=500)


async def _receive_request(connection: h11.Connection, reader: asyncio.StreamReader) -> h11.Request | None:
    """Read to the end of a request; None when the client closed first."""
    request: h11.Request | None = None
    while True:
        event = connection.next_event()
        if event is h11.NEED_DATA:
            connection.receive_data(await reader.read(16384))
        elif isinstance(event, h11.Request):
            request = event
        elif isinstance(event, h11.EndOfMessage):
            return request
        elif isinstance(event, h11.ConnectionClosed):
            return None
