import asyncio
import os
import stat
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
            if len(self.slept) == 3:
                self.step(-5_000_000_000)
            if len(self.slept) == 25:
                raise EnoughError

    clock = Script()
    began_ns = clock.monotonic_ns()
    monkeypatch.setattr("daemons.timing.discipline.read_chrony", read)
    steps: list[int] = []
    monitor = ClockMonitor(clock, steps.append)
    with pytest.raises(EnoughError):
        asyncio.run(monitor.run())
    assert steps == [-5_000_000_000]
    assert (monitor.steps, monitor.state.steps) == (1, 1)
    assert [(at_ns - began_ns) // 10**9 for at_ns in asked] == [3, 13, 23]


def test_a_slewed_clock_is_not_stepped() -> None:
    clock = ManualClock()
    detector = StepDetector(clock.wall_ns(), clock.monotonic_ns())
    for _ in range(1000):
        # NTP's fastest slew moves both clocks alike; what differs is the time between the two readings.
        clock.advance(1_000_500_000)
        assert detector.observe(clock.wall_ns() + 900, clock.monotonic_ns()) == 0
