"""A packet that was lost and came again: when its event and those behind it could be read, and not before.

Through a real kernel in a network of its own, where a rule of nftables loses what is told apart by its length; and by
every combination of what TCP may say.
"""

import asyncio
import os
import socket
import struct
import subprocess
import time
from typing import Any

import pytest
import uvloop
from hypothesis import given
from hypothesis import strategies as st

from daemons.records import KERNEL, LATE_NS, Stamp, StampKind, exact
from daemons.stream import stamping
from daemons.stream.connection import Connection
from daemons.stream.disorder import Disorder
from daemons.stream.stamping import Stamper
from daemons.stream.tcp_info import read
from daemons.timing.clock import SystemClock
from tests.fakes import absent
from tests.namespaces import alone

DEADLINE_NS = 300_000_000_000
LOST = b"L" * 333
LOSING = f"""
table ip way {{
    chain input {{
        type filter hook input priority 0;
        tcp dport 5000 ip length {len(LOST) + 52} drop;
    }}
}}
"""
"""Loses the packet of that many bytes (heads of IP and TCP with a time stamp are 52), as often as it comes."""


class Scripted(socket.socket):
    """A socket of which TCP says what it is told."""

    said: tuple[int, ...] | None = (0, 0)
    """Packets out of order, and milliseconds since the newest; None where it is no TCP socket, () an old kernel."""

    def getsockopt(self, *_arguments: Any) -> Any:
        if self.said is None:
            raise OSError(95, "Operation not supported")
        info = bytearray(232 if self.said else 220)
        if self.said:
            struct.pack_into("=I", info, 224, self.said[0])
            struct.pack_into("=I", info, 52, self.said[1])
        return bytes(info)


def late(by_ns: int, kind: StampKind = KERNEL, step_ns: int = 0) -> Stamp:
    return Stamp(10**18, kind, 10**18 + by_ns, 5 * 10**9, step_ns)


@given(
    st.lists(
        st.tuples(st.integers(0, 3), st.integers(0, 400), st.integers(0, 800_000_000), st.sampled_from(StampKind)),
        max_size=8,
    )
)
def test_a_stamp_holds_unless_packets_came_out_of_order_and_the_newest_is_not_the_stamped_one(
    reads: list[tuple[int, int, int, StampKind]],
) -> None:
    with Scripted() as sock:
        disorder, total, looked_at = Disorder(sock), 0, 0
        for more, since_ms, late_ns, kind in reads:
            total += more
            sock.said = (total, since_ms)
            stamp = late(late_ns, kind)
            judged = disorder.judged(stamp)
            asked = exact(kind) and late_ns >= LATE_NS
            if asked and total > looked_at and since_ms * 2_000_000 < late_ns:
                assert judged == Stamp(
                    stamp.handled_ns, StampKind.USER, stamp.handled_ns, stamp.steady_ns + late_ns, 0, late_ns
                )
            else:
                assert judged is stamp
            looked_at = total if asked else looked_at


def test_what_does_not_count_such_packets_keeps_its_stamps() -> None:
    with Scripted() as sock:
        for said in (None, ()):
            sock.said = said
            stamp = late(10**9)
            assert Disorder(sock).judged(stamp) is stamp
        sock.said = (7, 0)
        stamp = late(10**9, step_ns=5)
        assert Disorder(sock).judged(stamp) is stamp


@pytest.mark.process
def test_an_event_whose_packet_was_lost_is_not_stamped_before_it_could_come() -> None:
    with alone(f"lost{os.getpid()}"):
        uvloop.run(lose_one())


def nft(*arguments: str, rules: str = "") -> None:
    subprocess.run(["nft", *arguments], input=rules, text=True, check=True)


async def lose_one() -> None:
    listening = socket.socket()
    stamping.enable(listening)
    listening.bind(("127.0.0.1", 5000))
    listening.listen()
    stamper = Stamper(SystemClock())
    assert await stamper.warm()
    received, stamps = bytearray(), list[Stamp]()

    def on_data(data: bytes, stamp: Stamp) -> None:
        received.extend(data)
        stamps.append(stamp)

    async def until(size: int) -> None:
        begun_ns = time.monotonic_ns()
        while len(received) < size:
            assert time.monotonic_ns() - begun_ns < DEADLINE_NS, "it comes"
            await asyncio.sleep(0.001)

    with listening, socket.create_connection(("127.0.0.1", 5000)) as peer:
        peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        accepted, _source = listening.accept()
        accepted.setblocking(False)
        connection = Connection(accepted, stamper, on_data=on_data, on_close=absent)
        connection.start()
        peer.send(b"before")
        await until(6)
        nft("-f", "-", rules=LOSING)
        peer.send(LOST)
        peer.send(b"behind")
        begun_ns = time.monotonic_ns()
        while not read(accepted).out_of_order:
            assert time.monotonic_ns() - begun_ns < DEADLINE_NS, "one lies behind the lost one"
            await asyncio.sleep(0.001)
        assert bytes(received) == b"before"
        mended_ns = time.time_ns()
        nft("delete", "table", "ip", "way")
        await until(6 + len(LOST) + 6)
        peer.send(b"after")
        await until(6 + len(LOST) + 11)
        connection.close()
    stamper.close()
    assert all(stamp.ns >= mended_ns for stamp in stamps[1:]), "the lost packet could not come before"
    assert stamps[1].held_ns > 0
    assert [stamp.held_ns for stamp in (stamps[0], stamps[-1])] == [0, 0]
