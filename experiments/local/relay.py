"""A stretch of network in a process: a TCP relay that delivers every byte a fixed time later.

It stands for the distance between two regions in the demo. It delays data, not packets: handshakes and acknowledgements
of TCP keep loopback's speed, so it is no model of congestion or loss; the lab's link is (docs/lab.md). It runs as a
process of its own (``python -m experiments.local.relay HOST:PORT DELAY_MS``): nothing else makes its bytes late.
"""

import asyncio
import contextlib
import heapq
import signal
import socket
import sys
from collections import deque
from itertools import count
from time import monotonic_ns

from daemons.errors import ListenError
from daemons.service.announcing import announce
from daemons.timing.alarm import Alarm

__all__ = ["Relay"]

READ_BYTES = 262144


class Relay:
    """Listens, and connects each client to the target, delaying both directions.

    Args:
        target: host and port to connect to.
        delay_ns: one-way delay.
    """

    def __init__(self, target: tuple[str, int], delay_ns: int) -> None:
        self._target = target
        self._delay_ns = delay_ns
        self._loop = asyncio.get_running_loop()
        self._alarm = Alarm(self._loop, self._ring)
        self._due: list[tuple[int, int, _Pipe]] = []
        self._order = count()
        self._pipes: set[_Pipe] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._listening = socket.socket()

    def start(self) -> tuple[str, int]:
        """Listen on a free port of loopback; return host and port.

        Raises:
            ListenError: there is none.
        """
        try:
            self._listening.bind(("127.0.0.1", 0))
            self._listening.listen()
        except OSError as error:
            raise ListenError("127.0.0.1:0", f"relay cannot listen: {error.strerror}", "free some ports") from error
        self._listening.setblocking(False)
        task = self._loop.create_task(self._accept())
        self._tasks.add(task)
        host, port = self._listening.getsockname()
        return host, port

    async def stop(self) -> None:
        """Close everything."""
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for pipe in tuple(self._pipes):
            pipe.close()
        self._alarm.close()
        self._listening.close()

    def later(self, pipe: "_Pipe") -> None:
        """Let a pipe's oldest bytes out when their time has come."""
        due_ns = monotonic_ns() + self._delay_ns
        heapq.heappush(self._due, (due_ns, next(self._order), pipe))
        if self._due[0][0] == due_ns:
            self._alarm.set(due_ns)

    def forget(self, pipe: "_Pipe") -> None:
        """Note that a pipe has closed."""
        self._pipes.discard(pipe)

    def _ring(self) -> None:
        now_ns = monotonic_ns()
        while self._due and self._due[0][0] <= now_ns:
            heapq.heappop(self._due)[2].release()
        if self._due:
            self._alarm.set(self._due[0][0])

    async def _accept(self) -> None:
        while True:
            client, _source = await self._loop.sock_accept(self._listening)
            client.setblocking(False)
            server = socket.socket()
            server.setblocking(False)
            try:
                await self._loop.sock_connect(server, self._target)
            except OSError:
                # As over a real distance: the client sees its connection end.
                client.close()
                server.close()
                continue
            for sock in (client, server):
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            there, back = _Pipe(self, client, server), _Pipe(self, server, client)
            there.other, back.other = back, there
            for pipe in (there, back):
                self._pipes.add(pipe)
                pipe.start()


class _Pipe:
    """One direction of one connection."""

    def __init__(self, relay: Relay, source: socket.socket, sink: socket.socket) -> None:
        self._relay = relay
        self._loop = asyncio.get_running_loop()
        self._source = source
        self._sink = sink
        self._waiting: deque[bytes] = deque()
        self._unsent = b""
        self._open = True
        self.other: _Pipe | None = None

    def start(self) -> None:
        self._loop.add_reader(self._source.fileno(), self._on_readable)

    def release(self) -> None:
        """Send the oldest bytes; an empty piece is the end of the stream."""
        if not self._open:
            return
        data = self._waiting.popleft()
        if not data:
            self.close()
            return
        if self._unsent:
            self._unsent += data
            return
        self._send(data)

    def close(self) -> None:
        """Close both directions."""
        if not self._open:
            return
        self._open = False
        for sock in (self._source, self._sink):
            if sock.fileno() >= 0:
                self._loop.remove_reader(sock.fileno())
                self._loop.remove_writer(sock.fileno())
        self._source.close()
        self._relay.forget(self)
        if self.other is not None:
            self.other.close()

    def _on_readable(self) -> None:
        try:
            data = self._source.recv(READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._loop.remove_reader(self._source.fileno())
        self._waiting.append(data)
        self._relay.later(self)

    def _send(self, data: bytes) -> None:
        try:
            sent = self._sink.send(data)
        except BlockingIOError:
            sent = 0
        except OSError:
            self.close()
            return
        self._unsent = data[sent:]
        if self._unsent:
            self._loop.add_writer(self._sink.fileno(), self._on_room)

    def _on_room(self) -> None:
        with contextlib.suppress(OSError):
            self._loop.remove_writer(self._sink.fileno())
        self._send(self._unsent)


async def _serve(target: tuple[str, int], delay_ns: int) -> None:
    told = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, told.set)
    relay = Relay(target, delay_ns)
    host, port = relay.start()
    announce({"ready": True, "address": f"{host}:{port}"})
    await told.wait()
    await relay.stop()


if __name__ == "__main__":
    to_host, _colon, to_port = sys.argv[1].rpartition(":")
    asyncio.run(_serve((to_host, int(to_port)), round(float(sys.argv[2]) * 1e6)))
