"""The process behind a wide-area link: a TUN device in each of two namespaces, and a queue between them.

A process of its own, single-threaded and without an event loop, because it must be punctual: it adds some 40 µs to
the delay asked for (median, 1,000 packets a second). Run as ``python -m tests.lab.wan_process CONFIG-JSON``; takes one
JSON command a line on standard input, answers each with one JSON line on standard output, ends at end of input.
"""

import fcntl
import gc
import heapq
import json
import os
import random
import select
import struct
import subprocess
import sys
import time
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from tests.lab.namespace import LIBC, enter
from tests.lab.punctual import go_first
from tests.lab.shape import Direction, Shape

__all__ = ["main"]

TUNSETIFF = 0x400454CA
IFF_TUN, IFF_NO_PI = 0x0001, 0x1000
PR_SET_TIMERSLACK = 29
PACKET_BYTES = 65535
READS_A_TURN = 64
QUEUE_PACKETS = 500_000


@dataclass(slots=True)
class Counts:
    """What became of one direction's packets.

    ``entered + duplicated = passed + lost + cut + overflowed + refused +`` those under way.
    """

    entered: int = 0
    passed: int = 0
    duplicated: int = 0
    lost: int = 0
    cut: int = 0
    overflowed: int = 0
    refused: int = 0


@dataclass(slots=True)
class End:
    """One direction: read here, write there."""

    source: int
    target: int
    direction: Direction
    counts: Counts = field(default_factory=Counts)


def main() -> None:
    """Run the link that the configuration on the command line describes."""
    config = json.loads(sys.argv[1])
    near, far = (open_tun(**end) for end in config["ends"])
    generator = random.Random(config["seed"])
    shapes = [Shape(**shape) for shape in config["shapes"]]
    ends = [
        End(near, far, Direction(shapes[0], generator)),
        End(far, near, Direction(shapes[1], generator)),
    ]
    LIBC.prctl(PR_SET_TIMERSLACK, 1)
    go_first()
    gc.disable()
    answer({"ready": True})
    Carrier(ends).run()


def open_tun(namespace: str, device: str, address: str, peer: str, mtu: int) -> int:
    """Make a TUN device in a namespace and return its descriptor, which stays valid outside of it."""
    enter(namespace)
    tun = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(tun, TUNSETIFF, struct.pack("16sH22x", device.encode(), IFF_TUN | IFF_NO_PI))
    for command in (
        ("addr", "add", address, "peer", peer, "dev", device),
        # No IPv6 link-local address: its solicitations, for 12 s, would be counted among the test's packets. In a
        # command of its own, because the kernel takes "up" first, and makes the address then.
        ("link", "set", device, "addrgenmode", "none"),
        ("link", "set", device, "mtu", str(mtu), "txqueuelen", "10000", "up"),
    ):
        subprocess.run(["ip", *command], check=True)
    return tun


class Carrier:
    """The link: packets wait here until they are due.

    Args:
        ends: the two directions.
    """

    def __init__(self, ends: list[End]) -> None:
        self._ends = ends
        self._queue: list[tuple[int, int, End, bytes]] = []
        self._order = 0

    def run(self) -> None:
        """Move packets until standard input ends."""
        by_source = {end.source: end for end in self._ends}
        control = sys.stdin.fileno()
        watched = [control, *by_source]
        commands = b""
        while True:
            wait_ns = self._deliver()
            readable, _, _ = select.select(watched, [], [], None if wait_ns is None else wait_ns / 1e9)
            for source in readable:
                if source != control:
                    self._take(by_source[source])
                    continue
                chunk = os.read(control, PACKET_BYTES)
                if not chunk:
                    return
                *lines, commands = (commands + chunk).split(b"\n")
                for line in lines:
                    answer(self._obey(json.loads(line)))

    def _deliver(self) -> int | None:
        """Let out what is due; return how long until the next, or None when nothing waits."""
        queue = self._queue
        while queue:
            wait_ns = queue[0][0] - time.monotonic_ns()
            if wait_ns > 0:
                return wait_ns
            _, _, end, packet = heapq.heappop(queue)
            try:
                os.write(end.target, packet)
            except OSError:
                end.counts.refused += 1
            else:
                end.counts.passed += 1
        return None

    def _take(self, end: End) -> None:
        """Read what entered one end, and decide when it leaves the other."""
        counts = end.counts
        for _ in range(READS_A_TURN):
            try:
                packet = os.read(end.source, PACKET_BYTES)
            except BlockingIOError:
                return
            counts.entered += 1
            times = end.direction.due_ns(time.monotonic_ns())
            if not times:
                if end.direction.shape.cut:
                    counts.cut += 1
                else:
                    counts.lost += 1
            elif len(self._queue) >= QUEUE_PACKETS:
                counts.overflowed += 1
            else:
                counts.duplicated += len(times) - 1
                for due in times:
                    self._order += 1
                    heapq.heappush(self._queue, (due, self._order, end, packet))

    def _obey(self, command: dict[str, Any]) -> dict[str, Any]:
        """Change the shapes of some directions, or of none; answer with the counts."""
        for number, change in command.get("change", {}).items():
            end = self._ends[int(number)]
            end.direction.shape = replace(end.direction.shape, **change)
            if end.direction.shape.cut:
                staying = [waiting for waiting in self._queue if waiting[2] is not end]
                end.counts.cut += len(self._queue) - len(staying)
                heapq.heapify(staying)
                self._queue = staying
        return {"counts": [asdict(end.counts) for end in self._ends], "under_way": len(self._queue)}


def answer(message: dict[str, Any]) -> None:
    """Write one line to the controller."""
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
