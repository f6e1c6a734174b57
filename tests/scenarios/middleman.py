"""Somebody on the way between a forwarder and a receiver: sees all, and drops, repeats, reorders, alters and adds."""

import asyncio
import random
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from daemons.link.events import encode_event
from daemons.service.lifecycle import end

__all__ = ["Middleman", "standing_between", "touched"]

_BATCH = 64
_ROOM_BYTES = 1 << 16
"""What may wait in the receiver's socket before more is sent: what finds no room would be lost."""
_PATIENCE_SECONDS = 300.0
_ADDED = encode_event(10**6, 1, 0, 1, 1, 1, b"forged@trade", b'{"forged":1}')


class Middleman:
    """Carries one port's connections and datagrams to another, on one event loop.

    Args:
        receiver: the real port.
        rng: chooses whom to touch, and how.
        streams: whether connections are touched; datagrams are in any case.

    Attributes:
        attacks: what was done, by kind.
        hostile: set it to False to carry all as it is.
    """

    def __init__(self, receiver: int, rng: random.Random, *, streams: bool) -> None:
        self._receiver = receiver
        self._rng = rng
        self._streams = streams
        self._recorded: list[bytes] = []
        self.attacks: Counter[str] = Counter()
        self.hostile = True
        self.port = 0

    async def serve(self, ready: threading.Event, done: asyncio.Event) -> None:
        """Listen for TCP and UDP on one port until told to end."""
        loop = asyncio.get_running_loop()
        server = await asyncio.start_server(self._connection, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        datagrams, _protocol = await loop.create_datagram_endpoint(
            lambda: _Datagrams(self), local_addr=("127.0.0.1", self.port)
        )
        ready.set()
        await done.wait()
        datagrams.close()
        server.close()

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        back, forth = await asyncio.open_connection("127.0.0.1", self._receiver)
        tasks = [asyncio.create_task(self._carry(*pair)) for pair in ((reader, forth), (back, writer))]
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        await end(tasks)
        for way in (writer, forth):
            way.transport.abort()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        pieces = 0
        while data := await reader.read(65536):
            pieces += 1
            # The handshake goes through more often than not, so that there is something to attack.
            if (
                self.hostile
                and self._streams
                and pieces > self._rng.choice((0, 2, 3, 30, 30))
                and self._rng.random() < 0.1
            ):
                data = self._touched(data)
            writer.write(data)
            await writer.drain()

    def _touched(self, data: bytes) -> bytes:
        kind, changed = touched(self._rng, data, self._recorded)
        self.attacks[kind] += 1
        self._recorded = [*self._recorded[-50:], data]
        return changed

    def flood(self, count: int, rng: random.Random) -> None:
        """Send so many touched, copied and made-up datagrams, as fast as the receiver reads."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
            out.connect(("127.0.0.1", self._receiver))
            for sent in range(0, count, _BATCH):
                known = self._recorded
                for _turn in range(min(_BATCH, count - sent)):
                    data = rng.choice(known)
                    kind, changed = touched(rng, data, known) if rng.random() < 0.8 else ("copied", data)
                    self.attacks[kind] += 1
                    out.send(changed)
                _wait_for_room(self._receiver)

    def datagram(self, data: bytes) -> list[bytes]:
        """Return what becomes of a datagram: it always gets through, and now and then not alone."""
        if not self.hostile or self._rng.random() > 0.5:
            return [data]
        made = [self._touched(data) for _turn in range(3)]
        # A repetition of the whole is a copy, and nothing is lost by it.
        made += [data] * (self._rng.random() < 0.5)
        self.attacks["copied"] += len(made) - 3
        return [*made, data] if self._rng.random() < 0.5 else [data, *made]


class _Datagrams(asyncio.DatagramProtocol):
    """Takes datagrams of the forwarder; what the receiver says comes over TCP alone."""

    def __init__(self, middleman: Middleman) -> None:
        self._middleman = middleman
        self._out: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._out = transport

    def datagram_received(self, data: bytes, _address: Any) -> None:
        for one in self._middleman.datagram(data):
            self._out.sendto(one, ("127.0.0.1", self._middleman._receiver))


def touched(rng: random.Random, data: bytes, recorded: list[bytes]) -> tuple[str, bytes]:
    """Return how something was changed, and what it is now: never what it was."""
    kind = rng.choice(("altered", "dropped", "repeated", "reordered", "added", "replayed"))
    at = rng.randrange(len(data))
    match kind:
        case "altered":
            return kind, data[:at] + bytes([data[at] ^ (1 << rng.randrange(8))]) + data[at + 1 :]
        case "dropped":
            return kind, data[:at] + data[at + rng.randrange(1, 60) :]
        case "repeated":
            return kind, data + data
        case "reordered":
            # One byte at least changes its place.
            return kind, data[at:] + data[:at] if at else data[1:] + data[:1]
        case "added":
            return kind, data + _ADDED
        case _:
            return kind, data + (rng.choice(recorded) if recorded else _ADDED)


def _wait_for_room(port: int) -> None:
    """Wait until the socket of a port has read most of what came (proc_net_udp: local address, rx_queue)."""
    limit, local = time.monotonic() + _PATIENCE_SECONDS, f"0100007F:{port:04X}"
    while time.monotonic() < limit:
        lines = Path("/proc/thread-self/net/udp").read_text().splitlines()
        waiting = [line.split()[4].partition(":")[2] for line in lines if line.split()[1] == local]
        if sum(int(one, 16) for one in waiting) < _ROOM_BYTES:
            return
    raise AssertionError(f"nobody reads what came to port {port}")


@contextmanager
def standing_between(receiver: int, rng: random.Random, *, streams: bool) -> Iterator[Middleman]:
    """Run one in a thread."""
    middleman, ready = Middleman(receiver, rng, streams=streams), threading.Event()
    loop, done = asyncio.new_event_loop(), asyncio.Event()

    def work() -> None:
        loop.run_until_complete(middleman.serve(ready, done))
        loop.run_until_complete(end(asyncio.all_tasks(loop)))
        loop.close()

    thread = threading.Thread(target=work)
    thread.start()
    try:
        assert ready.wait(300)
        yield middleman
    finally:
        loop.call_soon_threadsafe(done.set)
        thread.join(300)
