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

import msgspec

from daemons.records import UNKNOWN_CLOCK, ClockState
from daemons.timing.clock import Clock, StepDetector, read_together

__all__ = ["ClockMonitor", "Reading", "parse_tracking", "phc_error_bound_ns", "read_chrony", "read_kernel"]

POLL_SECONDS = 10.0
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
    """A clock state, and how fast its bound grows."""

    state: ClockState
    drift_ppm: float


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
    bound_ns = abs(offset_ns) + timex.maxerror * 1000
    return Reading(ClockState(synchronized=True, offset_ns=offset_ns, error_bound_ns=bound_ns, source="kernel"), 0.0)


def parse_tracking(text: str, phc_bound_ns: int | None = None) -> Reading:
    """Read the answer of ``chronyc -c tracking`` (chronyc(1), tracking).

    Args:
        text: one line of comma-separated values.
        phc_bound_ns: error bound that the PTP hardware clock publishes, where chrony follows one.

    Raises:
        ValueError: not such an answer.
    """
    fields = text.strip().split(",")
    if len(fields) < 14:
        raise ValueError(f"{len(fields)} fields instead of 14")
    correction, residual_ppm, skew_ppm, root_delay, root_dispersion = (
        float(fields[column]) for column in (4, 8, 9, 10, 11)
    )
    for value in (correction, residual_ppm, skew_ppm, root_delay, root_dispersion):
        # Written so that it refuses what is not a number, too.
        if not abs(value) < _ABSURD:
            raise ValueError(f"{value} is not a possible figure")
    # chrony's correction is positive when the system clock is slow.
    offset_ns = -round(correction * 1e9)
    synchronized = fields[0].upper() != _NOT_SYNCHRONISED_REFID and fields[13] != "Not synchronised"
    hardware = fields[1].startswith("PHC") or phc_bound_ns is not None
    bound_ns = abs(offset_ns) + round((root_dispersion + root_delay / 2) * 1e9) + (phc_bound_ns or 0)
    state = ClockState(
        synchronized=synchronized,
        offset_ns=offset_ns,
        error_bound_ns=bound_ns if synchronized else None,
        source="ptp" if hardware else "chrony",
    )
    return Reading(state, abs(skew_ppm) + abs(residual_ppm))


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


class ClockMonitor:
    """Keeps the clock state of this host.

    Args:
        clock: the clock.
        on_step: called with the size in nanoseconds when the wall clock was stepped.
    """

    def __init__(self, clock: Clock, on_step: Callable[[int], None] | None = None) -> None:
        self._clock = clock
        self._steps = StepDetector(*read_together(clock))
        self._on_step = on_step
        self._reading = Reading(UNKNOWN_CLOCK, 0.0)
        self._read_ns = clock.monotonic_ns()

    async def refresh(self) -> None:
        """Read the state now: chrony's word where it runs, for the kernel's bound is coarser."""
        chrony = await read_chrony()
        reading = chrony if chrony is not None and chrony.state.synchronized else read_kernel()
        self._reading = reading or Reading(UNKNOWN_CLOCK, FREE_DRIFT_PPM)
        self._read_ns = self._clock.monotonic_ns()

    async def run(self) -> None:
        """Refresh for ever, and look for steps more often than that."""
        last_ns = self._read_ns
        while True:
            await self._clock.sleep(1.0)
            wall_ns, now_ns = read_together(self._clock)
            step_ns = self._steps.observe(wall_ns, now_ns)
            if step_ns and self._on_step is not None:
                self._on_step(step_ns)
            if step_ns or now_ns - last_ns >= POLL_SECONDS * 1e9:
                last_ns = now_ns
                await self.refresh()

    @property
    def steps(self) -> int:
        """How often the wall clock was stepped."""
        return self._steps.steps

    @property
    def state(self) -> ClockState:
        """The state, its bound aged to this moment."""
        state = self._reading.state
        if state.error_bound_ns is None:
            return msgspec.structs.replace(state, steps=self.steps)
        aged_ns = round((self._clock.monotonic_ns() - self._read_ns) * self._reading.drift_ppm * 1e-6)
        return msgspec.structs.replace(state, error_bound_ns=state.error_bound_ns + aged_ns, steps=self.steps)
