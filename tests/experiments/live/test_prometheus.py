"""A server that answers as Prometheus does, found as it should be whatever proxies the environment names."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from experiments.live.prometheus import ask

UP = {"job": "latency", "instance": "127.0.0.1:9472", "role": "receiver", "__name__": "up"}


class Server(ThreadingHTTPServer):
    """Answers every query, and notes what was asked for."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answering)
        self.asked: list[str] = []


class Answering(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        found = {"status": "success", "data": {"result": [{"metric": UP, "value": [0, "0"]}]}}
        body = json.dumps(found).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_arguments: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as serving:
        thread = threading.Thread(target=serving.serve_forever)
        thread.start()
        yield serving
        serving.shutdown()
        thread.join()


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_a_server_on_this_machine_is_asked_by_no_proxy(
    server: Server, monkeypatch: pytest.MonkeyPatch, host: str
) -> None:
    # Port 9 answers nobody.
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    pages = ask(f"http://{host}:{server.server_port}")
    assert [target.address for target in pages] == ["127.0.0.1:9472"]
    assert server.asked[0].startswith("/api/v1/query?query=")


def test_a_server_elsewhere_is_asked_by_the_proxy_of_the_environment(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{server.server_port}")
    assert ask("http://prometheus.invalid:9090")
    assert server.asked[0].startswith("http://prometheus.invalid:9090/api/v1/query?query=")
