"""The wide-area link does what its shape says, seen by packets that go through it.

Timing is asserted here because the link's delay is what other tests take for the truth; the bounds are several times
what an idle machine shows, and on the median.
"""

import itertools
import socket
import statistics
import struct
import threading
import time
from collections.abc import Iterator

import pytest

from tests.lab.deadline import wait_until
from tests.lab.lab import Lab
from tests.lab.namespace import Namespace, enter
from tests.lab.shape import Shape
from tests.lab.wan import WideAreaLink

pytestmark = pytest.mark.lab

HEAD = struct.Struct("qq")
SIZE = 200
SO_RCVBUFFORCE = 33
"""socket(7); Python does not name it."""


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with Lab() as lab:
        yield lab


@pytest.fixture(scope="module")
def ends(lab: Lab) -> tuple[Namespace, Namespace, WideAreaLink]:
    west, east = lab.site("west", "10.81.1.0/24"), lab.site("east", "10.81.2.0/24")
    return west.router, east.router, lab.link(west, east, Shape())


def socket_in(namespace: Namespace) -> socket.socket:
    """Make a UDP socket that belongs to a namespace: a thread goes there, and ends."""
    made: list[socket.socket] = []

    def go() -> None:
        enter(namespace.name)
        made.append(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))

    thread = threading.Thread(target=go)
    thread.start()
    thread.join()
    return made[0]


def stream(
    ends: tuple[Namespace, Namespace, WideAreaLink], packets: int = 1000, rate: int = 1000
) -> list[tuple[int, float]]:
    """Send numbered packets from the first end to the second; return (number, delay in ms) in order of arrival."""
    arrived: list[tuple[int, float]] = []
    link = ends[2]
    entered = link.counts()["entered"]
    with socket_in(ends[0]) as sender, socket_in(ends[1]) as receiver:
        # Room for all of them, should we not run for a while; root may have more than net.core.rmem_max.
        receiver.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 8 << 20)
        receiver.bind(("10.81.2.1", 0))
        receiver.settimeout(0.1)
        sender.connect(receiver.getsockname())
        last = threading.Event()

        def receive() -> None:
            while True:
                ending = last.is_set()
                try:
                    packet = receiver.recv(2048)
                except TimeoutError:
                    if ending:
                        return
                    continue
                now = time.monotonic_ns()
                number, departure = HEAD.unpack_from(packet)
                arrived.append((number, (now - departure) / 1e6))

        thread = threading.Thread(target=receive)
        thread.start()
        begin = time.monotonic()
        for number in range(packets):
            sender.send(HEAD.pack(number, time.monotonic_ns()).ljust(SIZE))
            time.sleep(max(0.0, begin + (number + 1) / rate - time.monotonic()))
        # What has left the link is in the receiver's socket.
        wait_until("the link has taken them", lambda: link.counts()["entered"] - entered >= packets)
        wait_until("the link is done with them", lambda: link.under_way() == 0)
        last.set()
        thread.join()
    return arrived


def test_the_delay_is_right_in_each_direction(ends: tuple[Namespace, Namespace, WideAreaLink]) -> None:
    link = ends[2]
    link.shape(delay_ms=50.0)
    link.shape(direction=1, delay_ms=20.0)

    def median() -> float:
        delays = [delay for _, delay in stream(ends)]
        assert len(delays) == 1000
        assert min(delays) >= 50.0
        return statistics.median(delays)

    # Whatever holds up the link or us adds to the delay; a delay that were wrong would be so in every second.
    wait_until("in a second without a stall the delay is right", lambda: median() < 51.0)


def test_hosts_of_two_sites_reach_each_other_over_the_link_alone(
    lab: Lab, ends: tuple[Namespace, Namespace, WideAreaLink]
) -> None:
    link = ends[2]
    link.shape(delay_ms=50.0)
    link.shape(direction=1, delay_ms=20.0)
    one = lab.host("one", {lab.sites["west"]: "10.81.1.11"})
    two = lab.host("two", {lab.sites["east"]: "10.81.2.11"})

    def shortest() -> float:
        reply = one.shell(f"ping -c 5 -i 0.2 -q {two.address}")
        minimum = float(reply.split(" = ")[1].split("/")[0])
        assert minimum >= 70.0
        return minimum

    # A single round trip may meet a stall of the link, and five do not make an average.
    wait_until("a round trip takes what the link takes", lambda: shortest() < 73.0)
    with link.severed():
        assert one.run("ping", "-c", "1", "-W", "1", two.address, check=False).returncode == 1
    assert one.run("ping", "-c", "1", "-W", "10", two.address).returncode == 0


def test_the_loss_is_right_and_counted_exactly(ends: tuple[Namespace, Namespace, WideAreaLink]) -> None:
    link = ends[2]
    link.shape(delay_ms=5.0, jitter_ms=0.0, loss=0.05)
    before = link.counts()
    arrived = stream(ends, packets=4000, rate=4000)
    after = link.counts()
    link.shape(loss=0.0)
    lost = after["lost"] - before["lost"]
    assert after["entered"] - before["entered"] == 4000
    assert len(arrived) == 4000 - lost
    assert 140 <= lost <= 270  # 200 expected, with five standard deviations of 13.8


def test_jitter_keeps_the_order_and_reordering_does_not(ends: tuple[Namespace, Namespace, WideAreaLink]) -> None:
    link = ends[2]
    link.shape(delay_ms=20.0, jitter_ms=10.0)
    jittered = stream(ends, packets=2000, rate=2000)
    link.shape(jitter_ms=0.0, reorder=0.05)
    reordered = stream(ends, packets=2000, rate=2000)
    link.shape(reorder=0.0)
    assert [number for number, _ in jittered] == list(range(2000))
    assert statistics.pstdev(delay for _, delay in jittered) > 2.0
    numbers = [number for number, _ in reordered]
    assert sorted(numbers) == list(range(2000))
    assert 50 <= sum(later < earlier for earlier, later in itertools.pairwise(numbers)) <= 160


def test_a_cut_passes_nothing_and_restoring_mends(ends: tuple[Namespace, Namespace, WideAreaLink]) -> None:
    link = ends[2]
    link.shape(delay_ms=5.0)
    with link.severed():
        before = link.counts()
        assert stream(ends, packets=50) == []
        after = link.counts()
        # All that entered was cut, what a host sent of its own accord included.
        assert after["cut"] - before["cut"] == after["entered"] - before["entered"] >= 50
        assert after["passed"] == before["passed"]
    assert len(stream(ends, packets=50)) == 50


def test_packets_under_way_are_lost_by_a_cut(ends: tuple[Namespace, Namespace, WideAreaLink]) -> None:
    link = ends[2]
    link.shape(delay_ms=20_000.0)
    before = link.counts()
    with socket_in(ends[0]) as sender:
        for _ in range(10):
            sender.sendto(b"x" * SIZE, ("10.81.2.1", 9))
    wait_until("the packets are under way", lambda: link.counts()["entered"] - before["entered"] >= 10)
    link.cut()
    after = link.counts()
    link.restore()
    link.shape(delay_ms=0.0)
    assert after["cut"] - before["cut"] == after["entered"] - before["entered"] >= 10
    assert after["passed"] == before["passed"]
