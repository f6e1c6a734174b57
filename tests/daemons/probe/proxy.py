"""A proxy under a test's control: it answers CONNECT with what the script says, then tunnels, closes or hangs."""

import contextlib
import select
import socket
import struct
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

ESTABLISHED = b"HTTP/1.1 200 Connection established\r\n\r\n"


@dataclass
class Script:
    """What the proxy does with a connection.

    Attributes:
        answer: to CONNECT, piece by piece; each is a write of its own.
        then: ``tunnel``, ``close``, ``reset`` or ``hang``, when all of the answer is sent.
        authorization: what Proxy-Authorization must hold; None to ask for nothing.
        delay: seconds before CONNECT is answered.
        pause: seconds before each piece of the answer.
        names: the addresses of names that this proxy alone resolves.
    """

    answer: tuple[bytes, ...] = (ESTABLISHED,)
    then: str = "tunnel"
    authorization: bytes | None = None
    names: dict[str, str] = field(default_factory=dict)
    delay: float = 0.0
    pause: float = 0.0


@dataclass
class Seen:
    """What the proxy saw: the head of every request, and the name and port of every tunnel."""

    heads: list[bytes] = field(default_factory=list)
    tunnels: list[str] = field(default_factory=list)
    slept: list[tuple[int, int]] = field(default_factory=list)
    """Begin and end of each delay, monotonic: a sleep lasts longer than asked."""

    answered_ns: list[tuple[int, int]] = field(default_factory=list)
    """When the head of each CONNECT had come, and just before the last piece of its answer was sent; monotonic."""


class Proxy:
    """Serves every connection in a thread of its own until closed.

    Args:
        script: what it does; may be replaced between connections.
        host: to listen on.
    """

    def __init__(self, script: Script, host: str = "127.0.0.1") -> None:
        self.script = script
        self.seen = Seen()
        self._listener = socket.create_server((host, 0), backlog=512)
        self.port: int = self._listener.getsockname()[1]
        self.url = f"http://{host}:{self.port}"
        self._released = threading.Event()
        self._sockets: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._acceptor = threading.Thread(target=self._accept, daemon=True)
        self._acceptor.start()

    def close(self) -> None:
        self._released.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._acceptor.join(300)
        for sock in tuple(self._sockets):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(300)

    def _accept(self) -> None:
        while True:
            try:
                sock, _peer = self._listener.accept()
            except OSError:
                return
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._sockets.add(sock)
            thread = threading.Thread(target=self._guarded, args=(sock,), daemon=True)
            self._threads = [one for one in self._threads if one.is_alive()]
            self._threads.append(thread)
            thread.start()

    def _guarded(self, sock: socket.socket) -> None:
        sock.settimeout(300)
        try:
            while (head := _head(sock)) and self._serve(sock, head, self.script):
                pass
        except OSError:
            # The client has gone, as one does that is refused or whose time is up.
            return
        finally:
            self._sockets.discard(sock)
            sock.close()

    def _serve(self, sock: socket.socket, head: bytes, script: Script) -> bool:
        """Answer one request; return whether another may follow."""
        self.seen.heads.append(head)
        method, target, _version = head.split(b"\r\n", 1)[0].split(b" ")
        if script.authorization is not None and _header(head, b"proxy-authorization") != script.authorization:
            sock.sendall(
                b'HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic realm="lab"\r\n'
                b"Content-Length: 6\r\n\r\nsecret"
            )
            return False
        if method != b"CONNECT":
            self._forward(sock, head, target.decode())
            return True
        if not self._answered(sock, script):
            return False
        if script.then == "tunnel":
            self.seen.tunnels.append(target.decode())
            self._relay(sock, self._reached(target.decode()))
        elif script.then == "hang":
            self._released.wait(300)
        elif script.then == "close":
            # Closing at once, on bytes that nobody reads, would be a reset.
            sock.shutdown(socket.SHUT_WR)
            while sock.recv(65536):
                pass
        elif script.then == "reset":
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        return False

    def _answered(self, sock: socket.socket, script: Script) -> bool:
        """Send the answer to CONNECT; return whether all of it went before the test was over."""
        come_ns = sent_ns = time.monotonic_ns()
        if script.delay:
            time.sleep(script.delay)
            self.seen.slept.append((come_ns, time.monotonic_ns()))
        for piece in script.answer:
            if script.pause and self._released.wait(script.pause):
                return False
            sent_ns = time.monotonic_ns()
            sock.sendall(piece)
        self.seen.answered_ns.append((come_ns, sent_ns))
        return True

    def _forward(self, sock: socket.socket, head: bytes, target: str) -> None:
        """Ask the server in origin form and hand back what it answers (RFC 9112, section 3.2.2)."""
        authority, _slash, path = target.removeprefix("http://").partition("/")
        lines = [line for line in head.split(b"\r\n")[1:] if not line.lower().startswith(b"proxy-")]
        lines.insert(1, b"connection: close")
        with self._reached(authority) as server:
            self._sockets.add(server)
            server.sendall(b"\r\n".join([f"GET /{path} HTTP/1.1".encode(), *lines]))
            while data := server.recv(65536):
                sock.sendall(data)
            self._sockets.discard(server)

    def _relay(self, client: socket.socket, server: socket.socket) -> None:
        with server:
            self._sockets.add(server)
            ends = {client: server, server: client}
            try:
                while not self._released.is_set():
                    for end in select.select([client, server], (), (), 30)[0]:
                        if not (data := end.recv(65536)):
                            return
                        ends[end].sendall(data)
            finally:
                self._sockets.discard(server)

    def _reached(self, authority: str) -> socket.socket:
        host, _colon, port = authority.rpartition(":")
        address = self.script.names.get(host, host.strip("[]"))
        sock = socket.create_connection((address, int(port)), timeout=300)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return sock


def _head(sock: socket.socket) -> bytes:
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        # One at a time, so that what follows the head stays for the tunnel.
        if not (byte := sock.recv(1)):
            return b""
        head += byte
    return head


def _header(head: bytes, name: bytes) -> bytes:
    pairs = (line.partition(b":") for line in head.split(b"\r\n")[1:])
    return next((value.strip() for key, _colon, value in pairs if key.lower() == name), b"")


@contextlib.contextmanager
def proxying(*answer: bytes, then: str = "tunnel", **more: Any) -> Iterator[Proxy]:
    """Run a proxy that answers so for a while."""
    proxy = Proxy(Script(answer or (ESTABLISHED,), then, **more))
    try:
        yield proxy
    finally:
        proxy.close()
