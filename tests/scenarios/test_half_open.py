"""Half-open connections from forged addresses: a flood of SYNs on the link's port, whose answers go nowhere."""

import itertools
import os
import random
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.namespaces import entered, ip
from tests.processes import until
from tests.programs import forwarder, missing, port_of, receiver, rows_of, scrape, settled, silences, simulator
from tests.scenarios.test_intruders import KEY, key_file, refusals

pytestmark = pytest.mark.process

SERVED, NEIGHBOUR = (f"{name}{os.getpid()}" for name in ("served", "flood"))
ADDRESS = "10.96.1.1"
ENOUGH = 20_000
_SYN = 0x02
_PSEUDO, _IP, _TCP = struct.Struct("!4s4sBBH"), struct.Struct("!BBHHHBBH4s4s"), struct.Struct("!HHIIBBHHH")


@pytest.fixture
def hosts() -> Iterator[None]:
    """A host whose every answer goes to its neighbour, which has none of the addresses that they are for."""
    made = []
    try:
        for name in (SERVED, NEIGHBOUR):
            ip("netns", "add", name)
            made.append(name)
            ip("-n", name, "link", "set", "lo", "up")
        ip("link", "add", "wire", "netns", SERVED, "type", "veth", "peer", "name", "wire", "netns", NEIGHBOUR)
        for name, address in ((SERVED, ADDRESS), (NEIGHBOUR, "10.96.1.2")):
            ip("-n", name, "addr", "add", f"{address}/24", "dev", "wire")
            ip("-n", name, "link", "set", "wire", "up")
        ip("-n", SERVED, "route", "add", "default", "via", "10.96.1.2")
        yield
    finally:
        for name in made:
            ip("netns", "del", name)


def checksum(data: bytes) -> int:
    """The Internet checksum (RFC 1071) of an even number of bytes."""
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    total = (total >> 16) + (total & 0xFFFF)
    return ~(total + (total >> 16)) & 0xFFFF


def syn(rng: random.Random, port: int) -> bytes:
    """Make a SYN (RFC 9293) from somebody of 198.18.0.0/15, the addresses of benchmarks (RFC 2544)."""
    source, target = bytes((198, 18 + rng.randrange(2), *rng.randbytes(2))), socket.inet_aton(ADDRESS)
    fields = [rng.randrange(1024, 65536), port, rng.randrange(1 << 32), 0, 5 << 4, _SYN, 64_240, 0, 0]
    fields[7] = checksum(_PSEUDO.pack(source, target, 0, socket.IPPROTO_TCP, _TCP.size) + _TCP.pack(*fields))
    # The kernel writes length, identification and checksum of an IP header that is given (raw(7)).
    return _IP.pack(0x45, 0, 0, 0, 0, 64, socket.IPPROTO_TCP, 0, source, target) + _TCP.pack(*fields)


@contextmanager
def flooding(port: int) -> Iterator[Callable[[], int]]:
    """Send SYNs from the neighbour until the end; give what tells how many there were."""
    rng, done, sent = random.Random(22), threading.Event(), [0]

    def work() -> None:
        with entered(NEIGHBOUR), socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW) as out:
            while not done.is_set():
                out.sendto(syn(rng, port), (ADDRESS, 0))
                sent[0] += 1

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield lambda: sent[0]
    finally:
        done.set()
        thread.join()


def kernel_counts() -> dict[str, int]:
    """What the kernel has counted of TCP in this namespace (``TcpExt``, as nstat has it)."""
    lines = [line.split()[1:] for line in Path("/proc/thread-self/net/netstat").read_text().splitlines()]
    names, values = next(pair for pair in itertools.pairwise(lines) if "SyncookiesSent" in pair[0])
    return dict(zip(names, map(int, values), strict=True))


def test_a_flood_of_half_open_connections_costs_no_event_and_keeps_no_forwarder_out(
    hosts: None, tmp_path: Path
) -> None:
    key, rows = key_file(tmp_path, KEY), tmp_path / "rows.csv"
    with (
        entered(SERVED),
        simulator("--rate", "500", "--wait-for-clients", "1") as exchange,
        receiver(
            *("--mode", "aws-backbone", "--listen", f"{ADDRESS}:0", "--key-file", key, "--csv-output", str(rows)),
        ) as program,
    ):
        port = port_of(program)
        flags = (
            *("--feed-url", f"ws://{exchange.ready['near']}", "--destination", f"{ADDRESS}:{port}"),
            *("--key-file", key),
        )
        with forwarder(*flags) as early:
            until(lambda: bool(scrape(program).by("latency_receiver_events_total", "stream")), "events flow")
            with flooding(port) as sent:
                until(lambda: sent() > ENOUGH, "the flood is one")
                # What comes while the queue of half-open connections is full gets in by a cookie (RFC 4987, 3.6).
                with forwarder(*flags) as late:
                    until(lambda: scrape(program).sum("latency_receiver_link_connected") == 2, "another is let in")
                    exchange.terminate()
                    received = 0.0
                    for sender in (early, late):
                        settled(sender, "latency_forwarder_feed_connected", 0)
                        received += scrape(sender).sum("latency_forwarder_events_received_total")
                        assert sum(scrape(sender).matching("latency_forwarder_events_dropped_total")) == 0
                    settled(program, "latency_receiver_events_total", received)
                    page, again = scrape(program), silences(program, early, late)
            counted = kernel_counts()
        assert counted["SyncookiesSent"] > ENOUGH / 2
        assert counted["SyncookiesRecv"] >= 1
        assert page.sum("latency_receiver_link_connections_total") - 2 <= again
        assert missing(page) == 0
        # Nobody of the flood has become a connection of ours.
        assert refusals(program) == {}
        program.terminate()
    assert len(rows_of(rows)) == received
