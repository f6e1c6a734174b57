"""A listener on real sockets: which event of a read has the stamp of its last packet for its own."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Literal

import pytest
import uvloop

from daemons.link.control import encode_control
from daemons.link.events import encode_event
from daemons.link.forwarded import encode_forwarded
from daemons.link.messages import Ack, Departure, Departures, GaveUp, Heartbeat, Hello, Transport
from daemons.link.receiving.port import LinkPort
from daemons.link.receiving.settings import LinkPathSection, ListenerSettings
from daemons.link.receiving.sink import SessionKey
from daemons.link.session import ForwarderSession, Introduction, TimeReport
from daemons.records import KERNEL, SHARED, UNKNOWN_CLOCK, LinkEvent, Stamp, StampKind, shared
from daemons.stream.datagram import listening_socket
from daemons.stream.stamping import Stamper
from daemons.timing.clock import SystemClock

DEADLINE = 300.0
HEARTBEAT = encode_control(Heartbeat(9, 1, UNKNOWN_CLOCK, {}))


@dataclass
class Sink:
    """Keeps of each event how its stamp was called, and of each part of a read when what came after it had left."""

    kinds: list[StampKind] = field(default_factory=list)
    parts: list[tuple[list[int], int]] = field(default_factory=list)
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def on_hello(self, key: SessionKey, acknowledged: int, hello: Hello | None) -> None:
        del key, acknowledged, hello

    def on_leave(self, key: SessionKey) -> None:
        pass

    def on_link_events(
        self, key: SessionKey, events: list[LinkEvent], stamp: Stamp, *, together: bool, left_ns: int = 0
    ) -> None:
        del key
        early = stamp.kind if together else shared(stamp.kind)
        self.parts.append(([event.sequence for event in events], left_ns))
        self.kinds += [early] * (len(events) - 1) + [stamp.kind]
        self.changed.set()

    def on_heartbeat(self, key: SessionKey, beat: Heartbeat, stamp: Stamp) -> None:
        del key, beat, stamp

    def on_gave_up(self, key: SessionKey, gave_up: GaveUp, stamp: Stamp) -> None:
        del key, gave_up, stamp

    def on_departures(self, key: SessionKey, departures: Departures) -> None:
        del key, departures

    def on_bye(self, key: SessionKey, highest: int, stamp: Stamp) -> None:
        del key, highest, stamp

    def on_time(self, key: SessionKey, report: TimeReport) -> None:
        del key, report

    def progress(self, key: SessionKey) -> Ack:
        del key
        return Ack(0, 0, 0)

    async def has(self, count: int) -> None:
        async with asyncio.timeout(DEADLINE):
            while len(self.kinds) < count:
                self.changed.clear()
                await self.changed.wait()


@asynccontextmanager
async def linked(formats: Literal["binary", "json"]) -> AsyncIterator[tuple[socket.socket, Sink]]:
    """Give a connected forwarder's socket, its handshake done, and what the listener tells."""
    stamper, sink, loop = Stamper(SystemClock()), Sink(), asyncio.get_running_loop()
    assert await stamper.warm()
    with listening_socket("127.0.0.1", 0, socket.SOCK_STREAM) as listening:
        address = listening.getsockname()
        listener = LinkPort(listening, None, stamper)
        listener.serve(ListenerSettings(LinkPathSection(name="backbone", format=formats)), sink)
        listener.start()
        sock = socket.socket()
        try:
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await loop.sock_connect(sock, address)
            if formats == "binary":
                await shake(sock, stamper)
            yield sock, sink
        finally:
            sock.close()
            listener.close()
            stamper.close()


async def shake(sock: socket.socket, stamper: Stamper) -> None:
    loop = asyncio.get_running_loop()
    session = ForwarderSession(Introduction(None, 7, "backbone", Transport.TCP, 0, bytes(16)), UNKNOWN_CLOCK)
    async with asyncio.timeout(DEADLINE):
        while session.welcome is None:
            session.receive_data(await loop.sock_recv(sock, 65536), stamper.reader().stamp([]), stamper.clock.wall_ns)
            await loop.sock_sendall(sock, session.data_to_send())


def frame(number: int, left_ns: int = 2) -> bytes:
    return encode_event(number, 1, KERNEL, None, left_ns, None, b"s", b"{}")


def line(number: int) -> bytes:
    return encode_forwarded(number, 1, None, b"{}") + b"\n"


CASES = [
    ("binary", [frame(1)], [KERNEL]),
    ("binary", [frame(1), frame(2)[:9]], [SHARED]),
    ("binary", [frame(1), HEARTBEAT], [SHARED]),
    ("binary", [frame(1), HEARTBEAT, frame(2)], [SHARED, KERNEL]),
    ("binary", [frame(1), frame(2), frame(3)], [SHARED, SHARED, KERNEL]),
    ("json", [line(1)], [KERNEL]),
    ("json", [line(1), line(2)[:9]], [SHARED]),
    ("json", [line(1), b"{broken}\n"], [SHARED]),
    ("json", [line(1), line(2)], [SHARED, KERNEL]),
]


@pytest.mark.parametrize(("formats", "packets", "kinds"), CASES)
def test_packets_that_are_read_together_share_their_stamp(
    formats: Literal["binary", "json"], packets: list[bytes], kinds: list[StampKind]
) -> None:
    async def work() -> None:
        async with linked(formats) as (sock, sink):
            # Nothing is awaited in between: the listener, in the same loop, finds all of them.
            for packet in packets:
                sock.send(packet)
            await sink.has(len(kinds))
            assert sink.kinds == kinds

    uvloop.run(work())


def beat(wall_ns: int) -> bytes:
    return encode_control(Heartbeat(9, wall_ns, UNKNOWN_CLOCK, {}))


AHEAD = 1 << 62
"""Later than this host's clock says, as an answer of the handshake may come in the same read."""
DEPARTURES = encode_control(Departures((Departure(1, 99_999, None),)))
LATER = [
    ([frame(1, AHEAD + 10), beat(AHEAD + 20)], [([1], AHEAD + 20)]),
    (
        [
            frame(1, AHEAD + 10),
            beat(AHEAD + 20),
            frame(2, AHEAD + 30),
            DEPARTURES,
            frame(3, AHEAD + 50),
            beat(AHEAD + 60),
        ],
        [([1], AHEAD + 60), ([2], AHEAD + 60), ([3], AHEAD + 60)],
    ),
    ([frame(1, AHEAD + 10), DEPARTURES, frame(2, AHEAD + 30), frame(3, AHEAD + 40)], [([1], AHEAD + 40), ([2, 3], 0)]),
    ([DEPARTURES, beat(AHEAD + 20), frame(1, AHEAD + 30)], [([1], 0)]),
]


@pytest.mark.parametrize(("packets", "parts"), LATER)
def test_of_events_before_a_word_it_is_told_when_the_last_of_their_read_left(
    packets: list[bytes], parts: list[tuple[list[int], int]]
) -> None:
    async def work() -> None:
        async with linked("binary") as (sock, sink):
            for packet in packets:
                sock.send(packet)
            await sink.has(sum(len(numbers) for numbers, _left_ns in parts))
            assert sink.parts == parts

    uvloop.run(work())


def test_an_event_whose_end_comes_by_itself_has_its_own_stamp() -> None:
    async def work() -> None:
        async with linked("binary") as (sock, sink):
            sock.send(frame(1))
            sock.send(frame(2)[:9])
            await sink.has(1)
            sock.send(frame(2)[9:])
            await sink.has(2)
            assert sink.kinds == [SHARED, KERNEL]

    uvloop.run(work())
