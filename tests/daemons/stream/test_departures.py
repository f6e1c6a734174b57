"""Transmit stamps over real sockets, under both event loops; and whatever an error queue may hold."""

import asyncio
import socket
import struct
import time
from collections.abc import Callable, Coroutine, Sized
from functools import partial
from typing import Any

import pytest
import uvloop
from hypothesis import given
from hypothesis import strategies as st

from daemons.stream.connection import Connection
from daemons.stream.datagram import DatagramSender
from daemons.stream.departures import Departures, parse
from daemons.stream.stamping import SO_TIMESTAMPING, Stamper
from daemons.timing.clock import SystemClock
from tests.daemons.waiting import until

Runner = Callable[[Coroutine[Any, Any, None]], None]
BOTH_LOOPS = pytest.mark.parametrize("run", [uvloop.run, asyncio.run], ids=["uvloop", "asyncio"])
U32 = st.integers(0, (1 << 32) - 1)


def stamp_of(ns: int) -> tuple[int, int, bytes]:
    return socket.SOL_SOCKET, SO_TIMESTAMPING, struct.pack("qqqqqq", *divmod(ns, 10**9), 0, 0, 0, 0)


def error_of(origin: int, info: int, number: int, *, six: bool = False) -> tuple[int, int, bytes]:
    """An extended error with the address that follows it."""
    data = struct.pack("=IBBBBII", 42, origin, 0, 0, 0, info, number) + bytes(16)
    return (socket.IPPROTO_IPV6, 25, data) if six else (socket.IPPROTO_IP, 11, data)


@given(ns=st.integers(1, 2**62), moment=st.sampled_from([0, 1, 2]), number=U32, six=st.booleans(), first=st.booleans())
def test_a_stamp_is_known_by_its_moment_and_its_send(
    ns: int, moment: int, number: int, *, six: bool, first: bool
) -> None:
    messages = [stamp_of(ns), error_of(4, moment, number, six=six)]
    found = parse(messages if first else messages[::-1])
    # The moment 1 is the entry into the queue of the packet scheduler, which nobody asked for.
    assert found == (None if moment == 1 else (moment, number, ns))


@given(
    st.lists(
        st.one_of(
            st.tuples(st.sampled_from([0, 1, 41]), st.sampled_from([11, 25, SO_TIMESTAMPING]), st.binary(max_size=64)),
            st.builds(error_of, st.integers(0, 255), U32, U32),
        ),
        max_size=4,
    )
)
def test_what_is_no_stamp_is_none(messages: list[tuple[int, int, bytes]]) -> None:
    found = parse(messages)
    assert found is None or found[2] != 0


@pytest.mark.parametrize("origin", [1, 2, 3, 5])
def test_an_error_of_the_network_is_no_stamp(origin: int) -> None:
    """Local, ICMP, ICMPv6 and zero-copy notices share the queue."""
    assert parse([stamp_of(10**18), error_of(origin, 0, 0)]) is None
    assert parse([error_of(4, 0, 0)]) is None
    assert parse([stamp_of(0), error_of(4, 0, 0)]) is None


async def connected(on_data: Callable[[bytes], None]) -> tuple[Connection, socket.socket, Stamper]:
    stamper = Stamper(SystemClock())
    with socket.create_server(("127.0.0.1", 0)) as server:
        near = socket.create_connection(server.getsockname())
        far, _source = server.accept()
    near.setblocking(False)
    near.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    far.setblocking(False)
    connection = Connection(near, stamper, on_data=lambda data, _stamp: on_data(data), on_close=lambda _error: None)
    connection.stamp_departures()
    connection.start()
    return connection, far, stamper


def noted(told: list[tuple[int, int, int | None]], before_ns: int, sent_ns: int, acknowledged_ns: int | None) -> None:
    told.append((before_ns, sent_ns, acknowledged_ns))


def as_many(things: Sized, count: int) -> bool:
    return len(things) >= count


def kept(told: dict[int, tuple[int, int | None]], number: int, sent_ns: int, acknowledged_ns: int | None) -> None:
    told[number] = sent_ns, acknowledged_ns


@BOTH_LOOPS
def test_stamps_lie_between_the_write_and_the_answer_and_do_not_stop_the_reading(run: Runner) -> None:
    """Each stamp makes the socket look broken to the loop; the peer's own words come through before and after."""

    async def work() -> None:
        heard = bytearray()
        connection, far, stamper = await connected(heard.extend)
        loop = asyncio.get_running_loop()
        told: list[tuple[int, int, int | None]] = []
        for number in range(100):
            before_ns = time.time_ns()
            connection.write(b"plain")
            connection.write_stamped(b"stamped", partial(noted, told, before_ns))
            if number % 3 == 0:
                connection.write(b"after")
            size = 17 if number % 3 == 0 else 12
            received = bytearray()
            while len(received) < size:
                received += await loop.sock_recv(far, 100)
            # With the acknowledgement, so that both are ready at once.
            await loop.sock_sendall(far, b"answer")
            await until(partial(as_many, heard, 6 * (number + 1)))
        await until(lambda: len(told) >= 90)
        for before_ns, sent_ns, acked_ns in told:
            assert acked_ns is not None
            assert before_ns <= sent_ns <= acked_ns <= time.time_ns()
        connection.close()
        far.close()
        stamper.close()

    run(work())


@BOTH_LOOPS
def test_a_write_that_does_not_leave_at_once_is_no_sample_and_is_not_lost(run: Runner) -> None:
    async def work() -> None:
        connection, far, stamper = await connected(lambda _data: None)
        told: list[int] = []
        size = 16 << 20
        connection._max_unsent = size
        connection.write_stamped(bytes(size), lambda sent, _acked: told.append(sent))
        assert connection.blocked
        connection.write_stamped(b"behind", lambda sent, _acked: told.append(sent))
        received = 0
        while received < size + 6:
            received += len(await asyncio.get_running_loop().sock_recv(far, 1 << 20))
        assert told == []
        # The count of bytes went on: the next one is matched again.
        async with asyncio.timeout(300):
            while not told:
                connection.write_stamped(b"x", lambda sent, _acked: told.append(sent))
                await asyncio.get_running_loop().sock_recv(far, 100)
                await asyncio.sleep(0.01)
        connection.close()
        far.close()
        stamper.close()

    run(work())


@BOTH_LOOPS
def test_a_datagram_is_stamped_when_it_left(run: Runner) -> None:
    async def work() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as far:
            far.bind(("127.0.0.1", 0))
            sender = DatagramSender(far.getsockname(), socket.AF_INET, lambda: None, lambda: None)
            sender.stamp_departures()
            told: list[tuple[int, int, int | None]] = []
            for number in range(20):
                assert sender.send(b"plain")
                assert sender.send_stamped(b"x", partial(noted, told, time.time_ns()))
                await until(partial(as_many, told, number + 1))
                before_ns, sent_ns, acked_ns = told[-1]
                assert before_ns <= sent_ns <= time.time_ns()
                assert acked_ns is None
            sender.close()

    run(work())


class ScriptedSocket:
    """An error queue by hand."""

    def __init__(self, kind: socket.SocketKind) -> None:
        self.type = kind
        self.queue: list[list[tuple[int, int, bytes]]] = []

    def setsockopt(self, *_arguments: int) -> None:
        pass

    def recvmsg(self, *_arguments: int) -> tuple[bytes, list[tuple[int, int, bytes]], int, None]:
        if not self.queue:
            raise BlockingIOError
        return b"", self.queue.pop(0), 0, None


@given(st.data())
def test_stamps_that_are_late_lost_repeated_or_of_another_send_are_never_taken_for_the_one_awaited(
    data: st.DataObject,
) -> None:
    """A model with knowledge of each send: what is told is that send's own pair of stamps, or nothing."""
    sock = ScriptedSocket(socket.SOCK_STREAM)
    departures = Departures(sock)  # type: ignore[arg-type]
    sends = data.draw(st.lists(st.integers(1, 1 << 31), min_size=1, max_size=6))
    told: dict[int, tuple[int, int | None]] = {}
    place = 0
    late: list[list[tuple[int, int, bytes]]] = []
    for number, size in enumerate(sends):
        place += size
        departures.asked(partial(kept, told, number), place - 1)
        sent_ns, acked_ns = 10**18 + 100 * number, 10**18 + 100 * number + 50
        key = (place - 1) & 0xFFFFFFFF
        mine = [[stamp_of(sent_ns), error_of(4, 0, key)], [stamp_of(acked_ns), error_of(4, 2, key)]]
        fate = data.draw(st.sampled_from(["both", "no_sent", "no_acked", "late", "repeated"]))
        arrived = {
            "both": mine,
            "no_sent": mine[1:],
            "no_acked": mine[:1],
            "late": [],
            "repeated": [mine[0], [stamp_of(sent_ns + 9), error_of(4, 0, key)], mine[1]],
        }[fate]
        # Places wrap after 4 GiB, and a stamp that late is not told from another.
        sock.queue += late + arrived
        late = mine if fate == "late" else []
        anything = bool(sock.queue)
        assert departures.drain() == anything
        assert not sock.queue
        expected = (sent_ns, acked_ns) if fate in ("both", "repeated") else None
        assert told.get(number) == expected


def test_a_socket_that_is_closed_has_no_stamps() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        departures = Departures(sock)
    assert not departures.drain()
