"""Pages behind a web configuration, as curl finds them, and as strangers do."""

import asyncio
import base64
import contextlib
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import trustme
import uvloop

from daemons.service.web import passwords, visit
from daemons.service.web import server as served
from daemons.service.web.pages import Page, Request, text
from daemons.service.web.server import HttpServer
from daemons.service.web.web_config import WebFile
from tests.daemons.service.web.certificates import HASH, PASSWORD, issue, web_file
from tests.tools import needs

TLS = "tls_server_config:\n  cert_file: server.pem\n  key_file: server.key\n"
VERIFY = "  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: ca.pem\n"
IF_GIVEN = "  client_auth_type: VerifyClientCertIfGiven\n  client_ca_file: ca.pem\n"
SANS = "  client_allowed_sans: [prometheus.test]\n"
USERS = f"basic_auth_users:\n  prometheus: {HASH}\n"
HEADERS = "http_server_config:\n  headers:\n    Strict-Transport-Security: max-age=60\n"
RIGHT = ["--user", f"prometheus:{PASSWORD}"]
OWN = ["--cert", "prometheus.pem", "--key", "prometheus.key"]
FOREIGN = ["--cert", "foreign.pem", "--key", "foreign.key"]
OTHER = ["--cert", "other.pem", "--key", "other.key"]


@pytest.fixture(autouse=True)
def _no_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passwords, "REST", 0.0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("web")
    authority = trustme.CA()
    authority.cert_pem.write_to_path(folder / "ca.pem")
    issue(authority, folder, "server", "127.0.0.1")
    issue(authority, folder, "prometheus", "prometheus.test")
    issue(authority, folder, "other", "other.test")
    issue(trustme.CA(), folder, "foreign", "prometheus.test")
    return folder


async def hello(_request: Request) -> Page:
    return Page(text("hello\n" * 20_000))


@dataclass
class Serving:
    folder: Path
    server: HttpServer

    async def curl(self, *arguments: str, scheme: str = "https") -> tuple[int, int]:
        """Return curl's exit code and the last HTTP status."""
        host, port = self.server.address
        process = await asyncio.create_subprocess_exec(
            *("curl", "--silent", "--max-time", "15", "--output", "/dev/null", "--write-out", "%{http_code}"),
            *("--cacert", "ca.pem", *arguments, f"{scheme}://{host}:{port}/"),
            stdout=asyncio.subprocess.PIPE,
            cwd=self.folder,
        )
        output, _nothing = await process.communicate()
        assert process.returncode is not None
        return process.returncode, int(output)


def serving(folder: Path, config: str, work: Callable[[Serving], Awaitable[None]]) -> dict[str, int]:
    """Serve by a configuration; return what was refused."""

    async def both() -> dict[str, int]:
        server = HttpServer({"/": hello}, ("127.0.0.1", 0), WebFile.of(web_file(folder, config)))
        await server.start()
        try:
            async with asyncio.timeout(300):
                await work(Serving(folder, server))
        finally:
            await server.stop()
        return {reason: count for reason, count in server.refusals.items() if count}

    return uvloop.run(both())


CURL: list[tuple[str, list[str], str, int, str]] = [
    # Configuration, curl's arguments, scheme, status (0: none), what is counted.
    ("", [], "http", 200, ""),
    ("", [], "https", 0, ""),
    (USERS, [], "http", 401, "credentials"),
    (USERS, RIGHT, "http", 200, ""),
    (USERS, ["--user", "prometheus:wrong"], "http", 401, "credentials"),
    (USERS, ["--user", f"nobody:{PASSWORD}"], "http", 401, "credentials"),
    (USERS, ["--anyauth", *RIGHT], "http", 200, "credentials"),
    (USERS, ["--digest", *RIGHT], "http", 401, "credentials"),
    (USERS, ["--oauth2-bearer", "x"], "http", 401, "credentials"),
    (USERS, [*RIGHT, "--header", "Authorization: Basic eDp5"], "http", 401, "credentials"),
    (USERS, ["--request", "POST", "--data", "x"], "http", 401, "credentials"),
    (USERS, ["--head"], "http", 401, "credentials"),
    (TLS, [], "https", 200, ""),
    (TLS, [], "http", 400, "tls"),
    (TLS, ["--tls-max", "1.2"], "https", 200, ""),
    (TLS, ["--tls-max", "1.2", "--http2"], "https", 200, ""),
    (TLS, ["--ciphers", "DEFAULT@SECLEVEL=0", "--tls-max", "1.1"], "https", 0, "tls"),
    (TLS + "  min_version: TLS13\n", ["--tls-max", "1.2"], "https", 0, "tls"),
    (TLS + "  min_version: TLS13\n", ["--tlsv1.3"], "https", 200, ""),
    (TLS, ["--cacert", "foreign.pem"], "https", 0, "tls"),
    (TLS, FOREIGN, "https", 200, ""),
    (TLS + VERIFY, OWN, "https", 200, ""),
    (TLS + VERIFY, [*OWN, "--tls-max", "1.2"], "https", 200, ""),
    (TLS + VERIFY, [], "https", 0, "tls"),
    (TLS + VERIFY, ["--tls-max", "1.2"], "https", 0, "tls"),
    (TLS + VERIFY, FOREIGN, "https", 0, "certificate"),
    (TLS + VERIFY + SANS, OWN, "https", 200, ""),
    (TLS + VERIFY + SANS, OTHER, "https", 0, "certificate"),
    (TLS + IF_GIVEN, [], "https", 200, ""),
    (TLS + IF_GIVEN, OWN, "https", 200, ""),
    (TLS + IF_GIVEN, FOREIGN, "https", 0, "certificate"),
    (TLS + VERIFY + USERS, [*OWN, *RIGHT], "https", 200, ""),
    (TLS + VERIFY + USERS, OWN, "https", 401, "credentials"),
    (TLS + VERIFY + USERS, RIGHT, "https", 0, "tls"),
]


@pytest.mark.parametrize("number", range(len(CURL)))
@needs("curl")
def test_curl_gets_in_with_what_is_wanted_and_with_nothing_less(folder: Path, number: int) -> None:
    config, arguments, scheme, status, reason = CURL[number]

    async def work(at: Serving) -> None:
        code, got = await at.curl(*arguments, scheme=scheme)
        assert got == status
        assert (code == 0) == bool(status)

    assert set(serving(folder, config, work)) == ({reason} if reason else set())


@needs("curl")
def test_headers_are_on_every_answer(folder: Path) -> None:
    async def work(at: Serving) -> None:
        for arguments in (RIGHT, [], ["--request-target", "/none"], ["--request-target", "http://[bad"]):
            process = await asyncio.create_subprocess_exec(
                *("curl", "--silent", "--max-time", "15", "--output", "/dev/null", "--dump-header", "-", *arguments),
                "http://{}:{}/".format(*at.server.address),
                stdout=asyncio.subprocess.PIPE,
            )
            output, _nothing = await process.communicate()
            assert b"Strict-Transport-Security: max-age=60" in output.title().replace(b"Max-Age", b"max-age")

    serving(folder, USERS + HEADERS, work)


async def request(at: Serving, context: ssl.SSLContext | None, user: str | None = None) -> bytes:
    """Ask as a scraper does; return the head."""
    reader, writer = await asyncio.open_connection(*at.server.address, ssl=context)
    writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    try:
        return await reader.readline()
    finally:
        writer.transport.abort()


def trusting(folder: Path) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(folder / "ca.pem"))


def test_a_renewed_certificate_is_shown_to_who_comes_next_and_old_connections_end(tmp_path: Path) -> None:
    first, second = trustme.CA(), trustme.CA()
    issue(first, tmp_path, "server", "127.0.0.1")
    contexts = []
    for authority in (first, second):
        authority.cert_pem.write_to_path(tmp_path / "ca.pem")
        contexts.append(trusting(tmp_path))

    async def work(at: Serving) -> None:
        assert b" 200 " in await request(at, contexts[0])
        reader, writer = await asyncio.open_connection(*at.server.address, ssl=contexts[0], limit=1 << 20)
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert b"hello" in await reader.readuntil(b"\r\n0\r\n\r\n")
        issue(second, tmp_path, "server", "127.0.0.1")
        assert b" 200 " in await request(at, contexts[1])
        with pytest.raises(ssl.SSLCertVerificationError):
            await request(at, contexts[0])
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert await reader.read() == b""
        writer.transport.abort()
        # No users, then one: who was let in without a name has to say it.
        web_file(tmp_path, TLS + USERS)
        assert b" 401 " in await request(at, contexts[1])

    serving(tmp_path, TLS, work)


@pytest.mark.parametrize(
    "crowd", [b"", b"\x16", b"\x16\x03\x01\x02\x00", b"\x16\x03\x01\xff\xff" + bytes(20_000)], ids=range(4)
)
def test_handshakes_that_do_not_end_keep_nobody_out(folder: Path, crowd: bytes) -> None:
    async def work(at: Serving) -> None:
        held = []
        for _number in range(served.MAX_CONNECTIONS * 3):
            other = await asyncio.open_connection(*at.server.address, local_addr=("127.0.0.2", 0))
            other[1].write(crowd)
            held.append(other)
        assert b" 200 " in await request(at, trusting(folder))
        assert len(at.server._connections) <= served.MAX_CONNECTIONS + 1
        for _reader, writer in held:
            writer.transport.abort()

    serving(folder, TLS, work)


def test_a_handshake_has_a_bounded_time(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(visit, "REQUEST_SECONDS", 0.05)

    async def work(at: Serving) -> None:
        reader, writer = await asyncio.open_connection(*at.server.address)
        writer.write(b"\x16\x03\x01")
        with contextlib.suppress(ConnectionResetError):
            assert await reader.read() == b""
        writer.close()

    serving(folder, TLS, work)


def test_a_request_that_comes_with_the_handshakes_last_bytes_is_read(folder: Path) -> None:
    async def work(at: Serving) -> None:
        reader, writer = await asyncio.open_connection(*at.server.address)
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        client = trusting(folder).wrap_bio(incoming, outgoing, server_hostname="127.0.0.1")
        while True:
            try:
                client.do_handshake()
                break
            except ssl.SSLWantReadError:
                writer.write(outgoing.read())
                incoming.write(await reader.read(65536))
        client.write(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        writer.write(outgoing.read())
        # To the end of the session, which is told and not just cut.
        pieces = [b"unread"]
        while pieces[-1]:
            try:
                pieces.append(client.read(65536))
            except ssl.SSLWantReadError:
                came = await reader.read(65536)
                assert came, "the session was cut"
                incoming.write(came)
        answer = b"".join(pieces[1:])
        assert answer.startswith(b"HTTP/1.1 200 ")
        assert answer.endswith(b"0\r\n\r\n")
        writer.close()

    serving(folder, TLS, work)


@needs("curl")
def test_a_flood_of_guesses_is_counted_and_a_scraper_that_is_known_is_served(folder: Path) -> None:
    async def work(at: Serving) -> None:
        assert (await at.curl(*RIGHT, scheme="http"))[1] == 200

        async def guess(number: int) -> int:
            reader, writer = await asyncio.open_connection(*at.server.address, local_addr=(f"127.0.1.{number % 9}", 0))
            said = base64.b64encode(b"prometheus:guess%d" % number)
            writer.write(b"GET / HTTP/1.1\r\nHost: x\r\nAuthorization: Basic " + said + b"\r\n\r\n")
            try:
                return int((await reader.readline()).split()[1])
            finally:
                writer.transport.abort()

        for turn in range(5):
            guesses = [asyncio.create_task(guess(turn * 50 + number)) for number in range(50)]
            assert (await at.curl(*RIGHT, scheme="http"))[1] == 200
            assert set(await asyncio.gather(*guesses)) <= {401, 429}

    refused = serving(folder, USERS, work)
    assert refused["credentials"] + refused["limited"] == 250
    assert refused["limited"] > 0
