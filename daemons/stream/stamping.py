"""Kernel receive stamps: SO_TIMESTAMPING, software, on every read.

See the kernel's Documentation/networking/timestamping.rst. The stamp is taken when the packet enters the network stack,
before any process is woken, so a busy host does not make a path look slow.
"""

import socket
import struct
from collections.abc import Callable
from typing import Final

from daemons.records import KERNEL, WARMUP, Stamp, StampKind
from daemons.timing.clock import Clock, StepDetector, read_together

__all__ = ["ANCILLARY_BYTES", "RAW_HARDWARE", "RX_HARDWARE", "Ancillary", "Reader", "Stamper", "enable"]

SO_TIMESTAMPING = 37
_SOL_SOCKET = socket.SOL_SOCKET
_RX_SOFTWARE = 1 << 3
_SOFTWARE = 1 << 4
RX_HARDWARE: Final = 1 << 2
RAW_HARDWARE: Final = 1 << 6
"""Those of the interface, and that they are told; in the time of its own clock."""
_SCM_TIMESTAMPING = struct.Struct("qqqqqq")
ANCILLARY_BYTES = socket.CMSG_SPACE(_SCM_TIMESTAMPING.size)
"""Room that ``recvmsg`` needs for one stamp."""

WARMUP_NS = 100_000_000
"""How long stamps may be late after the first socket of a machine has asked for them: the kernel switches stamping on
from a work queue, and until then stamps a packet when it is read from the socket, or not at all."""

Ancillary = list[tuple[int, int, bytes]]

_first_seconds = struct.Struct("qq").unpack_from


def enable(sock: socket.socket, flags: int = _RX_SOFTWARE | _SOFTWARE) -> None:
    """Ask the kernel to stamp what this socket receives; sockets accepted from a listening one inherit it."""
    sock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPING, flags)


class Stamper:
    """Keeps kernel stamping switched on, and turns ancillary data into stamps.

    One for each process: a socket of its own holds the kernel's switch, so that connections made later are stamped from
    their first packet on.

    Attributes:
        flags: what sockets that bring events are asked for.
        readers: makes the stamp reader of one.
    """

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.flags = _RX_SOFTWARE | _SOFTWARE
        self.readers: Callable[[Clock, int], Reader] = Reader
        self._keeper = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        enable(self._keeper)
        self._warm_ns = clock.monotonic_ns() + WARMUP_NS

    async def warm(self) -> bool:
        """Wait until the kernel stamps packets as they come, by sending some to ourselves; at most the warm-up time.

        On loopback a datagram has come when ``send`` returns. A stamp later than that was made when it was read.

        Returns:
            Whether it does; if not, stamps are marked as warm-up until that time is over.
        """
        keeper, clock = self._keeper, self.clock
        keeper.setblocking(False)
        try:
            keeper.bind(("127.0.0.1", 0))
            keeper.connect(keeper.getsockname())
            while clock.monotonic_ns() < self._warm_ns:
                keeper.send(b"?")
                sent_ns = clock.wall_ns()
                await clock.sleep(0.002)
                stamp = self.reader().stamp(keeper.recvmsg(1, ANCILLARY_BYTES)[1])
                if stamp.ns <= sent_ns:
                    self._warm_ns = clock.monotonic_ns()
                    return True
        except OSError:
            # Without a loopback to try it on, the time has to pass.
            return False
        return False

    def close(self) -> None:
        """Let the kernel's switch go."""
        self._keeper.close()

    def reader(self, sock: socket.socket | None = None) -> "Reader":
        """Make the stamp reader of one socket.

        Args:
            sock: one that brings events; None for another, which has the kernel's stamps whatever those have.
        """
        if sock is None:
            return Reader(self.clock, self._warm_ns)
        enable(sock, self.flags)
        return self.readers(self.clock, self._warm_ns)


class Reader:
    """Makes the stamps of one socket's reads, and notices wall-clock steps between them."""

    __slots__ = ("_before_ns", "_clock", "_monotonic_ns", "_steps", "_suspect_ns", "_wall_ns", "_warm", "_warm_ns")

    def __init__(self, clock: Clock, warm_ns: int) -> None:
        self._clock = clock
        self._wall_ns = clock.wall_ns
        self._monotonic_ns = clock.monotonic_ns
        self._warm_ns = warm_ns
        self._warm = False
        self._before_ns = 0
        self._steps = StepDetector(*read_together(clock))
        self._suspect_ns = 0

    def left_some(self, stamp: Stamp) -> None:
        """Note that the read of this stamp took as much as it could: what is left of joined packets came before it."""
        self._before_ns = stamp.before_ns

    def stamp(self, ancillary: Ancillary) -> Stamp:
        """Make the stamp of a read just done.

        Args:
            ancillary: what ``recvmsg`` returned beside the data.

        Returns:
            The kernel's stamp, or the present moment when the kernel gave none: with kind ``USER``, or ``WARMUP`` while
            its stamping may not be switched on yet.
        """
        wall_ns = self._wall_ns()
        monotonic_ns = self._monotonic_ns()
        step_ns = 0
        before_ns = self._before_ns
        if self._steps.is_due(wall_ns, monotonic_ns):
            wall_ns, monotonic_ns = read_together(self._clock)
            step_ns = self._steps.observe(wall_ns, monotonic_ns)
            if step_ns:
                self._suspect_ns = wall_ns
        # Where the kernel gives a stamp, that: a process may stand still between a read and a look at the clock.
        self._before_ns = wall_ns
        for level, kind, data in ancillary:
            if kind == SO_TIMESTAMPING and level == _SOL_SOCKET:
                seconds, nanoseconds = _first_seconds(data)
                if not seconds:
                    continue
                ns = seconds * 1_000_000_000 + nanoseconds
                source = KERNEL
                if not self._warm:
                    self._warm = monotonic_ns - (wall_ns - ns) >= self._warm_ns
                    source = KERNEL if self._warm else WARMUP
                # A packet stamped before a step and read after it carries a time of the old scale.
                if ns <= self._suspect_ns or ns > wall_ns:
                    step_ns = step_ns or self._steps.last_step_ns or ns - wall_ns
                # Then the two cannot be subtracted either: the moment of the read must do.
                steady_ns = monotonic_ns if step_ns else monotonic_ns - (wall_ns - ns)
                if not step_ns:
                    self._before_ns = ns
                return Stamp(ns, source, wall_ns, steady_ns, step_ns, 0, before_ns)
        source = StampKind.USER if monotonic_ns >= self._warm_ns else WARMUP
        return Stamp(wall_ns, source, wall_ns, monotonic_ns, step_ns, 0, before_ns)
