"""Hardware receive stamps: by the interface, when the packet came off the wire, told in the system clock's time.

The kernel gives them beside its own stamp, in the time of the interface's clock. One is believed only if it is newer
than all that its socket was given before, and lies before the kernel's own by no more than a packet can wait for the
kernel. What is not believed is not replaced: such a read says that its hardware stamp is missing, and no figure is
made of it.
"""

import struct
from collections.abc import Callable
from functools import partial
from typing import Final

from msgspec.structs import replace

from daemons.records import HARDWARE, KERNEL, NO_HARDWARE, Stamp, StampKind
from daemons.stream.stamping import RAW_HARDWARE, RX_HARDWARE, SO_TIMESTAMPING, Ancillary, Reader, Stamper
from daemons.timing.clock import Clock
from daemons.timing.relation import ClockRelation, Triple

__all__ = ["HardwareReader", "HardwareStamps"]

PERIOD_SECONDS: Final = 0.5
ATTEMPTS: Final = 10
LONGEST_WAIT_NS: Final = 5_000_000
"""From wire to kernel: interrupts are put off for some 100 us, and a busy host takes milliseconds."""
_third = struct.Struct("32xqq").unpack_from


class HardwareStamps:
    """What the readers of one interface's stamps have in common.

    Args:
        interface: its name.
        read: reads its clock and the system's together, or raises OSError.
        clock: for sleeping.

    Attributes:
        relation: of the two clocks.
        unread: times that the clock could not be read.
        missing: reads without a hardware stamp.
        refused: reads whose hardware stamp cannot be true, or not be told in the system's time.
    """

    def __init__(self, interface: str, read: Callable[[], list[Triple]], clock: Clock) -> None:
        self.interface = interface
        self._read = read
        self._clock = clock
        self.relation = ClockRelation()
        self.unread = 0
        self.missing = 0
        self.refused = 0

    def measure(self) -> None:
        """Relate the clocks once more; some tens of microseconds."""
        try:
            self.relation.observe(self._read())
        except OSError:
            # Drivers answer so to whoever asks too often, too; what is known grows stale by itself.
            self.unread += 1

    def attach(self, stamper: Stamper) -> None:
        """Let the sockets made from now on be stamped so."""
        stamper.flags |= RX_HARDWARE | RAW_HARDWARE
        stamper.readers = partial(HardwareReader, hardware=self)

    async def prepare(self) -> bool:
        """Measure until stamps can be told; return whether they can, after five seconds at most."""
        for _attempt in range(ATTEMPTS):
            self.measure()
            if self.relation.usable:
                return True
            await self._clock.sleep(PERIOD_SECONDS)
        return False

    async def run(self) -> None:
        """Measure for ever."""
        while True:
            await self._clock.sleep(PERIOD_SECONDS)
            self.measure()


class HardwareReader(Reader):
    """Makes the stamps of one socket's reads of those of the interface."""

    __slots__ = ("_era", "_hardware", "_newest_ns")

    def __init__(self, clock: Clock, warm_ns: int, hardware: HardwareStamps) -> None:
        super().__init__(clock, warm_ns)
        self._hardware = hardware
        self._newest_ns = 0
        self._era = hardware.relation.steps

    def stamp(self, ancillary: Ancillary) -> Stamp:
        """Make the stamp of a read just done: ``HARDWARE``, or ``NO_HARDWARE`` where there is none to believe."""
        stamp = super().stamp(ancillary)
        hardware = self._hardware
        if stamp.step_ns:
            # The relation is of the old scale. No figure is made of this read in any case.
            hardware.relation.forget()
            return stamp
        raw_ns = _raw_ns(ancillary)
        if stamp.kind is StampKind.WARMUP:
            return stamp
        if stamp.kind is not KERNEL or not raw_ns:
            hardware.missing += 1
            return _without(stamp)
        relation = hardware.relation
        if relation.steps != self._era:
            # The newest of before may be newer than all that will come.
            self._era, self._newest_ns = relation.steps, 0
        ns, newest_ns = relation.to_system(raw_ns), self._newest_ns
        if ns is not None and ns <= stamp.ns + LONGEST_WAIT_NS:
            # Also of one that is refused: where two were exchanged, the second is as wrong as the first.
            self._newest_ns = max(raw_ns, newest_ns)
        if ns is None or raw_ns <= newest_ns or not -relation.error_ns <= stamp.ns - ns <= LONGEST_WAIT_NS:
            hardware.refused += 1
            return _without(stamp)
        return replace(stamp, ns=ns, kind=HARDWARE, steady_ns=stamp.steady_ns - (stamp.ns - ns))


def _raw_ns(ancillary: Ancillary) -> int:
    """Read the third of the three times; 0 where there is none."""
    for _level, kind, data in ancillary:
        if kind == SO_TIMESTAMPING and len(data) >= 48:
            seconds, nanoseconds = _third(data)
            return int(seconds) * 1_000_000_000 + int(nanoseconds)
    return 0


def _without(stamp: Stamp) -> Stamp:
    return replace(stamp, kind=NO_HARDWARE)
