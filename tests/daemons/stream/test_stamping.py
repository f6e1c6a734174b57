"""Scripted ancillary data and a clock that is moved by hand."""

import asyncio
import socket
import struct
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemons.records import Stamp, StampKind
from daemons.stream.stamping import ANCILLARY_BYTES, SO_TIMESTAMPING, WARMUP_NS, Ancillary, Reader, Stamper, enable
from daemons.timing.clock import SystemClock
from tests.fakes import ManualClock
from tests.processes import until

SECOND_NS = 1_000_000_000


def stamped(ns: int) -> Ancillary:
    """What recvmsg(2) gives: three timespecs, of which the first is the software stamp."""
    return [(socket.SOL_SOCKET, SO_TIMESTAMPING, struct.pack("qqqqqq", *divmod(ns, SECOND_NS), 0, 0, 0, 0))]


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def reader(clock: ManualClock) -> Iterator[Reader]:
    """A reader whose warm-up is over."""
    stamper = Stamper(clock)
    clock.advance(WARMUP_NS + SECOND_NS)
    yield stamper.reader()
    stamper.close()


@given(host_delay_ns=st.integers(0, 10 * SECOND_NS))
def test_the_kernels_stamp_is_taken_to_the_nanosecond(host_delay_ns: int) -> None:
    clock = ManualClock()
    reader = Reader(clock, clock.monotonic_ns() - 20 * SECOND_NS)
    arrived_ns, steady_ns = clock.wall_ns(), clock.monotonic_ns()
    clock.advance(host_delay_ns)
    stamp = reader.stamp(stamped(arrived_ns))
    assert (stamp.ns, stamp.kind, stamp.step_ns) == (arrived_ns, StampKind.KERNEL, 0)
    assert stamp.handled_ns - stamp.ns == host_delay_ns
    assert stamp.steady_ns == steady_ns


@pytest.mark.parametrize(
    "ancillary",
    [
        [],
        [(socket.SOL_SOCKET, SO_TIMESTAMPING, bytes(48))],
        [(socket.SOL_SOCKET, socket.SO_RCVBUF, struct.pack("qqqqqq", 5, 5, 0, 0, 0, 0))],
        [(socket.IPPROTO_IP, SO_TIMESTAMPING, struct.pack("qqqqqq", 5, 5, 0, 0, 0, 0))],
    ],
)
def test_a_missing_stamp_is_ours_and_says_so(reader: Reader, clock: ManualClock, ancillary: Ancillary) -> None:
    stamp = reader.stamp(ancillary)
    assert (stamp.ns, stamp.kind) == (clock.wall_ns(), StampKind.USER)
    assert (stamp.handled_ns, stamp.steady_ns, stamp.step_ns) == (stamp.ns, clock.monotonic_ns(), 0)


def test_a_stamp_tells_of_its_own_sockets_read_before(clock: ManualClock) -> None:
    stamper = Stamper(clock)
    clock.advance(WARMUP_NS + SECOND_NS)
    one, other = stamper.reader(), stamper.reader()
    first_ns = clock.wall_ns()
    # The process stood still before it looked at the clock: what has come meanwhile is of the next read.
    clock.advance(SECOND_NS)
    assert one.stamp(stamped(first_ns)).before_ns == 0
    second_ns = clock.wall_ns()
    assert other.stamp([]).before_ns == 0
    clock.advance(SECOND_NS)
    assert one.stamp([]).before_ns == first_ns
    full = other.stamp(stamped(second_ns + 1))
    assert full.before_ns == second_ns
    # It took as much as it could: what the next one brings may have come at any time since the one before.
    other.left_some(full)
    clock.advance(SECOND_NS)
    assert other.stamp([]).before_ns == second_ns
    stamper.close()


def test_stamps_are_of_the_warm_up_until_it_is_over() -> None:
    clock = ManualClock()
    stamper = Stamper(clock)
    reader = stamper.reader()
    clock.advance(WARMUP_NS - 1)
    assert reader.stamp(stamped(clock.wall_ns())).kind is StampKind.WARMUP
    assert reader.stamp([]).kind is StampKind.WARMUP
    early_ns = clock.wall_ns()
    clock.advance(1)
    # What counts is when the packet was stamped, not when it is read.
    assert reader.stamp(stamped(early_ns)).kind is StampKind.WARMUP
    assert reader.stamp([]).kind is StampKind.USER
    assert reader.stamp(stamped(clock.wall_ns())).kind is StampKind.KERNEL
    assert reader.stamp(stamped(early_ns)).kind is StampKind.KERNEL
    later = stamper.reader()
    assert later.stamp(stamped(clock.wall_ns())).kind is StampKind.KERNEL
    stamper.close()


@pytest.mark.parametrize("step_ns", [3600 * SECOND_NS, -3600 * SECOND_NS, 5_000_000, -5_000_000])
def test_a_step_is_noticed_and_the_steady_scale_is_kept(reader: Reader, clock: ManualClock, step_ns: int) -> None:
    before_ns = clock.wall_ns()
    clock.advance(10)
    clock.step(step_ns)
    first = reader.stamp(stamped(clock.wall_ns()))
    assert first.step_ns == step_ns
    assert first.steady_ns == clock.monotonic_ns()
    clock.advance(1000)
    # Stamped before the step, read after it: still of the old scale.
    old = reader.stamp(stamped(before_ns))
    assert old.step_ns == step_ns
    assert old.steady_ns == clock.monotonic_ns()
    clock.advance(1000)
    after = reader.stamp(stamped(clock.wall_ns() - 7))
    assert after.step_ns == 0
    assert after.steady_ns == clock.monotonic_ns() - 7
    assert reader.stamp([]).step_ns == 0


def test_a_step_is_noticed_without_kernel_stamps_too(reader: Reader, clock: ManualClock) -> None:
    clock.step(-SECOND_NS)
    assert reader.stamp([]).step_ns == -SECOND_NS
    assert reader.stamp([]).step_ns == 0


def test_a_process_held_up_between_its_readings_sees_no_step(reader: Reader, clock: ManualClock) -> None:
    arrived_ns, steady_ns = clock.wall_ns(), clock.monotonic_ns()
    clock.stall_ns = SECOND_NS
    for _read in range(2):
        stamp = reader.stamp(stamped(arrived_ns))
        assert (stamp.ns, stamp.kind, stamp.step_ns) == (arrived_ns, StampKind.KERNEL, 0)
        assert stamp.steady_ns == steady_ns
        assert stamp.handled_ns == clock.wall_ns()


def test_a_reader_made_while_the_process_is_held_up_sees_no_step(clock: ManualClock) -> None:
    clock.stall_ns = SECOND_NS
    reader = Reader(clock, 0)
    assert reader.stamp(stamped(clock.wall_ns())).step_ns == 0
    clock.step(SECOND_NS)
    clock.stall_ns = 3 * SECOND_NS
    assert reader.stamp([]).step_ns == SECOND_NS


def test_a_stamp_ahead_of_the_clock_is_never_a_negative_host_delay(reader: Reader, clock: ManualClock) -> None:
    stamp = reader.stamp(stamped(clock.wall_ns() + 400_000))
    assert stamp.step_ns == 400_000
    assert stamp.steady_ns == clock.monotonic_ns()


def test_the_kernel_gives_what_is_parsed_here() -> None:
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender,
    ):
        enable(receiver)
        receiver.bind(("127.0.0.1", 0))
        receiver.settimeout(300)
        ancillary: Ancillary = []

        def stamps() -> bool:
            sender.sendto(b"x", receiver.getsockname())
            _data, given, flags, _source = receiver.recvmsg(1, ANCILLARY_BYTES)
            assert not flags & socket.MSG_CTRUNC
            ancillary[:] = given
            return bool(given)

        until(stamps, "the kernel has switched stamping on")
    ((level, kind, data),) = ancillary
    assert (level, kind, len(data)) == (socket.SOL_SOCKET, SO_TIMESTAMPING, 48)


def test_the_kernel_is_seen_to_stamp_before_anything_is_measured() -> None:
    async def warmed() -> tuple[bool, Stamp]:
        stamper = Stamper(SystemClock())
        try:
            warm = await stamper.warm()
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
                enable(sock)
                sock.bind(("127.0.0.1", 0))
                sock.sendto(b"!", sock.getsockname())
                return warm, stamper.reader().stamp(sock.recvmsg(1, ANCILLARY_BYTES)[1])
        finally:
            stamper.close()

    warm, stamp = asyncio.run(warmed())
    for _attempt in range(20):
        # A machine that stalls for the length of the warm-up lets it end unseen.
        if warm:
            break
        warm, stamp = asyncio.run(warmed())
    assert warm
    assert stamp.kind is StampKind.KERNEL
