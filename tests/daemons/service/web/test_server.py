"""The server against a raw socket and the standard library's client."""

import asyncio
import contextlib
import gzip
import http.client
import random
import socket
import subprocess
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import pytest
import uvloop

from daemons.errors import ListenError
from daemons.service.log import logs
from daemons.service.web import server as served
from daemons.service.web import visit
from daemons.service.web.pages import Page, Request, Route, health, text, unready
from daemons.service.web.server import HttpServer
from tests.tools import needs


async def hello(request: Request) -> Page:
    return Page(text(f"hello {request.query.get('name', 'world')}\n"))


async def long(_request: Request) -> Page:
    async def chunks() -> AsyncIterator[bytes]:
        for number in range(1000):
            yield f"{number}\n".encode() * 20
            yield b""

    return Page(chunks(), "text/plain")


async def broken(_request: Request) -> Page:
    raise RuntimeError("a bug")


async def endless(_request: Request) -> Page:
    async def chunks() -> AsyncIterator[bytes]:
        while True:
            yield bytes(65536)

    return Page(chunks(), "text/plain")


async def breaking(_request: Request) -> Page:
    async def chunks() -> AsyncIterator[bytes]:
        yield b"half"
        raise RuntimeError("a bug")

    return Page(chunks(), "text/plain")


ROUTES: dict[str, Route] = {
    "/": hello,
    "/long": long,
    "/broken": broken,
    "/endless": endless,
    "/breaking": breaking,
}


def talking(work: Callable[[str, int], Awaitable[None]]) -> None:
    """Run a conversation with a server."""

    async def both() -> None:
        server = HttpServer(ROUTES, ("127.0.0.1", 0))
        await server.start()
        try:
            async with asyncio.timeout(300):
                await work(*server.address)
        finally:
            await server.stop()
        assert not server._connections

    uvloop.run(both())


def asking(ask: Callable[[http.client.HTTPConnection], None]) -> None:
    """Talk to a server with the standard client, in a thread."""

    async def work(host: str, port: int) -> None:
        def talk() -> None:
            client = http.client.HTTPConnection(host, port, timeout=300)
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
        assert answer(client, "GET", "/none") == (404, b"/none: no such page; try / /long /broken /endless /breaking\n")
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
    monkeypatch.setattr(visit, "IDLE_SECONDS", 0.2)

    async def work(host: str, port: int) -> None:
        opened = [await asyncio.open_connection(host, port) for _ in range(5)]
        # Two are turned away at once, three when they have said nothing for long enough.
        for reader, writer in opened:
            with contextlib.suppress(ConnectionResetError):
                assert await reader.read() == b""
            writer.close()
        monkeypatch.setattr(visit, "IDLE_SECONDS", 20)
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


async def said(host: str, port: int, request: bytes, *, source: str = "127.0.0.1", end: bool = True) -> bytes:
    """Say something and return the whole answer."""
    reader, writer = await asyncio.open_connection(host, port, local_addr=(source, 0))
    writer.write(request)
    if end:
        writer.write_eof()
    try:
        return await reader.read()
    except ConnectionResetError:
        return b""
    finally:
        writer.close()


GOOD = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"GET http://[bad HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET //[bad/x HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n",
        b"GET  / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nno colon\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"G\x00T / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n",
        b"\r\n\r\n\r\nGET\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nnonsense\r\n",
    ],
    ids=range(12),
)
def test_what_is_no_request_is_told_so(request_bytes: bytes) -> None:
    before = logs.counts.unexpected

    async def work(host: str, port: int) -> None:
        answered = await said(host, port, request_bytes, end=False)
        assert answered.startswith(b"HTTP/1.1 400 "), answered
        assert b"this is no request that is understood here" in answered
        assert (await said(host, port, GOOD)).startswith(b"HTTP/1.1 200 ")

    talking(work)
    assert logs.counts.unexpected == before


CHUNKED = b"Transfer-Encoding: chunked\r\n"
SHORT = b"Content-Length: 5\r\n"


@pytest.mark.parametrize(
    ("version", "fields", "status"),
    [
        (b"1.1", SHORT + CHUNKED, b"400"),
        (b"1.1", CHUNKED + SHORT, b"400"),
        (b"1.0", b"Connection: keep-alive\r\n" + CHUNKED, b"400"),
        (b"1.1", b"Transfer-Encoding : chunked\r\n", b"400"),
        (b"1.1", b"Transfer-Encoding: chunked, identity\r\n", b"501"),
        (b"2.0", b"", b"505"),
        (b"9.9", CHUNKED, b"505"),
        (b"0.9", b"", b"505"),
    ],
)
def test_a_request_that_others_read_differently_is_the_last_of_its_connection(
    version: bytes, fields: bytes, status: bytes
) -> None:
    async def work(host: str, port: int) -> None:
        request = b"GET / HTTP/" + version + b"\r\nHost: x\r\n" + fields + b"\r\n0\r\n\r\n"
        answered = await said(host, port, request + GOOD, end=False)
        assert answered.startswith(b"HTTP/1.1 " + status), answered
        assert answered.count(b"HTTP/1.1 ") == 1
        assert b"hello" not in answered

    talking(work)


def test_a_head_without_end_is_refused_and_a_target_of_any_length_up_to_it_is_not_found() -> None:
    async def work(host: str, port: int) -> None:
        endless = await said(host, port, b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"x" * 200_000, end=False)
        assert endless.startswith(b"HTTP/1.1 431 ")
        assert endless.endswith(b"\r\n\r\na request may have 16384 bytes\n")
        target = b"/" + b"x" * 10_000
        assert (await said(host, port, b"GET " + target + b" HTTP/1.1\r\nHost: x\r\n\r\n")).startswith(b"HTTP/1.1 404 ")

    talking(work)


def test_other_methods_are_told_which_are_served() -> None:
    def ask(client: http.client.HTTPConnection) -> None:
        for method in ("POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "BREW"):
            client.request(method, "/")
            response = client.getresponse()
            assert (response.status, response.getheader("Allow")) == (405, "GET, HEAD")
            response.read()

    asking(ask)


def test_head_has_the_fields_of_get() -> None:
    def ask(client: http.client.HTTPConnection) -> None:
        for path in ("/", "/long", "/none", "/broken"):
            fields = []
            for method in ("GET", "HEAD"):
                client.request(method, path)
                response = client.getresponse()
                told = dict(response.getheaders())
                assert abs(parsedate_to_datetime(told.pop("date")).timestamp() - time.time()) < 3600
                fields.append((response.status, told))
                assert bool(response.read()) == (method == "GET")
            assert fields[0] == fields[1]

    asking(ask)


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["--http1.0"], 200),
        (["--http1.1"], 200),
        (["--head"], 200),
        (["--head", "--http1.0"], 200),
        (["--header", "Expect: 100-continue"], 200),
        (["--request", "GET", "--data", "x" * 2000, "--header", "Expect: 100-continue"], 200),
        (["--data", "x" * 2000, "--header", "Expect: 100-continue"], 405),
        (["--data", "x" * 2000], 405),
        (["--data", "@{large}", "--header", "Expect:"], 405),
        (["--request", "OPTIONS", "--request-target", "*"], 405),
        (["--request-target", "http://[bad"], 400),
        (["--request-target", "http://other.example/"], 200),
        (["--compressed", "--header", "Connection: Upgrade, HTTP2-Settings", "--header", "Upgrade: h2c"], 200),
        (["--header", "Host:"], 400),
        (["--header", "Range: bytes=0-3"], 200),
    ],
    ids=range(15),
)
@needs("curl")
def test_curl_agrees(arguments: list[str], code: int, tmp_path: Path) -> None:
    large = tmp_path / "large"
    large.write_bytes(bytes(4 << 20))

    async def work(host: str, port: int) -> None:
        filled = [argument.replace("{large}", str(large)) for argument in arguments]
        process = await asyncio.create_subprocess_exec(
            *("curl", "--silent", "--max-time", "15", "--write-out", "%{http_code} %{errormsg}", "--output"),
            *(str(tmp_path / "page"), *filled, f"http://{host}:{port}/"),
            stdout=asyncio.subprocess.PIPE,
        )
        output, _nothing = await process.communicate()
        assert output.decode().split() == [str(code)]
        assert process.returncode == 0
        if code == 200 and "--head" not in arguments:
            assert (tmp_path / "page").read_bytes() == b"hello world\n"

    talking(work)


@pytest.mark.parametrize("crowd", [b"", b"GET / HTTP/1.1\r\nX: ", b"GET /endless HTTP/1.1\r\nHost: x\r\n\r\n"])
@pytest.mark.parametrize("source", ["127.0.0.1", "127.0.0.2"])
def test_who_makes_no_progress_gives_way_to_who_comes(crowd: bytes, source: str) -> None:
    async def work(host: str, port: int) -> None:
        reader, writer = await asyncio.open_connection(host, port)
        held = []
        for _turn in range(2):
            for _number in range(served.MAX_CONNECTIONS):
                other = await asyncio.open_connection(host, port, local_addr=(source, 0))
                other[1].write(crowd)
                held.append(other)
            assert (await said(host, port, GOOD)).startswith(b"HTTP/1.1 200 ")
            if source == "127.0.0.2":
                # A scraper keeps its connection: it is the only one of its address.
                writer.write(GOOD)
                assert b"hello world" in await reader.readuntil(b"0\r\n\r\n")
        for _reader, other_writer in [*held, (reader, writer)]:
            other_writer.transport.abort()

    talking(work)


def test_a_page_that_breaks_in_the_middle_ends_its_connection_and_is_counted_once() -> None:
    before = logs.counts.unexpected

    async def work(host: str, port: int) -> None:
        answered = await said(host, port, b"GET /breaking HTTP/1.1\r\nHost: x\r\n\r\n")
        assert not answered.endswith(b"0\r\n\r\n")
        assert (await said(host, port, GOOD)).startswith(b"HTTP/1.1 200 ")

    talking(work)
    assert logs.counts.unexpected == before + 1


def test_health_and_readiness() -> None:
    async def work() -> None:
        served = stopping = False
        routes = health(lambda: unready(served=served, stopping=stopping))

        async def asked(path: str) -> tuple[int, bytes]:
            page = await routes[path](Request())
            return page.status, b"".join([chunk async for chunk in page.body])

        assert await asked("/-/healthy") == (200, b"healthy\n")
        assert await asked("/-/ready") == (503, b"not ready: starting\n")
        served = True
        assert await asked("/-/ready") == (200, b"ready\n")
        stopping = True
        assert await asked("/-/ready") == (503, b"not ready: stopping\n")

    asyncio.run(work())


@pytest.mark.parametrize(
    ("asked", "packed"),
    [
        (None, False),
        ("", False),
        ("gzip", True),
        ("GZIP;q=0.5, identity;q=0.5", True),
        ("gzip;q=0.5, identity", False),
        ("identity;q=0.5, *;q=0.4", False),
        ("deflate, gzip;q=0", False),
        ("*", True),
        ("*;q=0, gzip", True),
        ("identity", False),
        ("gzip;q=lots", False),
    ],
)
def test_pages_are_packed_for_whom_that_serves(asked: str | None, packed: bool) -> None:
    def ask(client: http.client.HTTPConnection) -> None:
        headers = {} if asked is None else {"Accept-Encoding": asked}
        client.putrequest("GET", "/long", skip_accept_encoding=True)
        for name, value in headers.items():
            client.putheader(name, value)
        client.endheaders()
        response = client.getresponse()
        assert response.headers["Vary"] == "Accept, Accept-Encoding"
        assert response.headers.get("Content-Encoding") == ("gzip" if packed else None)
        body = response.read()
        assert len(gzip.decompress(body) if packed else body) == sum(len(f"{number}\n") * 20 for number in range(1000))
        # The connection is as good as before.
        assert answer(client, "HEAD", "/long", headers=headers) == (200, b"")

    asking(ask)


@needs("curl")
def test_curl_reads_what_it_asked_for() -> None:
    def ask(client: http.client.HTTPConnection) -> None:
        url = f"http://{client.host}:{client.port}/long"
        plain, packed = (
            subprocess.run(["curl", "-sSf", *more, url], check=True, capture_output=True, timeout=300).stdout
            for more in ([], ["--compressed"])
        )
        assert plain == packed
        assert plain.startswith(b"0\n0\n")
        old = subprocess.run(
            ["curl", "-sSf0", "--compressed", url], check=True, capture_output=True, timeout=300
        ).stdout
        assert old == plain

    asking(ask)


def test_nothing_that_is_asked_gets_past_the_server() -> None:
    rng = random.Random(225)
    before = logs.counts.unexpected
    words = [b"GET", b"HEAD", b" ", b"/", b"/long", b"http://", b"[", b"]", b"HTTP/1.1", b"\r\n", b"Host: x", b"\x00"]
    words += [
        b"Content-Length: 5",
        b"Transfer-Encoding: chunked",
        b"Expect: 100-continue",
        b"?a=%",
        b";",
        b"\xff",
        b"#",
    ]

    async def work(host: str, port: int) -> None:
        answers = []
        for _number in range(400):
            request = bytearray(GOOD)
            for _turn in range(rng.randrange(4)):
                at = rng.randrange(len(request))
                request[at : at + rng.randrange(3)] = rng.choice(words)
            answers.append((await said(host, port, bytes(request)))[:12])
        assert set(answers) <= {b"", b"HTTP/1.1 200", b"HTTP/1.1 400", b"HTTP/1.1 404", b"HTTP/1.1 405"}
        assert answers.count(b"HTTP/1.1 200") > 50
        assert answers.count(b"HTTP/1.1 400") > 50

    talking(work)
    assert logs.counts.unexpected == before


@pytest.mark.parametrize("pieces", range(3))
def test_a_client_that_hangs_up_between_two_pieces_is_no_fault_of_ours(pieces: int) -> None:
    """A scraper whose time is over; what else goes wrong in a page is counted, and an alert fires."""
    before = logs.counts.unexpected
    told = 0

    async def work() -> None:
        async def left(_request: Request) -> Page:
            async def chunks() -> AsyncIterator[bytes]:
                nonlocal told
                for _piece in range(pieces):
                    yield b"x"
                (one,) = server._visits
                one._writer.transport.abort()
                await one._writer.wait_closed()
                told += 1
                yield b"to nobody"

            return Page(chunks(), "text/plain")

        server = HttpServer({"/": left}, ("127.0.0.1", 0))
        await server.start()
        reader, writer = await asyncio.open_connection(*server.address)
        writer.write(b"GET / HTTP/1.1\r\nhost: here\r\n\r\n")
        with contextlib.suppress(ConnectionError):
            await reader.read()
        writer.close()
        await server.stop()

    uvloop.run(work())
    assert told == 1
    assert logs.counts.unexpected == before


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4000000\r\n\r\n" + bytes(4_000_000), b"HTTP/1.1 405 "),
        (b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"x" * 4_000_000 + b"\r\n\r\n", b"HTTP/1.1 431 "),
        (b"nonsense\r\n\r\n" + bytes(4_000_000), b"HTTP/1.1 400 "),
    ],
    ids=["a body", "a long head", "nonsense"],
)
def test_who_reads_only_after_all_is_sent_reads_the_answer(request_: bytes, status: bytes) -> None:
    """A server that closes over bytes it has not read resets the connection, and the answer with it."""

    async def work(host: str, port: int) -> None:
        def client() -> bytes:
            with socket.create_connection((host, port)) as sock:
                sock.sendall(request_)
                with sock.makefile("rb") as answer:
                    return answer.read()

        assert (await asyncio.to_thread(client)).startswith(status)

    talking(work)
