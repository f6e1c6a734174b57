"""A TLS server under a test's control: it delays, hangs, resets, trickles and lies where it is told to."""

import contextlib
import socket
import ssl
import struct
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import h2.config
import h2.connection
import h2.events
import trustme

BODY = b'{"serverTime": 1700000000000, "ok": true}'


@dataclass
class Behaviour:
    """What the server does with a connection; seconds for delays, and the point at which it does something else."""

    accept_delay: float = 0.0
    handshake_delay: float = 0.0
    first_byte_delay: float = 0.0
    body_delay: float = 0.0
    hang: str = ""
    reset: str = ""
    close: str = ""
    status: str = "200 OK"
    headers: tuple[str, ...] = ()
    body: bytes = BODY
    trickle_seconds: float = 0.0
    garbage: bytes = b""
    requests_per_connection: int = 1_000_000


@dataclass
class Seen:
    """What the server saw."""

    server_names: list[str | None] = field(default_factory=list)
    hosts: list[str] = field(default_factory=list)
    peers: list[str] = field(default_factory=list)
    requests: list[bytes] = field(default_factory=list)
    connections: int = 0
    slept: dict[str, list[tuple[int, int]]] = field(default_factory=dict)
    """Begin and end of each delay on the monotonic clock, in ns: a sleep lasts longer than asked."""

    errors: list[str] = field(default_factory=list)


class Authority:
    """A certificate authority of the test's own, with its file."""

    def __init__(self, directory: Path) -> None:
        self.ca = trustme.CA()
        self.file = directory / "authority.pem"
        self.ca.cert_pem.write_to_path(str(self.file))

    def context(self, *names: str, alpn: tuple[str, ...] = (), **arguments: object) -> ssl.SSLContext:
        certificate = self.ca.issue_cert(*(names or ("localhost", "127.0.0.1")), **arguments)  # type: ignore[arg-type]
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        certificate.configure_cert(context)
        if alpn:
            context.set_alpn_protocols(list(alpn))
        return context


class Server:
    """Serves every connection in a thread of its own until closed.

    Args:
        context: TLS settings; None for plain HTTP.
        host: to listen on.
        port: to listen on.
    """

    def __init__(self, context: ssl.SSLContext | None, host: str = "127.0.0.1", port: int = 0) -> None:
        self.behaviour = Behaviour()
        self.seen = Seen()
        self._context = context
        if context is not None:
            context.sni_callback = lambda _socket, name, _context: self.seen.server_names.append(name)
        self._listener = socket.create_server((host, port), backlog=512)
        self.port: int = self._listener.getsockname()[1]
        self._open = True
        self._released = threading.Event()
        self._sockets: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._acceptor = threading.Thread(target=self._accept, daemon=True)
        self._acceptor.start()

    def close(self) -> None:
        self._open = False
        self._released.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._acceptor.join(300)
        self.drop_connections()
        for thread in self._threads:
            thread.join(300)

    def drop_connections(self) -> None:
        """Close all that are open, as a server does that is restarted."""
        for sock in tuple(self._sockets):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        while self._open:
            try:
                sock, peer = self._listener.accept()
            except OSError:
                return
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.seen.peers.append(peer[0])
            self.seen.connections += 1
            self._sockets.add(sock)
            thread = threading.Thread(target=self._guarded, args=(sock,), daemon=True)
            self._threads = [one for one in self._threads if one.is_alive()]
            self._threads.append(thread)
            thread.start()

    def _guarded(self, raw: socket.socket) -> None:
        raw.settimeout(300)
        sock = raw
        try:
            sock = self._secured(raw)
            self._sockets.add(sock)
            if isinstance(sock, ssl.SSLSocket) and sock.selected_alpn_protocol() == "h2":
                self._serve_http2(sock)
            else:
                self._serve(sock)
        except _Enough:
            pass
        except OSError as error:
            self.seen.errors.append(f"{type(error).__name__}: {error}")
        finally:
            self._sockets.discard(raw)
            self._sockets.discard(sock)
            sock.close()
            raw.close()

    def _secured(self, raw: socket.socket) -> socket.socket:
        self._sleep("accept", self.behaviour.accept_delay)
        self._trouble("accept", raw)
        if self._context is None:
            return raw
        sock = self._context.wrap_socket(raw, server_side=True, do_handshake_on_connect=False)
        try:
            if self.behaviour.handshake_delay:
                # After the client's hello is there: between two flights of the handshake.
                socket.socket.recv(sock, 1, socket.MSG_PEEK)
                self._sleep("handshake", self.behaviour.handshake_delay)
            sock.do_handshake()
        except OSError:
            sock.close()
            raise
        return sock

    def _serve(self, sock: socket.socket) -> None:
        left = self.behaviour.requests_per_connection
        while left:
            left -= 1
            request = self._request(sock)
            if not request:
                return
            behaviour = self.behaviour
            self._sleep("first_byte", behaviour.first_byte_delay)
            self._trouble("response", sock)
            if behaviour.garbage:
                sock.sendall(behaviour.garbage)
                raise _Enough
            body = b"" if request.startswith(b"HEAD") else behaviour.body
            lines = [f"HTTP/1.1 {behaviour.status}", f"content-length: {len(behaviour.body)}", *behaviour.headers]
            if not left:
                lines.append("connection: close")
            head = "\r\n".join([*lines, "", ""]).encode()
            half = len(body) // 2
            if behaviour.trickle_seconds:
                for byte in head + body:
                    sock.sendall(bytes([byte]))
                    if self._released.wait(behaviour.trickle_seconds):
                        return
            elif behaviour.body_delay or behaviour.hang == "body" or "body" in (behaviour.reset, behaviour.close):
                sock.sendall(head + body[:half])
                self._trouble("body", sock)
                self._sleep("body", behaviour.body_delay)
                sock.sendall(body[half:])
            else:
                sock.sendall(head + body)

    def _request(self, sock: socket.socket) -> bytes:
        request = b""
        while b"\r\n\r\n" not in request:
            piece = sock.recv(65536)
            if not piece:
                return b""
            request += piece
        head, _end, body = request.partition(b"\r\n\r\n")
        pairs = (line.split(b": ", 1) for line in head.split(b"\r\n")[1:])
        headers = {name.lower(): value for name, value in pairs}
        while len(body) < int(headers.get(b"content-length", b"0")):
            body += sock.recv(65536)
        self.seen.requests.append(head + b"\r\n\r\n" + body)
        self.seen.hosts.append(headers[b"host"].decode())
        return request

    def _serve_http2(self, sock: socket.socket) -> None:
        connection = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False, header_encoding=None))
        connection.initiate_connection()
        sock.sendall(connection.data_to_send())
        left = self.behaviour.requests_per_connection
        received: dict[int, bytes] = {}
        while data := sock.recv(65536):
            for event in connection.receive_data(data):
                if isinstance(event, h2.events.RequestReceived):
                    headers = {bytes(name): bytes(value) for name, value in event.headers}
                    self.seen.hosts.append(headers[b":authority"].decode())
                    received[event.stream_id] = b""
                elif isinstance(event, h2.events.DataReceived):
                    received[event.stream_id] += event.data
                    connection.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                elif isinstance(event, h2.events.StreamEnded):
                    left -= 1
                    self.seen.requests.append(received.pop(event.stream_id))
                    self._answer_http2(sock, connection, event.stream_id)
                    if not left:
                        connection.close_connection()
            sock.sendall(connection.data_to_send())

    def _answer_http2(self, sock: socket.socket, connection: h2.connection.H2Connection, stream: int) -> None:
        behaviour = self.behaviour
        self._sleep("first_byte", behaviour.first_byte_delay)
        self._trouble("response", sock)
        if behaviour.reset == "stream":
            connection.reset_stream(stream)
            return
        connection.send_headers(stream, [(":status", behaviour.status.split()[0])])
        half = len(behaviour.body) // 2
        connection.send_data(stream, behaviour.body[:half])
        if behaviour.body_delay:
            sock.sendall(connection.data_to_send())
            self._sleep("body", behaviour.body_delay)
        rest = behaviour.body[half:]
        while len(rest) > (window := connection.local_flow_control_window(stream)) or len(rest) > 16384:
            piece, rest = rest[: min(window, 16384)], rest[min(window, 16384) :]
            if piece:
                connection.send_data(stream, piece)
                sock.sendall(connection.data_to_send())
            else:
                connection.receive_data(sock.recv(65536))
        connection.send_data(stream, rest, end_stream=True)

    def _sleep(self, what: str, seconds: float) -> None:
        if not seconds:
            return
        began_ns = time.monotonic_ns()
        time.sleep(seconds)
        self.seen.slept.setdefault(what, []).append((began_ns, time.monotonic_ns()))

    def _trouble(self, point: str, sock: socket.socket) -> None:
        behaviour = self.behaviour
        if behaviour.hang == point:
            self._released.wait(300)
            raise _Enough
        if behaviour.close == point:
            if point == "accept":
                # Closing on unread bytes would be a reset.
                sock.recv(65536)
            raise _Enough
        if behaviour.reset == point:
            if point == "accept":
                # A reset at once could come while the client still connects.
                sock.recv(1, socket.MSG_PEEK)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            raise _Enough


class _Enough(Exception):  # noqa: N818 the end of a connection is no error
    """This connection is over."""


@contextlib.contextmanager
def serving(context: ssl.SSLContext | None, host: str = "127.0.0.1", **behaviour: object) -> Iterator[Server]:
    """Run a server with this behaviour for a while."""
    server = Server(context, host)
    server.behaviour = Behaviour(**behaviour)  # type: ignore[arg-type]
    try:
        yield server
    finally:
        server.close()
