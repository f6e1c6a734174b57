"""What is looked at before measuring: this host's clock, a rehearsal with the real programs, disk, and sample plan.

The rehearsal starts the receiver as it will run and waits until every path has brought events. Nothing else shows as
well that names resolve, ports are free, firewalls open, keys agree, and streams alive; and it gives the rates that the
sample plan needs.
"""

import asyncio
import contextlib
import shutil
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from daemons.records import ClockState
from experiments.live.progress import Progress
from experiments.local.programs import ProgramError
from experiments.runs.checks import Check, PathRate, disk_check, sample_check
from experiments.runs.endpoints import Endpoints
from experiments.runs.receiver import ReceiverError, ReceiverProcess, pause
from experiments.runs.schedule import MODES, Mode, Plan

__all__ = ["Limits", "Preflight", "clock_check", "shown"]

_CONNECT_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Limits:
    """What the preflight demands.

    Attributes:
        max_clock_error_ms: this host's clock may be so far off.
        allow_unsynchronized: go on whatever the clock.
        rehearsal_seconds: how long rates are counted, from every path's first event on.
        wait_seconds: how long to wait for every path's first event.
    """

    max_clock_error_ms: float = 10.0
    allow_unsynchronized: bool = False
    rehearsal_seconds: float = 5.0
    wait_seconds: float = 60.0

    def arguments(self) -> list[str]:
        """Give the receiver's flags for the same demands."""
        flags = ["--max-clock-error-ms", f"{self.max_clock_error_ms:g}"]
        return [*flags, "--allow-unsynchronized-clock"] if self.allow_unsynchronized else flags


class Preflight:
    """Looks at everything in turn, and stops at the first thing that forbids to go on.

    Args:
        plan: what will be measured.
        endpoints: on what.
        limits: what is demanded.
        folder: where results go.
        told: set when the user wants to end.

    Attributes:
        checks: the findings.
        config: the receiver's effective configuration, from the last rehearsal.
    """

    def __init__(self, plan: Plan, endpoints: Endpoints, limits: Limits, folder: Path, told: asyncio.Event) -> None:
        self._plan = plan
        self._endpoints = endpoints
        self._limits = limits
        self._folder = folder
        self._told = told
        self._rates: list[PathRate] = []
        self.checks: list[Check] = []
        self.config: dict[str, Any] | None = None

    @property
    def failed(self) -> Check | None:
        """What forbids to go on, if anything does."""
        return next((check for check in self.checks if not check.passed), None)

    async def look(self, clock: ClockState, *, demand_clock: bool) -> None:
        """Fill in ``checks``; one that did not pass is the last.

        Args:
            clock: of this host.
            demand_clock: False where all clocks are one, in a simulation.
        """
        self.checks.append(clock_check(clock, self._limits, demanded=demand_clock))
        if self.failed:
            return
        for mode in MODES[self._plan.kind]:
            await self._rehearse(mode)
            if self.failed or self._told.is_set():
                return
        seconds = self._plan.duration_seconds * self._plan.repeat * self._plan.rounds
        self.checks.append(disk_check(str(self._folder), shutil.disk_usage(self._folder).free, self._rates, seconds))
        self.checks.append(sample_check(self._rates, seconds))

    async def _rehearse(self, mode: Mode) -> None:
        with tempfile.TemporaryDirectory(prefix="backbone-latency-rehearsal-") as folder:
            limits = self._limits
            receiver = ReceiverProcess(self._endpoints.around(mode), limits.arguments(), Path(folder))
            try:
                await receiver.start()
                self.config = receiver.config
                self._add_ports(receiver)
                if not self.failed:
                    await self._watch(receiver)
                await receiver.stop()
            except (ReceiverError, ProgramError) as error:
                name = {2: "configuration", 3: "clock", 4: "ports", 5: "results"}.get(error.exit_code, "programs")
                self.checks.append(Check(name=name, passed=False, detail=str(error), exit_code=error.exit_code))
                await receiver.abort()
            except BaseException:
                await receiver.abort()
                raise

    def _add_ports(self, receiver: ReceiverProcess) -> None:
        assert receiver.config is not None  # it serves, so it has said what it serves
        if (own := receiver.config["run"]["duration_seconds"]) is not None:
            detail = f"the receiver's file ends every run after {own:g} s"
            remedy = "take run.duration_seconds out of it, and give --duration here"
            self.checks.append(Check(name="configuration", passed=False, detail=detail, remedy=remedy, exit_code=2))
        for path, address in receiver.listening.items():
            self.checks.append(Check(name="ports", passed=True, detail=f"{path}: {address} can be listened on"))

    async def _watch(self, receiver: ReceiverProcess) -> None:
        """Wait for every path's first event, then count for a while."""
        served = time.monotonic()
        missing = await receiver.first_events(self._told, self._limits.wait_seconds)
        if self._told.is_set():
            return
        if missing and not receiver.ended:
            self.checks += [await self._silent(receiver, name) for name in missing]
            return
        before, begun = await receiver.progress(), time.monotonic()
        if before is not None and await pause(self._told, self._limits.rehearsal_seconds):
            return
        after, end = await receiver.progress(), time.monotonic()
        if before is None or after is None:
            if not receiver.ended:
                raise ProgramError("latency-receiver's metrics could not be read: is this machine too busy?")
            raise ProgramError(f"latency-receiver ended during the rehearsal: {receiver.last_words()}")
        self._add_rates(before, after, end - begun, end - served)

    def _add_rates(self, before: Progress, after: Progress, seconds: float, whole_seconds: float) -> None:
        for first, last in zip(before.paths, after.paths, strict=True):
            # A slow stream may have brought its only event before the count began; what a forwarder had kept for us
            # says nothing of the rate.
            events, before_count = last.events - last.delayed, first.events - first.delayed
            rate = PathRate(
                path=last.name,
                events_per_second=max((events - before_count) / seconds, events / whole_seconds),
                timed_per_second=max((last.samples - first.samples) / seconds, last.samples / whole_seconds),
            )
            self._rates.append(rate)
            detail = (
                f"{last.name}: {rate.events_per_second:,.1f} events/s, {rate.timed_per_second:,.1f} with event time"
            )
            self.checks.append(Check(name="reachability", passed=True, detail=detail))

    async def _silent(self, receiver: ReceiverProcess, name: str) -> Check:
        """Find out why a path brought nothing."""
        (path,) = (path for path in receiver.paths if path["name"] == name)
        waited = f"{name}: no event within {self._limits.wait_seconds:g} s"
        if path["kind"] == "link":
            return Check(
                name="reachability",
                passed=False,
                detail=f"{waited} on {receiver.listening[name]}; the receiver's last words: {receiver.last_words()}",
                remedy="start latency-forwarder with this host as --destination, and open the port between the two",
            )
        found = await _connected(path["url"])
        return Check(
            name="reachability",
            passed=False,
            detail=f"{waited} from {path['url']}: {found}; the receiver's last words: {receiver.last_words()}",
            remedy="check address, streams and the way out",
        )


def clock_check(state: ClockState, limits: Limits, *, demanded: bool) -> Check:
    """Judge this host's clock as the receiver will; a simulation has but one clock, and demands nothing of it."""
    if not state.synchronized or state.error_bound_ns is None:
        detail = f"this host's clock is not synchronized (source: {state.source})"
        fit = False
    else:
        bound_ms = state.error_bound_ns / 1e6
        detail = f"this host's clock is off by at most {bound_ms:.3f} ms (source: {state.source})"
        fit = bound_ms <= limits.max_clock_error_ms
        if not fit:
            detail += f", more than {limits.max_clock_error_ms:g} ms"
    if not demanded:
        detail += "; of no matter, for the simulation has one clock"
    elif limits.allow_unsynchronized and not fit:
        detail += "; allowed by --allow-unsynchronized-clock"
    passed = fit or limits.allow_unsynchronized or not demanded
    remedy = "" if passed else "start chrony, or allow it with --allow-unsynchronized-clock; leads do not need it"
    return Check(name="clock", passed=passed, detail=detail, remedy=remedy, exit_code=3)


async def _connected(url: str) -> str:
    """Try a plain TCP connection to an URL's host; say how that went."""
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "wss" else 80)
    try:
        async with asyncio.timeout(_CONNECT_SECONDS):
            _reader, writer = await asyncio.open_connection(parts.hostname, port)
    except TimeoutError:
        return f"{parts.hostname}:{port} does not answer a TCP connection within {_CONNECT_SECONDS:g} s"
    except OSError as error:
        return f"{parts.hostname}:{port} cannot be connected to: {error.strerror or error}"
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
    return f"{parts.hostname}:{port} takes TCP connections, so the fault lies above"


def shown(checks: Sequence[Check]) -> list[str]:
    """Write findings as lines."""
    return [
        f"{'ok  ' if check.passed else 'FAIL'} {check.name}: {check.detail}"
        + (f"; {check.remedy}" if check.remedy else "")
        for check in checks
    ]
