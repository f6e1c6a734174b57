"""The internet side of the lab: names, an exchange, an HTTPS API that tells who called, and S3 by its own name."""

import http.server
import json
import socket
import ssl
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import trustme

from tests.lab.cloud_emulator import Emulator, listen_in, serve_in
from tests.lab.inventory import Inventory
from tests.lab.lab import Site
from tests.processes import DEADLINE_SECONDS

__all__ = ["API", "API_PORT", "EXCHANGE", "S3", "Internet", "Seen"]

API, EXCHANGE, S3 = "api.lab", "exchange.lab", "amazonaws.com"
S3_REGIONS = ("ap-northeast-1", "ap-southeast-1")
API_PORT = 5000
"""Where AWS's API answers on the internet, for an operator who is there."""
ADDRESSES = {S3: "198.18.0.10", EXCHANGE: "198.18.0.90"}
EDGES = {"tokyo": "198.18.0.80", "singapore": "198.18.0.81", "frankfurt": "198.18.0.82"}
"""Where the API's name leads, by the site whose resolver is asked, as with any service that has edges."""


@dataclass(frozen=True, slots=True)
class Seen:
    """A request as the API's server saw it."""

    caller: str
    edge: str
    path: str
    mss: int


class Internet:
    """Servers in the internet's namespace.

    Args:
        inventory: where processes are written down.
        site: the internet.
        emulator: what answers as S3.
        directory: where certificates go.
    """

    def __init__(self, inventory: Inventory, site: Site, emulator: Emulator, directory: Path) -> None:
        self.site = site
        self.seen: list[Seen] = []
        self._processes: list[subprocess.Popen[bytes]] = []
        authority = trustme.CA()
        self.authority = authority.cert_pem.bytes().decode()
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        certificate = authority.issue_cert(API, EXCHANGE, *(f"*.s3.{region}.{S3}" for region in S3_REGIONS))
        certificate.configure_cert(tls)
        self._certificate, self._key = directory / "lab.pem", directory / "lab.key"
        self._certificate.write_bytes(b"".join(blob.bytes() for blob in certificate.cert_chain_pems))
        self._key.write_bytes(certificate.private_key_pem.bytes())
        for address in (*ADDRESSES.values(), *EDGES.values()):
            site.router.ip("addr", "add", f"{address}/32", "dev", "lan")
        emulator.serve(listen_in(site.router.name, ADDRESSES[S3], 443), tls)
        emulator.serve(listen_in(site.router.name, ADDRESSES[S3], API_PORT))
        self._servers = [self._api(edge, address, tls) for edge, address in EDGES.items()]
        self._exchange(inventory)

    def close(self) -> None:
        """End the servers and the exchange."""
        for server in self._servers:
            server.shutdown()
            server.server_close()
        for process in self._processes:
            process.kill()
            process.wait()

    def _exchange(self, inventory: Inventory) -> None:
        program = Path(sys.executable).with_name("latency-simulator")
        listen = f"{ADDRESSES[EXCHANGE]}:443"
        command = [
            *("ip", "netns", "exec", self.site.router.name, str(program), "--listen", listen, "--rate", "50"),
            *("--stream", "btcusdt@trade", "--stream", "btcusdt@bookTicker"),
            *("--tls-certificate", str(self._certificate), "--tls-key", str(self._key)),
        ]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        inventory.add_process(process.pid)
        self._processes.append(process)

    def _api(self, edge: str, address: str, tls: ssl.SSLContext) -> http.server.ThreadingHTTPServer:
        seen = self.seen

        class Handler(http.server.BaseHTTPRequestHandler):
            timeout = 30
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                self.note()
                body = json.dumps({"ip": self.client_address[0], "edge": edge}).encode()
                if self.path.startswith("/bytes/"):
                    body = bytes(int(self.path.split("/")[2]))
                self.reply(body)

            def do_POST(self) -> None:
                self.note()
                got = len(self.rfile.read(int(self.headers["Content-Length"])))
                self.reply(str(got).encode())

            def note(self) -> None:
                mss = self.connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG)
                seen.append(Seen(str(self.client_address[0]), edge, self.path, mss))

            def reply(self, body: bytes) -> None:
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *arguments: object) -> None:
                """Say nothing."""

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads = True

            def finish_request(self, request: Any, client_address: Any) -> None:
                # In the connection's own thread, so that nobody's handshake holds up the others.
                request.settimeout(DEADLINE_SECONDS)
                with tls.wrap_socket(request, server_side=True) as wrapped:
                    super().finish_request(wrapped, client_address)

            def handle_error(self, request: Any, client_address: Any) -> None:
                """A caller that hangs up is its own affair."""

        server = Server((address, 443), Handler, bind_and_activate=False)
        serve_in(self.site.router.name, server)
        return server
