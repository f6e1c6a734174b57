"""The overlay's echoes while the probe itself is held up."""

import socket
from dataclasses import dataclass
from typing import cast

from daemons.configuration.probe import OverlaySection
from daemons.probe.checks.overlay import OverlayPinger
from daemons.records import Stamp, StampKind
from daemons.stream.stamping import Reader, Stamper

SECOND = 1_000_000_000
ROUND_TRIP_NS = 40_000_000


@dataclass
class Held:
    """A clock that is set, and the kernel's stamp of the only answer."""

    now_ns: int

    @property
    def clock(self) -> "Held":
        return self

    def monotonic_ns(self) -> int:
        return self.now_ns

    def stamp(self, _ancillary: object) -> Stamp:
        return Stamp(ROUND_TRIP_NS, StampKind.KERNEL, self.now_ns, ROUND_TRIP_NS, 0)


def test_an_answer_that_came_in_time_counts_however_late_it_is_read() -> None:
    held = Held(0)
    trips: list[int] = []
    pinger = OverlayPinger(OverlaySection(peer="192.0.2.1"), cast("Stamper", held), trips.append)
    ours, peer = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with ours, peer:
        ours.setblocking(False)
        pinger._socket, pinger._reader = ours, cast("Reader", held)
        pinger.slot(0, 0)
        peer.send(bytes(1) + peer.recv(4096)[1:])
        # Five times the time-out later, the timer of the next slot is seen before the socket.
        held.now_ns = 10 * SECOND
        pinger.slot(0, 0)
        assert (pinger.account.received, pinger.account.lost, trips) == (1, 0, [ROUND_TRIP_NS])
