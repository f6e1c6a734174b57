"""The server against a raw socket and the standard library's client."""

import asyncio
import contextlib
import http.client
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
import uvloop

from daemons.errors import ListenError
from daemons.service import http as served
from daemons.service.http import HttpServer, Page, text


async def hello(query: dict[str, str]) -> Page:
    return Page(text(f"hello {query.get('name', 'world')}\n"))


async def long(_query: dict[str, str]) -> Page:
    async def chunks() -> AsyncIterator[bytes]:
        for number in range(1000):
            yield f"{number}\n".encode() * 20
            yield b""

    return Page(chunks(), "text/plain")


async def broken(_query: dict[str, str]) -> Page:
    raise RuntimeError("a bug")


ROUTES: dict[str, served.Route] = {"/": hello, "/long": long, "/broken": broken}


def talking(work: Callable[[str, int], Awaitable[None]]) -> None:
    """Run a conversation with a server."""

    async def both() -> None:
        server = HttpServer(ROUTES, ("127.0.0.1", 0))
        await server.start()
        try:
            async with asyncio.timeout(20):
                await work(*server.address)
        finally:
            await server.stop()
        assert not server._connections

    uvloop.run(both())


def asking(ask: Callable[[http.client.HTTPConnection], None]) -> None:
    """Talk to a server with the standard client, in a thread."""

    async def work(host: str, port: int) -> None:
        def talk() -> None:
            client = http.client.HTTPConnection(host, port, timeout=15)
            try:
                ask(client)
            finally:
                client.close()

        await asyncio.to_thread(talk)

    talking(work)


def answer(client: http.client.HTTPConnection, method: str, path: str, **more: Any) -> tuple[int, bytes]:
    client.request(method, path, **more)
    response = client.getresponse()
    return response.status, response.read()


def test_pages_on_one_connection() -> None:
    def ask(client: http.client.HTTPConnection) -> None:
        assert answer(client, "GET", "/") == (200, b"hello world\n")
        first = client.sock
        assert answer(client, "GET", "/?name=you&name=me&empty=") == (200, b"hello you\n")
        assert answer(client, "HEAD", "/") == (200, b"")
        assert answer(client, "GET", "/none") == (404, b"/none: no such page; try / /long /broken\n")
        assert answer(client, "POST", "/", body=b"x" * 100_000) == (405, b"only GET and HEAD are served here\n")
        assert answer(client, "GET", "/broken") == (500, b"this page failed; the daemon's log says why\n")
        status, body = answer(client, "GET", "/long")
        assert (status, len(body.splitlines())) == (200, 20_000)
        assert client.sock is first

    asking(ask)


def test_a_client_that_wants_to_leave_is_let_go() -> None:
    def ask(client: http.client.HTTPConnection) -> None:
        client.request("GET", "/", headers={"Connection": "close"})
        response = client.getresponse()
        assert response.read() == b"hello world\n"
        assert response.will_close

    asking(ask)


@pytest.mark.parametrize(
    "said", [b"", b"\x16\x03\x01\x02\x00", b"GET / HTTP/1.1\r\n", b"GET / HTTP/9.9\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n"]
)
def test_nonsense_and_hanging_up_concern_nobody_else(said: bytes) -> None:
    async def work(host: str, port: int) -> None:
        reader, writer = await asyncio.open_connection(host, port)
        writer.write(said)
        writer.write_eof()
        await reader.read()
        writer.close()
        reader, writer = await asyncio.open_connection(host, port)
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (await reader.readline()).startswith(b"HTTP/1.1 200")
        writer.close()

    talking(work)


def test_connections_are_bounded_and_idle_ones_are_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(served, "MAX_CONNECTIONS", 3)
    monkeypatch.setattr(served, "IDLE_SECONDS", 0.2)

    async def work(host: str, port: int) -> None:
        opened = [await asyncio.open_connection(host, port) for _ in range(5)]
        # Two are turned away at once, three when they have said nothing for long enough.
        for reader, writer in opened:
            with contextlib.suppress(ConnectionResetError):
                assert await reader.read() == b""
            writer.close()
        monkeypatch.setattr(served, "IDLE_SECONDS", 20)
        reader, writer = await asyncio.open_connection(host, port)
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (await reader.readline()).startswith(b"HTTP/1.1 200")
        writer.close()

    talking(work)


def test_an_address_in_use() -> None:
    async def work(host: str, port: int) -> None:
        with pytest.raises(ListenError, match=f"{host}:{port}: metrics cannot listen: .*choose another --metrics"):
            await HttpServer(ROUTES, (host, port)).start()

    talking(work)
