"""A server that says exactly what a script has it say: bytes, pauses, and how the connection ends."""

import contextlib
import fcntl
import os
import re
import socket
import ssl
import struct
import termios
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

__all__ = ["Close", "Pause", "Read", "Reset", "ScriptServer", "Step", "running_script"]

SECONDS = 60.0
"""After which a connection that nobody uses is given up."""

LOOK_SECONDS = 0.001


@dataclass(frozen=True)
class Read:
    """Wait until what the client sends matches: by default the end of a head."""

    until: bytes = b"\r\n\r\n"

    @classmethod
    def request(cls, stream: int, *, body: bool = False) -> "Read":
        """Wait for an HTTP/2 request: the frame HEADERS with whatever flags, or the end of its body's DATA."""
        return cls((b"\x00\x01" if body else b"(?s)\x01.") + re.escape(stream.to_bytes(4, "big")))


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

    def begin(self, scripts: Sequence[Sequence[Step]]) -> None:
        """Play other scripts from now on; connections that stand go on with theirs."""
        self.scripts, self.connections = scripts, 0


class _Connection:
    def __init__(self, raw: socket.socket, context: ssl.SSLContext | None, server: ScriptServer) -> None:
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
                self._delivered()
                self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                return
            else:
                self._end(silent=step.silent)
                return
        # Without an end in the script it is the client that ends.
        while self._sock.recv(65536):
            pass

    def _read(self, until: bytes) -> bool:
        while (found := re.search(until, self._unread)) is None:
            piece = self._sock.recv(65536)
            if not piece:
                return False
            self._unread += piece
        self._server.requests.append(self._unread[: found.end()])
        self._unread = self._unread[found.end() :]
        return True

    def _end(self, *, silent: bool) -> None:
        """Close our half, then wait for the client's: closing on unread bytes would be a reset."""
        if isinstance(self._sock, ssl.SSLSocket) and not silent:
            # Its word to the client goes out at once; the client's own is not waited for.
            self._sock.setblocking(False)
            with contextlib.suppress(OSError, ValueError):
                self._sock.unwrap()
            self._sock.settimeout(SECONDS)
        end = socket.socket(fileno=os.dup(self._sock.fileno()))
        with end:
            end.settimeout(SECONDS)
            end.shutdown(socket.SHUT_WR)
            while end.recv(65536):
                pass

    def _delivered(self) -> None:
        """Wait until the client's kernel has all that was sent, which a reset would otherwise throw away (tcp(7))."""
        for _look in range(round(SECONDS / LOOK_SECONDS)):
            (unsent,) = struct.unpack("i", fcntl.ioctl(self._sock.fileno(), termios.TIOCOUTQ, bytes(4)))
            if not unsent:
                return
            time.sleep(LOOK_SECONDS)

    def shut_down(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            socket.socket.shutdown(self._sock, socket.SHUT_RDWR)

    def close(self) -> None:
        self._sock.close()


@contextlib.contextmanager
def running_script(scripts: Sequence[Sequence[Step]], context: ssl.SSLContext | None = None) -> Iterator[ScriptServer]:
    """Play a script on each connection that comes, each in a thread of its own."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=128)
    server = ScriptServer(listener.getsockname()[1], scripts)
    released = threading.Event()
    connected: set[_Connection] = set()

    def serve(raw: socket.socket, script: Sequence[Step]) -> None:
        # The client may have gone, or not like what it hears.
        with contextlib.suppress(OSError), raw:
            connection = _Connection(raw, context, server)
            connected.add(connection)
            try:
                connection.play(script, released)
            finally:
                connected.discard(connection)
                connection.close()

    def accept() -> None:
        while True:
            try:
                raw, _peer = listener.accept()
            except OSError:
                return
            script = server.scripts[min(server.connections, len(server.scripts) - 1)]
            server.connections += 1
            thread = threading.Thread(target=serve, args=(raw, script), daemon=True)
            threads[1:] = [each for each in threads[1:] if each.is_alive()]
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
        threads[0].join(SECONDS)
        for connection in tuple(connected):
            connection.shut_down()
        for thread in threads:
            thread.join(SECONDS)
