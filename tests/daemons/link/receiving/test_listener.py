"""The wall around a receiver's port: what comes is an event, or counted; nothing else happens."""

import asyncio
import os
import random
import resource
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from daemons.link.control import encode_control
from daemons.link.decoder import MAX_BODY, FrameDecoder
from daemons.link.events import datagram_head, encode_event
from daemons.link.messages import (
    VERSION,
    Ack,
    Bye,
    Challenge,
    ClockReply,
    DropReason,
    Heartbeat,
    Hello,
    Reject,
    RejectReason,
    Shared,
    Transport,
)
from daemons.link.receiving.listener import MAX_PEERS
from daemons.link.receiving.port import MAX_STRANGERS
from daemons.link.receiving.sink import SessionKey
from daemons.reasons import LinkReason, StreamReason
from daemons.records import UNKNOWN_CLOCK, LinkEvent, Stamp
from daemons.stream.stamping import Stamper
from daemons.timing.clock import SystemClock
from tests.daemons.link.listening import Here, Sink, listener_settings
from tests.daemons.waiting import until

LINE = b'{"sequence_id":%d,"tokyo_receive_timestamp":%d,"binance_event_time":%d,"event_data":"%s"}'
EVENT = encode_event(1, 1, 0, None, 1, None, b"btcusdt@trade", b"{}")
HELLO = encode_control(Hello(VERSION, Transport.TCP, 5, bytes(16), 0, "", UNKNOWN_CLOCK))
NASTY_LINES = (
    b'{"sequence_id":' + b"[" * 5_000,
    b'{"other":' + b'{"a":' * 5_000 + b"1" + b"}" * 5_001,
    LINE % (1, 1, 10**4298, b""),
    LINE % (1, 10**4298, 1, b""),
    LINE % (10**4298, 1, 1, b""),
    LINE % (1, 1, 10**14 - 1, b""),
    LINE % (1, 1, 2**63, b""),
    LINE % (2**63, 1, 1, b""),
    LINE % (1, 2**63, 1, b""),
    LINE % (-1, 1, 1, b""),
    b'{"sequence_id":1,"tokyo_receive_timestamp":1,"binance_event_time":1,"event_data":"\xff\xfe"}',
    b'{"\xff":1}',
    b"{}",
    b"{",
)
"""Each is no event, and each is counted."""


class Breaking(Sink):
    """A sink with a fault of ours in it."""

    def on_link_events(
        self, _key: SessionKey, _events: list[LinkEvent], _stamp: Stamp, *, together: bool, left_ns: int = 0
    ) -> None:
        del left_ns
        raise KeyError(together)


@asynccontextmanager
async def port(sink: Sink, **settings: Any) -> AsyncIterator[Here]:
    """Listen; whatever reaches the loop's own handler of exceptions has got past the wall."""
    escaped: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: escaped.append(context))
    stamper = Stamper(SystemClock())
    here = Here(stamper, sink, listener_settings(**{"format": "any", **settings}))
    try:
        yield here
    finally:
        await here.close()
        stamper.close()
    assert escaped == []


def run(work: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(300):
            await work()

    asyncio.run(bounded())


async def say(here: Here, *pieces: bytes) -> None:
    """Connect, say something piece by piece, and read until the other side has closed as well."""
    reader, writer = await asyncio.open_connection("127.0.0.1", here.port)
    try:
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0)
        writer.write_eof()
        await reader.read()
    except OSError:
        # It was closed on us.
        pass
    finally:
        writer.close()


@pytest.mark.parametrize("line", NASTY_LINES, ids=range(len(NASTY_LINES)))
def test_a_line_that_is_no_event_is_counted_and_those_beside_it_are_events(line: bytes) -> None:
    async def work() -> None:
        sink = Sink()
        async with port(sink) as here:
            good = [LINE % (number, 1, 1, b"") for number in (7, 8)]
            await say(here, good[0] + b"\n" + line + b"\n" + good[1] + b"\n")
            assert sink.sequences == [7, 8]
            assert here.listener.counts.malformed == 1
            assert sum(here.listener.counts.refusals.values()) == 0

    run(work)


def frames(rng: random.Random) -> bytes:
    """Make a frame of any kind with any values."""
    word = rng.choice((0, 1, 2**31, 2**63 - 1, 2**63, 2**64 - 1, rng.getrandbits(64)))
    signed = rng.choice((0, -1, 1, 2**63 - 1, -(2**63), rng.getrandbits(62)))
    event = encode_event(word, signed, rng.randrange(6), signed, -signed - 1, word, b"x@trade", rng.randbytes(9))
    return rng.choice(
        (
            event,
            event,
            event,
            HELLO,
            encode_control(Heartbeat(word, signed, UNKNOWN_CLOCK, {DropReason.AGE: word})),
            encode_control(Ack(word, word, word)),
            encode_control(ClockReply(rng.getrandbits(32), signed, signed, signed)),
            encode_control(Bye(word)),
            encode_control(Challenge(1, bytes(16))),
            encode_control(Reject(RejectReason.KEY, "no")),
        )
    )


def mutated(rng: random.Random, data: bytes) -> bytes:
    """Change, cut or double a few bytes, or none."""
    changed = bytearray(data)
    for _turn in range(rng.choice((0, 0, 1, 3))):
        at = rng.randrange(len(changed) + 1)
        match rng.randrange(3):
            case 0:
                changed[at : at + 1] = rng.randbytes(1)
            case 1:
                del changed[at : at + rng.randrange(8)]
            case _:
                changed[at:at] = changed[at : at + 8]
    return bytes(changed)


def test_whatever_is_said_over_tcp_the_port_lives_and_its_books_are_kept() -> None:
    rng = random.Random(221)

    async def work() -> None:
        sink = Sink()
        async with port(sink) as here:
            for _connection in range(400):
                if rng.random() < 0.5:
                    pieces = [mutated(rng, HELLO), *(mutated(rng, frames(rng)) for _frame in range(rng.randrange(9)))]
                else:
                    pieces = [mutated(rng, rng.choice((*NASTY_LINES, LINE % (1, 1, 1, b"x")))) + b"\n"]
                await say(here, *pieces)
            await until(lambda: here.listener.counts.peers == 0)
            counts = here.listener.counts
            assert counts.refusals[StreamReason.UNEXPECTED] == 0
            assert counts.connections > 100
            assert counts.refusals[LinkReason.GARBAGE] > 20
            before = len(sink.sequences)
            await say(here, LINE % (9, 1, 1, b"") + b"\n")
            assert len(sink.sequences) == before + 1

    run(work)


def test_every_datagram_is_an_event_or_counted() -> None:
    rng = random.Random(222)
    total = 3_000

    async def work() -> None:
        sink = Sink()
        async with port(sink) as here:
            counts = here.listener.counts

            def dealt_with() -> int:
                return len(sink.sequences) + counts.malformed + sum(counts.refusals.values())

            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as intruder:
                intruder.connect(("127.0.0.1", here.port))
                for number in range(total):
                    # At most one event each, so that the sum is one of datagrams.
                    kind = rng.randrange(3)
                    if kind == 0:
                        data = rng.choice((*NASTY_LINES, LINE % (number, 1, 1, b"x")))
                    elif kind == 1:
                        data = datagram_head(rng.getrandbits(64), rng.getrandbits(64)) + mutated(rng, frames(rng))
                    else:
                        data = mutated(rng, datagram_head(1, 1) + EVENT)
                    intruder.send(data)
                    if number % 50 == 49:
                        await until(lambda sent=number + 1: dealt_with() == sent)  # type: ignore[misc]
            assert dealt_with() == total
            assert len(sink.sequences) > 10
            assert counts.refusals[StreamReason.UNEXPECTED] == 0
            assert counts.refusals[LinkReason.TOKEN] > 100

    run(work)


def test_a_fault_of_ours_costs_one_connection_or_one_datagram_and_is_counted_and_told_in_one_line() -> None:
    async def work() -> None:
        async with port(Breaking()) as here:
            counts = here.listener.counts
            line = LINE % (1, 1, 1, b"") + b"\n"
            for number in range(1, 6):
                await say(here, line * 3)
                await until(lambda count=number: counts.refusals[StreamReason.UNEXPECTED] == count)  # type: ignore[misc]
            await say(here, HELLO, EVENT)
            await until(lambda: counts.refusals[StreamReason.UNEXPECTED] == 6)
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
                sender.sendto(line, ("127.0.0.1", here.port))
            await until(lambda: counts.refusals[StreamReason.UNEXPECTED] == 7)
            assert counts.peers == 0

    with capture_logs() as lines:
        run(work)
    errors = [line["error"] for line in lines if line["event"] == "peer refused"]
    # At 1, 2 and 4 of them.
    assert len(errors) == 3
    assert all("KeyError: False (" in error and "test_listener.py" in error and len(error) < 300 for error in errors)


def hello(session: int) -> bytes:
    return encode_control(Hello(VERSION, Transport.TCP, session, bytes(16), 0, "", UNKNOWN_CLOCK))


class Caller:
    """Someone who connects from an address of this machine."""

    def __init__(self, port: int, source: str = "127.0.0.1") -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), source_address=(source, 0))
        self._socket.setblocking(False)

    def say(self, data: bytes) -> None:
        self._socket.setblocking(True)
        self._socket.sendall(data)
        self._socket.setblocking(False)

    async def answer(self) -> bytes:
        """Return what the other side says until it closes."""
        said = b""
        loop = asyncio.get_running_loop()
        try:
            while piece := await loop.sock_recv(self._socket, 65536):
                said += piece
        except ConnectionResetError:
            pass
        return said

    def close(self) -> None:
        self._socket.close()


def test_forwarders_that_deliver_do_not_give_way_to_newcomers_who_are_refused_and_counted() -> None:
    async def work() -> None:
        async with port(Sink()) as here:
            counts = here.listener.counts
            established = [Caller(here.port) for _number in range(MAX_PEERS)]
            for session, caller in enumerate(established, 1):
                caller.say(hello(session))
            await until(lambda: counts.peers == MAX_PEERS)
            before = dict(here.listener._peers)
            for session in range(100, 120):
                caller = Caller(here.port)
                caller.say(hello(session))
                assert b"as many forwarders as may be are connected" in await caller.answer()
                caller.close()
            for _number in range(5):
                caller = Caller(here.port)
                caller.say(LINE % (1, 1, 1, b"") + b"\n")
                await caller.answer()
                caller.close()
            assert {reason: count for reason, count in counts.refusals.items() if count} == {"busy": 25}
            assert here.listener._peers == before
            # One of those who are here may come again on a new connection: its old one is dead.
            again = Caller(here.port)
            again.say(hello(3))
            await established[2].answer()
            await until(lambda: counts.connections == MAX_PEERS + 1)
            assert counts.peers == MAX_PEERS
            # And a place that is free again is given to the next.
            established[0].close()
            await until(lambda: counts.peers == MAX_PEERS - 1)
            newcomer = Caller(here.port)
            newcomer.say(hello(200))
            await until(lambda: counts.peers == MAX_PEERS)
            assert counts.refusals[LinkReason.BUSY] == 25
            for caller in (*established, again, newcomer):
                caller.close()

    run(work)


def test_a_flood_from_one_address_costs_that_address_alone() -> None:
    extra = 300

    async def work() -> None:
        async with port(Sink()) as here:
            counts = here.listener.counts
            # First of all, and so slow that a thousand come between its words.
            forwarder = Caller(here.port)
            await until(lambda: here.link_port.strangers == 1)
            crowd = []
            for number in range(MAX_STRANGERS + extra):
                crowd.append(Caller(here.port, "127.0.0.2"))
                # So many are taken in one turn of the loop.
                if number % 16 == 15:
                    await asyncio.sleep(0)
            others = [Caller(here.port, f"127.0.1.{number}") for number in range(1, 11)]
            await until(lambda: counts.refusals[LinkReason.LIMIT] == 1 + extra + len(others))
            assert here.link_port.strangers == MAX_STRANGERS
            for session, caller in enumerate((forwarder, *others), 1):
                caller.say(hello(session))
            await until(lambda: counts.peers == 1 + len(others))
            assert {reason: count for reason, count in counts.refusals.items() if count} == {"limit": 311}
            for caller in (forwarder, *crowd, *others):
                caller.close()

    run(work)


def told_shared(data: bytes) -> list[int]:
    messages = FrameDecoder(MAX_BODY).feed(data)
    return [message.others for message in messages if isinstance(message, Shared)]


def test_a_second_forwarder_on_a_path_is_told_of_on_all_ends() -> None:
    async def work() -> None:
        async with port(Sink()) as here:
            first, second = Caller(here.port), Caller(here.port)
            first.say(hello(1))
            await until(lambda: here.listener.counts.peers == 1)
            second.say(hello(2))
            await until(lambda: here.listener.counts.peers == 2)
        # The port has closed, and everything that it said can be read.
        for caller in (first, second):
            assert told_shared(await caller.answer()) == [1]
            caller.close()

    with capture_logs() as lines:
        run(work)
    (line,) = [line for line in lines if line["event"].startswith("several forwarders serve this path")]
    assert len(line["sources"]) == 2


@contextmanager
def no_descriptor_left() -> Iterator[None]:
    """Take all that this process may have."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    taken: list[int] = []
    highest = max(int(file.name) for file in Path("/proc/self/fd").iterdir())
    resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 8, hard))
    try:
        with suppress(OSError):
            taken.extend(os.open(os.devnull, os.O_RDONLY) for _turn in range(4096))
        yield
    finally:
        for descriptor in taken:
            os.close(descriptor)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_without_descriptors_nobody_is_let_in_for_a_while_and_the_loop_does_not_spin() -> None:
    async def work() -> None:
        async with port(Sink()) as here:
            counts = here.listener.counts
            stranger = Caller(here.port)
            await until(lambda: here.link_port.strangers == 1)
            knocking = socket.socket()
            knocking.setblocking(False)
            with no_descriptor_left():
                with suppress(BlockingIOError):
                    knocking.connect(("127.0.0.1", here.port))
                await until(lambda: counts.refusals[LinkReason.DESCRIPTORS] == 1)
                # A stranger gives its descriptor back; the next attempt comes by the clock, not by the kernel.
                assert here.link_port.strangers == 0
                for _turn in range(1000):
                    await asyncio.sleep(0)
                assert counts.refusals[LinkReason.DESCRIPTORS] <= 3
            await until(lambda: here.link_port.strangers == 1)
            stranger.close()
            knocking.close()
            assert counts.refusals[StreamReason.UNEXPECTED] == 0

    run(work)
