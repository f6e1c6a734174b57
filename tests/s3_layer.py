"""An S3 emulator (moto), and a layer before it that counts requests, and fails, repeats, loses answers and lies."""

import random
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from moto.server import ThreadedMotoServer

__all__ = ["Layer", "Passing", "emulated", "layered"]


class Layer(ThreadingHTTPServer):
    """Stands between a client and the emulator.

    Attributes:
        fault: names what is to go wrong with a request, or nothing.
        seen: requests that reached the emulator, by kind.
        asked: their methods and paths, in order.
    """

    daemon_threads = True

    def __init__(self, port: int) -> None:
        super().__init__(("127.0.0.1", 0), Passing)
        self.port = port
        self.rng = random.Random(0)
        self.odds = 0.0
        self.seen: Counter[str] = Counter()
        self.asked: list[tuple[str, str]] = []
        self.lies: dict[str, str] = {}

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def fault(self) -> str:
        faults = ("fail", "lose", "repeat", "lie", "cut")
        return self.rng.choice(faults) if self.rng.random() < self.odds else ""

    def handle_error(self, request: object, client_address: object) -> None:
        """Be silent about connections that the client or a fault has cut."""


class Passing(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Layer

    def log_message(self, *_arguments: object) -> None:
        pass

    def _pass(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        fault = self.server.fault()
        if fault == "fail":
            self._answer(503, {}, b"<Error><Code>SlowDown</Code><Message>later</Message></Error>")
            return
        status, headers, answer = self.ask(body)
        if fault == "repeat":
            status, headers, answer = self.ask(body)
        if fault in ("lose", "cut"):
            self.close_connection = True
            if fault == "cut":
                self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n<half")
            return
        if self.command == "HEAD":
            headers |= self.server.lies
            if fault == "lie":
                headers["content-length"] = str(int(headers.get("content-length", 1)) // 2)
        self._answer(status, headers, answer)

    do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = _pass  # noqa: N815 names of the library

    def ask(self, body: bytes) -> tuple[int, dict[str, str], bytes]:
        kind = "part" if "partNumber" in self.path else "object" if self.command == "PUT" else self.command.lower()
        self.server.seen[kind] += 1
        self.server.asked.append((self.command, self.path))
        with_emulator = HTTPConnection("127.0.0.1", self.server.port, timeout=300)
        try:
            with_emulator.request(self.command, self.path, body, dict(self.headers.items()))
            answer = with_emulator.getresponse()
            return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
        finally:
            with_emulator.close()

    def _answer(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.send_response_only(status)
        for name, value in headers.items():
            if name not in ("content-length", "connection", "transfer-encoding"):
                self.send_header(name, value)
        length = headers.get("content-length", str(len(body))) if self.command == "HEAD" else str(len(body))
        self.send_header("Content-Length", length)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


@contextmanager
def emulated() -> Iterator[int]:
    """Run the emulator; give its port."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    try:
        yield server.get_host_and_port()[1]
    finally:
        server.stop()


@contextmanager
def layered(port: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[Layer]:
    """Stand before the emulator, with credentials that it takes."""
    for name, value in (
        ("ACCESS_KEY_ID", "testing"),
        ("SECRET_ACCESS_KEY", "testing"),
        ("DEFAULT_REGION", "eu-west-1"),
    ):
        monkeypatch.setenv(f"AWS_{name}", value)
    made = Layer(port)
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", made.url)
    thread = threading.Thread(target=made.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield made
    finally:
        made.shutdown()
        made.server_close()
        thread.join()
