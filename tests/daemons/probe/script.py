"""A server that says exactly what a script has it say: bytes, pauses, and how the connection ends."""

import contextlib
import socket
import ssl
import struct
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

__all__ = ["Close", "Pause", "Read", "Reset", "ScriptServer", "Step", "running_script"]

SECONDS = 20.0
"""After which a connection that nobody uses is given up."""


@dataclass(frozen=True)
class Read:
    """Wait for so many bytes of the client's, or for the end of a head."""

    until: bytes = b"\r\n\r\n"


@dataclass(frozen=True)
class Pause:
    """Let what was sent arrive by itself: so many seconds."""

    seconds: float


@dataclass(frozen=True)
class Close:
    """Close in order; over TLS with or without a word."""

    silent: bool = False


@dataclass(frozen=True)
class Reset:
    """Cut the connection."""


Step = bytes | Read | Pause | Close | Reset
"""Bytes are sent in one call."""


@dataclass
class ScriptServer:
    """What the server has seen.

    Attributes:
        port: where it listens.
        scripts: one for each connection, in order; the last one serves all that follow.
        connections: how many came.
        requests: what was read, for each :class:`Read`.
    """

    port: int
    scripts: Sequence[Sequence[Step]]
    connections: int = 0
    requests: list[bytes] = field(default_factory=list)


class _Connection:
    def __init__(self, raw: socket.socket, context: ssl.SSLContext | None, server: ScriptServer) -> None:
        self._raw = raw
        self._server = server
        raw.settimeout(SECONDS)
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._sock = context.wrap_socket(raw, server_side=True) if context else raw
        self._unread = b""

    def play(self, script: Sequence[Step], released: threading.Event) -> None:
        for step in script:
            if isinstance(step, bytes):
                self._sock.sendall(step)
            elif isinstance(step, Pause):
                released.wait(step.seconds)
            elif isinstance(step, Read):
                if not self._read(step.until):
                    return
            elif isinstance(step, Reset):
                self._raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                return
            else:
                if not step.silent and isinstance(self._sock, ssl.SSLSocket):
                    with contextlib.suppress(OSError, ValueError):
                        self._sock.unwrap()
                return
        # Without an end in the script it is the client that ends.
        while self._sock.recv(65536):
            pass

    def _read(self, until: bytes) -> bool:
        while until not in self._unread:
            piece = self._sock.recv(65536)
            if not piece:
                return False
            self._unread += piece
        request, _until, self._unread = self._unread.partition(until)
        self._server.requests.append(request + until)
        return True

    def close(self) -> None:
        self._sock.close()
        self._raw.close()


@contextlib.contextmanager
def running_script(scripts: Sequence[Sequence[Step]], context: ssl.SSLContext | None = None) -> Iterator[ScriptServer]:
    """Play a script on each connection that comes, each in a thread of its own."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=128)
    server = ScriptServer(listener.getsockname()[1], scripts)
    released = threading.Event()
    open_sockets: set[socket.socket] = set()

    def serve(raw: socket.socket, script: Sequence[Step]) -> None:
        try:
            connection = _Connection(raw, context, server)
            try:
                connection.play(script, released)
            finally:
                connection.close()
        except OSError:
            # The client has gone, or does not like what it heard.
            pass
        finally:
            open_sockets.discard(raw)
            raw.close()

    def accept() -> None:
        while True:
            try:
                raw, _peer = listener.accept()
            except OSError:
                return
            script = server.scripts[min(server.connections, len(server.scripts) - 1)]
            server.connections += 1
            open_sockets.add(raw)
            thread = threading.Thread(target=serve, args=(raw, script), daemon=True)
            threads.append(thread)
            thread.start()

    threads = [threading.Thread(target=accept, daemon=True)]
    threads[0].start()
    try:
        yield server
    finally:
        released.set()
        with contextlib.suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        for raw in tuple(open_sockets):
            with contextlib.suppress(OSError):
                raw.shutdown(socket.SHUT_RDWR)
        for thread in tuple(threads):
            thread.join(SECONDS)
