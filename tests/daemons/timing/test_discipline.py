import asyncio
import os
import stat
import struct
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemons.records import ClockState
from daemons.timing.clock import StepDetector
from daemons.timing.discipline import (
    CHRONYC_TIMEOUT_SECONDS,
    ClockMonitor,
    Reading,
    parse_tracking,
    phc_error_bound_ns,
    read_chrony,
    read_kernel,
)
from daemons.timing.vmclock import VmClock
from tests.fakes import ManualClock

# Lines as ``chronyc -c tracking`` prints them (chronyc(1)): reference, its name, stratum, reference time, correction,
# last and RMS offset, frequency, residual frequency, skew, root delay, root dispersion, update interval, leap status.
NTP = (
    "A9FEA97B,169.254.169.123,4,1763722100.123456789,0.000001501,-0.000002244,0.000011211,-3.145,-0.001,0.024,"
    "0.000352000,0.000012500,16.1,Normal\n"
)
PHC = (
    "50484330,PHC0,1,1763722100.0,-0.000000020,0.000000001,0.000000004,-7.551,0.000,0.010,"
    "0.000010000,0.000001234,1.0,Normal"
)
LOCAL = "7F7F0101,,10,1763722100.0,0.000000000,0.0,0.0,0.0,0.0,0.0,0.000000000,0.000000000,0.0,Normal"
UNSYNCHRONISED = (
    "00000000,,0,0.000000000,0.000000000,0.000000000,0.000000000,0.000,0.000,0.000,1.000000000,1.000000000,0.0,"
    "Not synchronised"
)


def test_ntp() -> None:
    reading = parse_tracking(NTP)
    # chrony says the clock is 1,501 ns slow: it is behind, by our sign.
    assert reading.state == ClockState(
        synchronized=True, offset_ns=-1501, error_bound_ns=1501 + 12_500 + 176_000, source="chrony"
    )
    assert reading.drift_ppm == pytest.approx(0.025)


def test_a_hardware_clock_adds_its_own_bound() -> None:
    assert parse_tracking(PHC).state == ClockState(
        synchronized=True, offset_ns=20, error_bound_ns=20 + 1234 + 5000, source="ptp"
    )
    assert parse_tracking(PHC, 700).state.error_bound_ns == 20 + 1234 + 5000 + 700


def test_a_clock_that_is_called_normal_and_knows_nothing_yet_has_a_bound_that_says_so() -> None:
    """After its first measurement chrony has a rate to within 100 %, and may have a server an hour off."""
    offsets, rates = "0.0,-0.000006721,0.000006721", "0.0,5.205,1000000.0"
    line = f"ADF921CF,ntp,3,1608124873.1,{offsets},{rates},0.046598878,3849.691650391,1.1,Normal"
    reading = parse_tracking(line)
    assert reading.state.error_bound_ns == 3_849_691_650_391 + 46_598_878 // 2
    assert reading.drift_ppm == pytest.approx(1_000_005.205)


@pytest.mark.parametrize("line", [LOCAL, UNSYNCHRONISED])
def test_unsynchronised(line: str) -> None:
    state = parse_tracking(line).state
    assert (state.synchronized, state.error_bound_ns) == (False, None)


@pytest.mark.parametrize("line", ["", "506 Cannot talk to daemon", NTP.replace("0.024", "fast")])
def test_what_is_no_answer_is_a_value_error(line: str) -> None:
    with pytest.raises(ValueError, match=r"fields|float"):
        parse_tracking(line)


NUMBERS = st.lists(
    st.sampled_from(["inf", "-inf", "nan", "1e400", "1e-400"]) | st.floats().map(repr), min_size=14, max_size=14
).map(",".join)


@given(st.text(max_size=200) | NUMBERS)
def test_no_text_raises_anything_else(text: str) -> None:
    try:
        parse_tracking(text)
    except ValueError:
        return


def test_the_bound_of_a_hardware_clock_is_read_where_there_is_one(tmp_path: Path) -> None:
    assert phc_error_bound_ns(tmp_path) is None
    (tmp_path / "0000:00:03.0").mkdir()
    (tmp_path / "0000:00:05.0").mkdir()
    (tmp_path / "0000:00:03.0" / "phc_error_bound").write_text("unknown\n")
    (tmp_path / "0000:00:05.0" / "phc_error_bound").write_text("2390\n")
    assert phc_error_bound_ns(tmp_path) == 2390


def test_the_kernel_answers() -> None:
    reading = read_kernel()
    assert reading is not None
    assert reading.state.source == "kernel"
    assert reading.state.synchronized == (reading.state.error_bound_ns is not None)


@pytest.fixture
def chronyc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Put a script of that name before all others."""

    def install(script: str) -> None:
        program = tmp_path / "chronyc"
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
        monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")

    return install


def test_chrony_is_asked_and_believed(chronyc: Callable[[str], None]) -> None:
    chronyc(f'[ "$*" = "-c tracking" ] && echo "{NTP.strip()}"')
    assert asyncio.run(read_chrony()) == parse_tracking(NTP)


@pytest.mark.parametrize("script", ["echo 506 Cannot talk to daemon; exit 1", "true", "printf '\\377\\376'"])
def test_a_chrony_that_does_not_answer_is_none(chronyc: Callable[[str], None], script: str) -> None:
    chronyc(script)
    assert asyncio.run(read_chrony()) is None


def test_a_chrony_that_hangs_is_given_up(chronyc: Callable[[str], None], monkeypatch: pytest.MonkeyPatch) -> None:
    assert CHRONYC_TIMEOUT_SECONDS <= 2
    monkeypatch.setattr("daemons.timing.discipline.CHRONYC_TIMEOUT_SECONDS", 0.05)
    chronyc("exec sleep 60")
    assert asyncio.run(read_chrony()) is None


def answering(*readings: Reading | None) -> Callable[[], Awaitable[Reading | None]]:
    left = list(readings)

    async def read() -> Reading | None:
        return left.pop(0) if len(left) > 1 else left[0]

    return read


def test_the_bound_ages_by_the_drift(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("daemons.timing.discipline.read_chrony", answering(parse_tracking(NTP)))
    clock = ManualClock()
    monitor = ClockMonitor(clock)
    assert monitor.state == ClockState(synchronized=False, offset_ns=0, error_bound_ns=None, source="none")
    asyncio.run(monitor.refresh())
    assert monitor.state.error_bound_ns == 190_001
    clock.advance(1_000_000_000_000)
    # A thousand seconds at 0.025 parts per million.
    assert monitor.state.error_bound_ns == 190_001 + 25_000


def test_without_a_synchronised_chrony_the_kernel_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = Reading(ClockState(synchronized=True, offset_ns=5, error_bound_ns=500, source="kernel"), 0.0)
    monkeypatch.setattr("daemons.timing.discipline.read_kernel", lambda: kernel)
    monitor = ClockMonitor(ManualClock())
    for chrony in (None, parse_tracking(UNSYNCHRONISED)):
        monkeypatch.setattr("daemons.timing.discipline.read_chrony", answering(chrony))
        asyncio.run(monitor.refresh())
        assert monitor.state == kernel.state
    monkeypatch.setattr("daemons.timing.discipline.read_kernel", lambda: None)
    asyncio.run(monitor.refresh())
    assert (monitor.state.source, monitor.state.synchronized) == ("none", False)


def test_steps_are_counted_reported_and_followed_by_a_fresh_reading(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    clock = ManualClock()

    async def read() -> Reading:
        asked.append(clock.monotonic_ns())
        return parse_tracking(NTP)

    class EnoughError(Exception):
        pass

    class Script(ManualClock):
        """Steps at the third second, ends at the 25th."""

        async def sleep(self, seconds: float) -> None:
            await super().sleep(seconds)
            if len(self.slept) == 6:
                self.step(-5_000_000_000)
            if len(self.slept) == 50:
                raise EnoughError

    clock = Script()
    began_ns = clock.monotonic_ns()
    monkeypatch.setattr("daemons.timing.discipline.read_chrony", read)
    watched = Watched(clock)
    monitor = ClockMonitor(clock, watched, VmClock(Device().read))
    with pytest.raises(EnoughError):
        asyncio.run(monitor.run())
    assert [what for _at, what in watched.told] == [-5_000_000_000]
    assert (monitor.steps, monitor.state.steps) == (1, 1)
    assert [(at_ns - began_ns) // 10**9 for at_ns in asked] == [3, 13, 23]


def test_a_slewed_clock_is_not_stepped() -> None:
    clock = ManualClock()
    detector = StepDetector(clock.wall_ns(), clock.monotonic_ns())
    for _ in range(1000):
        # NTP's fastest slew moves both clocks alike; what differs is the time between the two readings.
        clock.advance(1_000_500_000)
        assert detector.observe(clock.wall_ns() + 900, clock.monotonic_ns()) == 0


def test_a_hardware_clock_that_chrony_does_not_follow_says_nothing() -> None:
    # A host with a PHC whose chrony has a server over the network; and one whose configuration names its PHC otherwise.
    assert parse_tracking(NTP, 700) == parse_tracking(NTP)
    named = parse_tracking(PHC.replace("PHC0", "ENA"), 700).state
    assert (named.source, named.error_bound_ns) == ("ptp", 20 + 1234 + 5000 + 700)


class Watched:
    """Writes down what befalls the clock, and at which second."""

    def __init__(self, clock: ManualClock) -> None:
        self._clock = clock
        self._began_ns = clock.monotonic_ns()
        self.told: list[tuple[float, object]] = []

    def _tell(self, what: object) -> None:
        self.told.append(((self._clock.monotonic_ns() - self._began_ns) / 1e9, what))

    def on_step(self, step_ns: int) -> None:
        self._tell(step_ns)

    def on_disruption(self, *, disrupted: bool) -> None:
        self._tell(disrupted)

    def on_device_trouble(self, trouble: str) -> None:
        self._tell(trouble)


class EndError(Exception):
    """The script has ended."""


class Play(ManualClock):
    """A clock on which something happens at given seconds, until an end."""

    def __init__(self, end: float, events: dict[float, Callable[[], None]]) -> None:
        super().__init__()
        self._left = sorted(events.items())
        self._began_ns = self.monotonic_ns()
        self._end = end

    def now(self) -> float:
        return (self.monotonic_ns() - self._began_ns) / 1e9

    async def sleep(self, seconds: float) -> None:
        await super().sleep(seconds)
        while self._left and self._left[0][0] <= self.now():
            self._left.pop(0)[1]()
        if self.now() >= self._end:
            raise EndError


class Device:
    """The page of a host that can disrupt the clock, or take the page away."""

    def __init__(self) -> None:
        self.marker = 1
        self.error: OSError | None = None

    def disrupt(self) -> None:
        self.marker += 1

    def forbid(self) -> None:
        self.error = PermissionError(13, "Permission denied")

    def read(self) -> bytes:
        if self.error is not None:
            raise self.error
        return struct.pack("<IIHBBIQQ2xB", 0x4B4C4356, 4096, 1, 1, 0, 2, self.marker, 0, 2)


def played(
    clock: Play,
    device: Device,
    monkeypatch: pytest.MonkeyPatch,
    chrony: Callable[[float], Reading | None],
    kernel: Callable[[float], Reading | None] = lambda _now: None,
) -> tuple[ClockMonitor, list[tuple[float, object]]]:
    async def read() -> Reading | None:
        return chrony(clock.now())

    monkeypatch.setattr("daemons.timing.discipline.read_chrony", read)
    monkeypatch.setattr("daemons.timing.discipline.read_kernel", lambda: kernel(clock.now()))
    watched = Watched(clock)
    monitor = ClockMonitor(clock, watched, VmClock(device.read))

    async def run() -> None:
        await monitor.refresh()
        await monitor.run()

    with pytest.raises(EndError):
        asyncio.run(run())
    return monitor, watched.told


def measuring(period: float) -> Callable[[float], Reading]:
    """Make the tracking of a chrony that takes a measurement every so many seconds."""
    return lambda now: parse_tracking(NTP.replace("1763722100.123456789", str(1763722100 + now // period * period)))


def test_a_disruption_is_noticed_within_a_second_and_ends_with_three_measurements(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    device = Device()
    monitor, told = played(Play(120.0, {40.2: device.disrupt}), device, monkeypatch, measuring(16))
    (noticed, begun), (ended, over) = told
    assert (begun, over) == (True, False)
    assert 40.2 <= noticed <= 41.2
    # It measures at 48, 64 and 80; what it had said before is not asked for.
    assert 80 <= ended <= 81.5
    assert (monitor.state.synchronized, monitor.state.disrupted, monitor.state.steps) == (True, False, 1)
    assert (monitor.report.has_device, monitor.report.disruptions) == (True, 1)


def test_a_second_disruption_begins_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    device = Device()
    clock = Play(120.0, {40.2: device.disrupt, 70.2: device.disrupt})
    monitor, told = played(clock, device, monkeypatch, measuring(16))
    assert [what for _at, what in told] == [True, True, False]
    assert 112 <= told[-1][0] <= 113.5
    assert monitor.report.disruptions == 2


def test_a_keeper_that_does_not_measure_again_is_not_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    device = Device()
    clock = Play(600.0, {40.2: device.disrupt})
    monitor, told = played(clock, device, monkeypatch, lambda _now: parse_tracking(NTP))
    assert [what for _at, what in told] == [True]
    assert monitor.state == ClockState(
        synchronized=False, offset_ns=0, error_bound_ns=None, source="chrony", steps=1, disrupted=True
    )


def test_a_clock_set_back_does_not_make_old_measurements_new(monkeypatch: pytest.MonkeyPatch) -> None:
    device = Device()

    def migrate() -> None:
        device.disrupt()
        clock.step(-3600 * 10**9)

    clock = Play(60.0, {40.2: migrate})
    _monitor, told = played(clock, device, monkeypatch, lambda _now: parse_tracking(NTP))
    assert [what for _at, what in told] == [True, -3600 * 10**9]


def test_the_kernels_word_is_new_when_its_bound_has_shrunk(monkeypatch: pytest.MonkeyPatch) -> None:
    device = Device()

    def kernel(now: float) -> Reading:
        # Grows by 500 ppm, and is set by its keeper every 30 seconds.
        unheard_ns = 1_000_000 + round(now % 30 * 500_000)
        state = ClockState(synchronized=True, offset_ns=0, error_bound_ns=unheard_ns, source="kernel")
        return Reading(state, 0.0, unheard_ns=unheard_ns)

    clock = Play(150.0, {40.2: device.disrupt})
    monitor, told = played(clock, device, monkeypatch, lambda _now: None, kernel)
    assert [what for _at, what in told] == [True, False]
    assert 120 <= told[1][0] <= 121.5
    assert monitor.report.bounds_ns.keys() == {"kernel"}


def test_a_clock_that_nobody_keeps_is_as_good_after_a_while_as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    device = Device()
    clock = Play(90.0, {40.2: device.disrupt})
    _monitor, told = played(clock, device, monkeypatch, lambda _now: None)
    assert [what for _at, what in told] == [True, False]
    assert 50 <= told[1][0] <= 52


def test_a_device_that_may_not_be_read_is_told_of_once(monkeypatch: pytest.MonkeyPatch) -> None:
    device = Device()
    clock = Play(60.0, {20.0: device.forbid})
    monitor, told = played(clock, device, monkeypatch, measuring(16))
    assert len(told) == 1
    assert "vmclock.conf" in str(told[0][1])
    assert not monitor.report.has_device


def test_bounds_stand_beside_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("daemons.timing.discipline.read_chrony", answering(parse_tracking(NTP)))
    kernel = ClockState(synchronized=True, offset_ns=5, error_bound_ns=500_000, source="kernel")
    monkeypatch.setattr("daemons.timing.discipline.read_kernel", lambda: Reading(kernel, 0.0, unheard_ns=499_995))
    monkeypatch.setattr("daemons.timing.discipline.phc_error_bound_ns", lambda: 2390)
    monitor = ClockMonitor(ManualClock())
    asyncio.run(monitor.refresh())
    assert monitor.report.bounds_ns == {"chrony": 190_001, "kernel": 500_000, "phc": 2390}
    assert monitor.state.source == "chrony"
