"""How far this host's wall clock can be trusted: what the kernel and chrony say, as one bound.

The bound is |offset| + root dispersion + root delay / 2 (RFC 5905, section 4: root distance), and it grows with the age
of the reading by the drift that chrony admits to.
"""

import asyncio
import contextlib
import ctypes
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import msgspec

from daemons.records import UNKNOWN_CLOCK, ClockReport, ClockState
from daemons.timing.clock import Clock, StepDetector, read_together
from daemons.timing.vmclock import VmClock

__all__ = [
    "ClockMonitor",
    "ClockWatcher",
    "Reading",
    "parse_tracking",
    "phc_error_bound_ns",
    "read_chrony",
    "read_kernel",
]

POLL_SECONDS = 10.0
LOOK_SECONDS = 0.5
DISTRUST_POLL_SECONDS = 1.0
UPDATES = 3
"""Measurements of its keeper after which a disrupted clock is believed: with fewer it knows a time and no rate."""
CHRONYC_TIMEOUT_SECONDS = 2.0
FREE_DRIFT_PPM = 15.0
"""Drift assumed of a clock whose keeper does not tell: twice that of an ordinary crystal."""

_STA_UNSYNC = 0x0040
_STA_NANO = 0x2000
_ABSURD = 1e9
"""Neither seconds nor parts per million of a clock come to so much."""
_NOT_SYNCHRONISED_REFID = "7F7F0101"


class _Timex(ctypes.Structure):
    """``struct timex`` of adjtimex(2)."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        *[(name, ctypes.c_long) for name in ("offset", "freq", "maxerror", "esterror")],
        ("status", ctypes.c_int),
        *[
            (name, ctypes.c_long)
            for name in ("constant", "precision", "tolerance", "tv_sec", "tv_usec", "tick", "ppsfreq", "jitter")
        ],
        ("rest", ctypes.c_char * 256),
    )


@dataclass(frozen=True, slots=True)
class Reading:
    """A clock state, how fast its bound grows, and what tells that its keeper has heard of the time since.

    Attributes:
        state: the state.
        drift_ppm: by how much the bound grows.
        updated: of chrony's, when it took its last measurement; else None.
        unheard_ns: of the kernel's, the bound that grows from one word of its keeper to the next; else None.
    """

    state: ClockState
    drift_ppm: float
    updated: float | None = None
    unheard_ns: int | None = None

    def is_newer(self, before: "Reading") -> bool:
        """Say whether the keeper has measured between two readings."""
        if self.updated is not None and before.updated is not None:
            # Not merely later: the clock that it is told in may have been set back.
            return self.updated != before.updated
        if self.unheard_ns is not None and before.unheard_ns is not None:
            return self.unheard_ns < before.unheard_ns
        return False


def read_kernel() -> Reading | None:
    """Ask the kernel's clock discipline (adjtimex(2), read-only); None where that is not permitted."""
    timex = _Timex()
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.adjtimex(ctypes.byref(timex)) < 0:
        return None
    if timex.status & _STA_UNSYNC:
        return Reading(ClockState(synchronized=False, offset_ns=0, error_bound_ns=None, source="kernel"), 0.0)
    offset_ns = timex.offset if timex.status & _STA_NANO else timex.offset * 1000
    # maxerror is the root distance as the keeper set it, which the kernel itself ages by 500 ppm.
    unheard_ns = timex.maxerror * 1000
    state = ClockState(
        synchronized=True, offset_ns=offset_ns, error_bound_ns=abs(offset_ns) + unheard_ns, source="kernel"
    )
    return Reading(state, 0.0, unheard_ns=unheard_ns)


def parse_tracking(text: str, phc_bound_ns: int | None = None) -> Reading:
    """Read the answer of ``chronyc -c tracking`` (chronyc(1), tracking).

    Args:
        text: one line of comma-separated values.
        phc_bound_ns: error bound that a PTP hardware clock of this host publishes, which chrony may follow or not.

    Raises:
        ValueError: not such an answer.
    """
    fields = text.strip().split(",")
    if len(fields) < 14:
        raise ValueError(f"{len(fields)} fields instead of 14")
    correction, residual_ppm, skew_ppm, root_delay, root_dispersion = (
        float(fields[column]) for column in (4, 8, 9, 10, 11)
    )
    updated = float(fields[3])
    for value in (correction, residual_ppm, skew_ppm, root_delay, root_dispersion):
        # Written so that it refuses what is not a number, too.
        if not abs(value) < _ABSURD:
            raise ValueError(f"{value} is not a possible figure")
    # chrony's correction is positive when the system clock is slow.
    offset_ns = -round(correction * 1e9)
    synchronized = fields[0].upper() != _NOT_SYNCHRONISED_REFID and fields[13] != "Not synchronised"
    # A clock of this host is a stratum above none; what it is called is the configuration's choice (refid).
    hardware = fields[1].startswith("PHC") or (phc_bound_ns is not None and fields[2] == "1")
    bound_ns = abs(offset_ns) + round((root_dispersion + root_delay / 2) * 1e9)
    if hardware:
        bound_ns += phc_bound_ns or 0
    state = ClockState(
        synchronized=synchronized,
        offset_ns=offset_ns,
        error_bound_ns=bound_ns if synchronized else None,
        source="ptp" if hardware else "chrony",
    )
    return Reading(state, abs(skew_ppm) + abs(residual_ppm), updated=updated)


def phc_error_bound_ns(devices: Path = Path("/sys/bus/pci/devices")) -> int | None:
    """Read the bound that a PTP hardware clock publishes for itself (EC2's ENA driver); None without one."""
    for file in sorted(devices.glob("*/phc_error_bound")):
        with contextlib.suppress(OSError, ValueError):
            return int(file.read_text())
    return None


async def read_chrony() -> Reading | None:
    """Ask chrony, if it is installed and answers."""
    program = shutil.which("chronyc")
    if program is None:
        return None
    try:
        process = await asyncio.create_subprocess_exec(
            program,
            "-c",
            "tracking",
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            env={"PATH": os.environ.get("PATH", ""), "LC_ALL": "C"},
        )
    except OSError:
        # No descriptor, process or memory left for it now: the kernel's word has to do.
        return None
    try:
        output, _nothing = await asyncio.wait_for(process.communicate(), CHRONYC_TIMEOUT_SECONDS)
    except BaseException as error:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
        if isinstance(error, TimeoutError):
            return None
        raise
    try:
        return parse_tracking(output.decode("ascii", "replace"), phc_error_bound_ns())
    except ValueError:
        return None


class ClockWatcher(Protocol):
    """Who is told of what befalls this host's clock."""

    def on_step(self, step_ns: int) -> None:
        """Take in that the wall clock was stepped, by so much."""

    def on_disruption(self, *, disrupted: bool) -> None:
        """Take in that the host has disrupted the clock, or that it is to be believed again."""

    def on_device_trouble(self, trouble: str) -> None:
        """Take in why the device that tells of disruptions cannot be used; empty when it can, or is gone."""


class ClockMonitor:
    """Keeps the clock state of this host.

    Args:
        clock: the clock.
        watcher: is told of steps and disruptions.
        vmclock: the host's word on disruptions.

    """

    def __init__(self, clock: Clock, watcher: ClockWatcher | None = None, vmclock: VmClock | None = None) -> None:
        self._clock = clock
        self._steps = StepDetector(*read_together(clock))
        self._watcher = watcher
        self._vmclock = vmclock or VmClock()
        self._trouble = ""
        self._distrust: _Distrust | None = None
        self._reading = Reading(UNKNOWN_CLOCK, 0.0)
        self._read_ns = clock.monotonic_ns()
        self._bounds_ns: dict[str, int] = {}

    async def refresh(self) -> None:
        """Read the state now: chrony's word where it runs, for the kernel's bound is coarser."""
        chrony, kernel, phc_ns = await read_chrony(), read_kernel(), phc_error_bound_ns()
        reading = chrony if chrony is not None and chrony.state.synchronized else kernel
        self._reading = reading or Reading(UNKNOWN_CLOCK, FREE_DRIFT_PPM)
        self._read_ns = self._clock.monotonic_ns()
        bounds = {
            "chrony": None if chrony is None else chrony.state.error_bound_ns,
            "kernel": None if kernel is None else kernel.state.error_bound_ns,
            "phc": phc_ns,
        }
        self._bounds_ns = {source: bound for source, bound in bounds.items() if bound is not None}
        if self._distrust is not None and self._distrust.is_over(self._reading, self._read_ns):
            self._distrust = None
            self._tell(lambda watcher: watcher.on_disruption(disrupted=False))

    async def run(self) -> None:
        """Refresh for ever, and look for steps and disruptions more often than that."""
        last_ns = self._read_ns
        while True:
            await self._clock.sleep(LOOK_SECONDS)
            if disrupted := self._vmclock.look():
                self._distrust = _Distrust(self._reading, self._clock.monotonic_ns())
                self._tell(lambda watcher: watcher.on_disruption(disrupted=True))
            if self._vmclock.trouble != self._trouble:
                self._trouble = self._vmclock.trouble
                self._tell(lambda watcher: watcher.on_device_trouble(self._trouble))
            wall_ns, now_ns = read_together(self._clock)
            if step_ns := self._steps.observe(wall_ns, now_ns):
                self._tell(lambda watcher: watcher.on_step(step_ns))
            period = POLL_SECONDS if self._distrust is None else DISTRUST_POLL_SECONDS
            if step_ns or disrupted or now_ns - last_ns >= period * 1e9:
                last_ns = now_ns
                await self.refresh()

    def _tell(self, what: Callable[[ClockWatcher], None]) -> None:
        if self._watcher is not None:
            what(self._watcher)

    @property
    def steps(self) -> int:
        """How often what the clock said before held no more: it was stepped, or disrupted."""
        return self._steps.steps + self._vmclock.disruptions

    @property
    def report(self) -> ClockReport:
        """All that is known."""
        return ClockReport(self.state, self._bounds_ns, self._vmclock.present, self._vmclock.disruptions)

    @property
    def state(self) -> ClockState:
        """The state, its bound aged to this moment."""
        state = self._reading.state
        if self._distrust is not None:
            return ClockState(
                synchronized=False,
                offset_ns=0,
                error_bound_ns=None,
                source=state.source,
                steps=self.steps,
                disrupted=True,
            )
        if state.error_bound_ns is None:
            return msgspec.structs.replace(state, steps=self.steps)
        aged_ns = round((self._clock.monotonic_ns() - self._read_ns) * self._reading.drift_ppm * 1e-6)
        return msgspec.structs.replace(state, error_bound_ns=state.error_bound_ns + aged_ns, steps=self.steps)


class _Distrust:
    """How long a clock is not to be believed after a disruption.

    Args:
        reading: the last from before it.
        now_ns: by the monotonic clock.
    """

    def __init__(self, reading: Reading, now_ns: int) -> None:
        self._last = reading
        self._was_kept = reading.state.synchronized
        self._since_ns = now_ns
        self._updates = 0

    def is_over(self, reading: Reading, now_ns: int) -> bool:
        """Take in a reading; return whether the clock's keeper knows its rate again."""
        self._updates += reading.is_newer(self._last)
        self._last = reading
        if reading.state.synchronized:
            return self._updates >= UPDATES
        # Nobody kept it before, either: there is nothing to wait for, and nobody relied on it.
        return not self._was_kept and now_ns - self._since_ns >= POLL_SECONDS * 1e9
