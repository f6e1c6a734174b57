"""Scripted stamps of an interface, held against when the packets really came."""

import asyncio
import random
import socket
import struct
from collections.abc import Iterator

import pytest
import structlog
from structlog.testing import capture_logs

from daemons.errors import ClockError
from daemons.hardware_stamps import asked_for, hardware_families
from daemons.records import Stamp, StampKind, exact, inexact, shared
from daemons.stream.disorder import Disorder
from daemons.stream.hardware import LONGEST_WAIT_NS, HardwareReader, HardwareStamps
from daemons.stream.stamping import SO_TIMESTAMPING, WARMUP_NS, Ancillary, Stamper
from daemons.timing.relation import Triple
from tests.fakes import ManualClock

SECOND_NS = 1_000_000_000
PERIOD_NS = SECOND_NS // 2
TAI_NS = 37 * SECOND_NS


class Interface:
    """An interface whose clock is ahead, drifts, and can be stepped; with the readers of its stamps.

    Attributes:
        clock: the system's.
        ppm: by how much its own is faster.
        ahead_ns: by how much it is ahead, beside that.
        gone: it cannot be read.
    """

    def __init__(self, ppm: float = 12.0, *, prepared: bool = True) -> None:
        self.clock = ManualClock()
        self.ppm = ppm
        self.ahead_ns = TAI_NS
        self.gone = False
        self._since_ns = self.clock.monotonic_ns()
        self.stamper = Stamper(self.clock)
        self.clock.advance(WARMUP_NS + SECOND_NS)
        self.hardware = HardwareStamps("ens5", self.read, self.clock)
        if prepared:
            assert asyncio.run(self.hardware.prepare())
        self.hardware.attach(self.stamper)
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.reader = self.stamper.reader(self.sock)
        assert isinstance(self.reader, HardwareReader)

    def close(self) -> None:
        self.sock.close()
        self.stamper.close()

    def own_ns(self, wall_ns: int) -> int:
        passed_ns = wall_ns - self.clock.wall_ns() + self.clock.monotonic_ns() - self._since_ns
        return wall_ns + self.ahead_ns + round(self.ppm * 1e-6 * passed_ns)

    def read(self) -> list[Triple]:
        if self.gone:
            raise OSError(16, "Device or resource busy")
        before_ns = self.clock.wall_ns()
        own_ns = self.own_ns(before_ns + 1_000)
        self.clock.advance(2_000)
        return [(before_ns, own_ns, before_ns + 2_000)]

    def control(self, kernel_ns: int, own_ns: int) -> Ancillary:
        """What recvmsg(2) gives: the kernel's time, one that is no more in use, the interface's."""
        times = (*divmod(kernel_ns, SECOND_NS), 0, 0, *divmod(own_ns, SECOND_NS))
        return [(socket.SOL_SOCKET, SO_TIMESTAMPING, struct.pack("qqqqqq", *times))]

    def packet(self, *, own_ns: int | None = None, wait_ns: int = 20_000, read_ns: int = 30_000) -> tuple[int, Stamp]:
        """Let a packet come, wait for the kernel, and for us; return when it came, and its stamp."""
        came_ns = self.clock.wall_ns()
        told_ns = self.own_ns(came_ns) if own_ns is None else own_ns
        self.clock.advance(wait_ns)
        kernel_ns = self.clock.wall_ns()
        self.clock.advance(read_ns)
        return came_ns, self.reader.stamp(self.control(kernel_ns, told_ns))

    def pass_time(self, ns: int) -> None:
        """Let time pass, in which the clocks are related now and then."""
        for _period in range(ns // PERIOD_NS):
            self.clock.advance(PERIOD_NS)
            self.hardware.measure()


@pytest.fixture
def interface() -> Iterator[Interface]:
    made = Interface()
    yield made
    made.close()


@pytest.mark.parametrize("ppm", [0.0, 12.0, -300.0])
@pytest.mark.parametrize("wait_ns", [0, 1, 20_000, 4_000_000])
def test_a_stamp_is_of_the_wire_however_long_the_packet_waited(ppm: float, wait_ns: int) -> None:
    interface = Interface(ppm)
    for _packet in range(50):
        steady_ns = interface.clock.monotonic_ns()
        came_ns, stamp = interface.packet(wait_ns=wait_ns)
        error_ns = interface.hardware.relation.error_ns
        assert stamp.kind is StampKind.HARDWARE
        assert abs(stamp.ns - came_ns) <= error_ns
        assert stamp.steady_ns - steady_ns == stamp.ns - came_ns
        assert stamp.handled_ns == interface.clock.wall_ns()
        interface.pass_time(PERIOD_NS)
    interface.close()
    assert (interface.hardware.missing, interface.hardware.refused) == (0, 0)


def test_a_missing_one_is_not_replaced(interface: Interface) -> None:
    for ancillary_ns in (0, None):
        if ancillary_ns is None:
            stamp = interface.reader.stamp([])
        else:
            came_ns, stamp = interface.packet(own_ns=0)
            # The kernel's is there for whoever asks, and the kind says that it is not what was asked for.
            assert stamp.ns == came_ns + 20_000
        assert stamp.kind is StampKind.NO_HARDWARE
    assert interface.hardware.missing == 2
    assert interface.packet()[1].kind is StampKind.HARDWARE


def test_the_places_of_the_two_may_not_be_exchanged(interface: Interface) -> None:
    came_ns = interface.clock.wall_ns()
    interface.clock.advance(20_000)
    kernel_ns = interface.clock.wall_ns()
    interface.clock.advance(30_000)
    stamp = interface.reader.stamp(interface.control(interface.own_ns(came_ns), kernel_ns))
    # What is in the kernel's place lies in the future by 37 s, which is no time of ours.
    assert stamp.step_ns or stamp.kind is StampKind.NO_HARDWARE
    interface.ahead_ns = 0
    interface.pass_time(3 * SECOND_NS)
    interface.clock.advance(SECOND_NS)
    came_ns = interface.clock.wall_ns()
    interface.clock.advance(60_000)
    kernel_ns = interface.clock.wall_ns()
    stamp = interface.reader.stamp(interface.control(interface.own_ns(came_ns), kernel_ns))
    assert stamp.step_ns or stamp.kind is StampKind.NO_HARDWARE


def test_stamps_of_two_packets_that_were_exchanged_are_both_refused(interface: Interface) -> None:
    first_ns = interface.own_ns(interface.clock.wall_ns())
    second_ns = first_ns + 1_000_000
    assert interface.packet(own_ns=second_ns)[1].kind is StampKind.NO_HARDWARE
    interface.clock.advance(950_000)
    assert interface.packet(own_ns=first_ns)[1].kind is StampKind.NO_HARDWARE
    assert interface.hardware.refused == 2
    interface.clock.advance(1_000_000)
    assert interface.packet()[1].kind is StampKind.HARDWARE


def test_one_that_comes_again_is_not_of_this_packet(interface: Interface) -> None:
    own_ns = interface.own_ns(interface.clock.wall_ns())
    assert interface.packet(own_ns=own_ns)[1].kind is StampKind.HARDWARE
    for _packet in range(3):
        assert interface.packet(own_ns=own_ns)[1].kind is StampKind.NO_HARDWARE
    assert interface.hardware.refused == 3


@pytest.mark.parametrize("off_ns", [LONGEST_WAIT_NS + 1, 10 * SECOND_NS, -100_000, -40 * SECOND_NS])
def test_one_that_no_packet_can_have_is_refused_and_spoils_no_later_one(interface: Interface, off_ns: int) -> None:
    own_ns = interface.own_ns(interface.clock.wall_ns()) - off_ns
    assert interface.packet(own_ns=own_ns)[1].kind is StampKind.NO_HARDWARE
    interface.clock.advance(100_000)
    assert interface.packet()[1].kind is StampKind.HARDWARE


@pytest.mark.parametrize("size_ns", [10 * SECOND_NS, -10 * SECOND_NS, 500_000, -500_000])
def test_across_a_step_of_its_clock_figures_are_right_or_refused(size_ns: int) -> None:
    interface = Interface()
    rng = random.Random(1)
    kinds: list[StampKind] = []
    wrong = 0
    for period in range(12):
        for _packet in range(10):
            interface.clock.advance(rng.randrange(1_000_000, 40_000_000))
            came_ns, stamp = interface.packet(wait_ns=rng.randrange(1_000, 60_000))
            kinds.append(stamp.kind)
            off_ns = abs(stamp.ns - came_ns)
            wrong += stamp.kind is StampKind.HARDWARE and off_ns > interface.hardware.relation.error_ns
        if period == 4:
            # Right after a measurement: the longest time in which nothing is known of it.
            interface.ahead_ns += size_ns
        else:
            interface.hardware.measure()
    # A step back by less than a packet can wait shows with the next measurement; every other at once.
    assert wrong <= (20 if size_ns == -500_000 else 0)
    assert interface.hardware.relation.steps == 1
    assert kinds[:50] == [StampKind.HARDWARE] * 50
    assert kinds[-20:] == [StampKind.HARDWARE] * 20
    assert StampKind.NO_HARDWARE in kinds
    assert set(kinds) == {StampKind.HARDWARE, StampKind.NO_HARDWARE}
    interface.close()


def test_a_step_of_the_system_clock_begins_anew(interface: Interface) -> None:
    assert interface.packet()[1].kind is StampKind.HARDWARE
    interface.clock.step(2_000_000)
    interface.ahead_ns -= 2_000_000
    _came, stamp = interface.packet()
    assert stamp.step_ns == 2_000_000
    assert not interface.hardware.relation.usable
    interface.clock.advance(1_000_000)
    assert interface.packet()[1].kind is StampKind.NO_HARDWARE
    interface.pass_time(3 * SECOND_NS)
    came_ns, stamp = interface.packet()
    assert stamp.kind is StampKind.HARDWARE
    assert abs(stamp.ns - came_ns) <= interface.hardware.relation.error_ns


def test_a_clock_that_cannot_be_read_any_more_is_relied_on_for_three_seconds(interface: Interface) -> None:
    interface.gone = True
    kinds = []
    for _second in range(6):
        interface.pass_time(SECOND_NS)
        kinds.append(interface.packet()[1].kind)
    assert kinds == [StampKind.HARDWARE] * 2 + [StampKind.NO_HARDWARE] * 4
    assert interface.hardware.unread == 12
    interface.gone = False
    interface.pass_time(2 * SECOND_NS)
    assert interface.packet()[1].kind is StampKind.HARDWARE


def test_in_the_warm_up_there_is_none() -> None:
    interface = Interface()
    fresh = HardwareReader(interface.clock, interface.clock.monotonic_ns() + WARMUP_NS, interface.hardware)
    came_ns = interface.clock.wall_ns()
    interface.clock.advance(1_000)
    assert fresh.stamp(interface.control(interface.clock.wall_ns(), interface.own_ns(came_ns))).kind is StampKind.WARMUP
    interface.close()


def test_what_did_not_complete_an_event_is_shared_and_a_missing_one_stays_missing(interface: Interface) -> None:
    _came, stamp = interface.packet()
    assert (exact(stamp.kind), inexact(stamp).kind) == (True, StampKind.SHARED)
    assert shared(stamp.kind) is StampKind.SHARED
    _came, stamp = interface.packet(own_ns=0)
    assert (exact(stamp.kind), inexact(stamp).kind) == (False, StampKind.NO_HARDWARE)


def test_sockets_that_bring_no_events_keep_the_kernels(interface: Interface) -> None:
    assert interface.stamper.reader().stamp(interface.control(interface.clock.wall_ns(), 5)).kind is StampKind.KERNEL


def test_the_socket_is_asked_for_both(interface: Interface) -> None:
    # Receive by software and by hardware, and both told (include/uapi/linux/net_tstamp.h).
    asked = interface.sock.getsockopt(socket.SOL_SOCKET, SO_TIMESTAMPING)
    assert asked == 1 << 3 | 1 << 4 | 1 << 2 | 1 << 6


def test_a_read_that_lay_behind_a_hole_is_looked_at_as_any_other(interface: Interface) -> None:
    # No TCP socket: nothing is found out of order, and the stamp stays.
    _came, stamp = interface.packet(read_ns=10_000_000)
    assert Disorder(interface.sock).judged(stamp) is stamp


class FakeClock:
    """An interface's clock as :class:`daemons.stream.interface_clock.InterfaceClock` has it."""

    def __init__(self, interface: Interface) -> None:
        self.device = "/dev/ptp3"
        self.read = interface.read
        self.closed = False

    def close(self) -> None:
        self.closed = True


@pytest.mark.parametrize("use", ["required", "if available"])
@pytest.mark.parametrize("fault", ["none", "refused", "unread", "restless"])
def test_what_is_required_is_there_or_refused_and_what_is_not_is_told_of(use: str, fault: str) -> None:
    interface = Interface(prepared=False)
    stamper = Stamper(interface.clock)
    clock = FakeClock(interface)
    interface.gone = fault == "unread"

    def make(name: str) -> FakeClock:
        assert name == "ens5"
        if fault == "refused":
            raise ClockError("its driver cannot; use another")
        return clock

    def restless() -> list[Triple]:
        interface.ahead_ns += SECOND_NS
        return interface.read()

    if fault == "restless":
        clock.read = restless
    with capture_logs() as logs:
        asked = asked_for(use, "ens5", stamper, structlog.get_logger("receiver"), make=make)  # type: ignore[arg-type]
        if use == "required" and fault != "none":
            with pytest.raises(ClockError, match=r"cannot; use|does not keep still.*ptp4l"):
                asyncio.run(asked)
            assert logs == []
        else:
            found = asyncio.run(asked)
            assert (found is not None) == (fault == "none")
            (line,) = logs
            assert line["log_level"] == ("info" if fault == "none" else "warning")
            assert (fault == "none") or "use another" in line["why"] or "does not keep still" in line["why"]
            figures = {
                family.name: [sample.value for sample in family.samples] for family in hardware_families("x", found)
            }
            assert figures["x_hardware_stamps_used"] == [fault == "none"]
            assert figures["x_hardware_stamps_refused"] == ([0, 0] if fault == "none" else [])
    assert clock.closed == (fault in ("unread", "restless"))
    stamper.close()
    interface.close()


def test_off_asks_for_nothing() -> None:
    stamper = Stamper(ManualClock())
    assert asyncio.run(asked_for("off", "ens5", stamper, structlog.get_logger("receiver"))) is None
    assert stamper.flags == 1 << 3 | 1 << 4
    stamper.close()
