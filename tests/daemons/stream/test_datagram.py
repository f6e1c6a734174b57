import asyncio
import socket
import time
from collections.abc import Coroutine
from contextlib import ExitStack
from typing import Any

import pytest
import uvloop

from daemons.errors import ListenError, StreamError
from daemons.records import Stamp, StampKind
from daemons.stream import datagram
from daemons.stream.datagram import DatagramReceiver, DatagramSender, listening_socket, prepare_listening
from daemons.stream.stamping import Stamper
from daemons.timing.clock import SystemClock
from tests.fakes import absent

DEADLINE = 300.0


def run(work: Coroutine[Any, Any, None]) -> None:
    uvloop.run(work)


def test_a_pair_has_one_number_also_while_others_have_the_first_choices(monkeypatch: pytest.MonkeyPatch) -> None:
    with ExitStack() as stack:
        taken: list[int] = []
        real = datagram.listening_socket

        def crowded(host: str, port: int, kind: socket.SocketKind) -> socket.socket:
            if kind == socket.SOCK_DGRAM and len(taken) < 3:
                # Somebody else has it for UDP.
                taken.append(port)
                other = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
                other.bind((host, port))
            return real(host, port, kind)

        monkeypatch.setattr(datagram, "listening_socket", crowded)
        stream, far = datagram.listening_pair("127.0.0.1", 0)
        assert stream.getsockname() == far.getsockname()
        assert len(taken) == 3
        number = stream.getsockname()[1]
        assert number not in taken
        stream.close()
        with pytest.raises(ListenError, match="cannot be listened on"):
            datagram.listening_pair("127.0.0.1", number)
        far.close()


def test_every_datagram_has_its_own_stamp_however_late_it_is_read() -> None:
    async def work() -> None:
        stamper = Stamper(SystemClock())
        async with asyncio.timeout(DEADLINE):
            # Until then the kernel may stamp nothing, and time may pass on a machine that stalls.
            while not await stamper.warm():
                stamper.close()
                stamper = Stamper(SystemClock())
        sock = listening_socket("127.0.0.1", 0, socket.SOCK_DGRAM)
        got: list[tuple[bytes, Stamp, tuple[str, int]]] = []
        complete = asyncio.Event()

        def on_datagram(data: bytes, stamp: Stamp, source: tuple[str, int]) -> None:
            got.append((data, stamp, source))
            if len(got) == 100:
                complete.set()

        receiver = DatagramReceiver(sock, stamper, on_datagram)
        sender = DatagramSender(sock.getsockname(), socket.AF_INET, absent, absent)
        bounds = [time.time_ns()]
        for number in range(100):
            assert sender.send(str(number).encode())
            bounds.append(time.time_ns())
        await asyncio.sleep(0.05)
        reading_ns = time.time_ns()
        receiver.start()
        async with asyncio.timeout(DEADLINE):
            await complete.wait()
        assert [int(data) for data, _stamp, _source in got] == list(range(100))
        for number, (_data, stamp, source) in enumerate(got):
            assert source == sender._socket.getsockname()
            assert stamp.kind is StampKind.KERNEL
            # True to the moment of sending, though the process slept: that is what host delay shows.
            assert bounds[number] <= stamp.ns <= bounds[number + 1] + 5_000_000
            assert stamp.handled_ns - stamp.ns >= reading_ns - bounds[number + 1] - 5_000_000
        receiver.close()
        sender.close()
        stamper.close()

    run(work())


def test_no_room_is_said_and_told_when_it_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    class Full:
        """A socket whose kernel has no room, then has."""

        def __init__(self, real: socket.socket) -> None:
            self.real = real
            self.full = True

        def send(self, data: bytes) -> int:
            if self.full:
                raise BlockingIOError
            return self.real.send(data)

        def fileno(self) -> int:
            return self.real.fileno()

        def close(self) -> None:
            self.real.close()

    async def work() -> None:
        with listening_socket("127.0.0.1", 0, socket.SOCK_DGRAM) as sock:
            told = asyncio.Event()
            sender = DatagramSender(sock.getsockname(), socket.AF_INET, told.set, absent)
            full = Full(sender._socket)
            monkeypatch.setattr(sender, "_socket", full)
            assert [sender.send(b"a"), sender.send(b"b")] == [False, False]
            blocked = [sender.blocked]
            full.full = False
            async with asyncio.timeout(DEADLINE):
                await told.wait()
            assert [*blocked, sender.blocked] == [True, False]
            assert sender.send(b"c")
            assert sock.recv(10) == b"c"
            sender.close()

    run(work())


def test_a_port_that_nobody_listens_on_is_counted_and_sending_goes_on() -> None:
    async def work() -> None:
        with listening_socket("127.0.0.1", 0, socket.SOCK_DGRAM) as sock:
            target = sock.getsockname()
        refused: list[None] = []
        sender = DatagramSender(target, socket.AF_INET, absent, lambda: refused.append(None))
        for _ in range(5):
            assert sender.send(b"x")
        assert refused
        sender.close()

    run(work())


def test_that_nobody_listens_is_told_by_datagrams_that_are_stamped_too_and_each_is_stamped() -> None:
    """Where events are few, each of them is a sample."""

    async def work() -> None:
        with listening_socket("127.0.0.1", 0, socket.SOCK_DGRAM) as sock:
            target = sock.getsockname()
        refused: list[None] = []
        told: list[int] = []
        stamped = asyncio.Event()

        def left(sent_ns: int, _acknowledged_ns: int | None) -> None:
            told.append(sent_ns)
            stamped.set()

        sender = DatagramSender(target, socket.AF_INET, absent, lambda: refused.append(None))
        sender.stamp_departures()
        for number in range(1, 6):
            stamped.clear()
            assert sender.send_stamped(b"x", left)
            async with asyncio.timeout(300):
                await stamped.wait()
            assert (len(told), len(refused)) == (number, number - 1)
        sender.close()

    run(work())


def test_what_cannot_be_sent_at_all_is_an_error() -> None:
    async def work() -> None:
        with listening_socket("127.0.0.1", 0, socket.SOCK_DGRAM) as sock:
            sender = DatagramSender(sock.getsockname(), socket.AF_INET, absent, absent)
            with pytest.raises(StreamError, match="Message too long"):
                sender.send(bytes(70_000))
            sender.close()

    run(work())


@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_DGRAM])
def test_an_address_taken_or_not_ours_is_a_listen_error(kind: socket.SocketKind) -> None:
    with listening_socket("127.0.0.1", 0, kind) as first:
        port = first.getsockname()[1]
        with pytest.raises(
            ListenError, match=f"127.0.0.1:{port}: cannot be listened on: Address already in use"
        ) as caught:
            listening_socket("127.0.0.1", port, kind)
        assert caught.value.exit_code == 4
    with pytest.raises(ListenError, match="Cannot assign requested address"):
        listening_socket("192.0.2.1", 0, kind)
    with pytest.raises(ListenError, match="not an address"):
        listening_socket("nowhere.invalid", 0, kind)


def test_a_socket_made_by_somebody_else_is_made_fit() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        prepare_listening(sock)
        assert sock.getblocking() is False
        sock.settimeout(300)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.sendto(b"x", sock.getsockname())
        assert sock.recvmsg(1, 100)[1]
