"""Which way packets go: mtr(8), run now and then, its JSON report read."""

import asyncio
import contextlib
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated

import msgspec
import structlog

from daemons.configuration.probe import RouteSection
from daemons.probe.faults import Faults

__all__ = ["Hop", "RouteError", "RouteFailure", "RouteTracer", "arguments", "changed", "hops"]


GRACE_SECONDS = 30.0
"""What mtr may take beyond a second for each cycle: it waits for late answers."""

_UNANSWERED = "???"
_Percentage = Annotated[float, msgspec.Meta(ge=0, le=100)]
_Milliseconds = Annotated[float, msgspec.Meta(ge=0, le=3.6e6)]
"""An hour: no packet lives that long, and no figure of mtr's is infinite."""


class RouteFailure(StrEnum):
    """Why a trace failed: mtr is not installed, it ended with an error, it did not end, its report is not understood.

    Or the fault is the probe's own, and the log has the traceback.
    """

    MISSING = "missing"
    REFUSED = "refused"
    TIMEOUT = "timeout"
    OUTPUT = "output"
    INTERNAL = "internal"


class RouteError(Exception):
    """A trace failed."""

    def __init__(self, reason: RouteFailure, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Hop:
    """One hop of a route.

    Attributes:
        number: its distance, from 1.
        address: of the router; None when none answered.
        loss_ratio: 0 to 1, of the probes sent to this hop.
        average_ns: mean round trip; None when none answered.
        worst_ns: likewise the longest.
    """

    number: int
    address: str | None
    loss_ratio: float
    average_ns: int | None
    worst_ns: int | None


class _Hub(msgspec.Struct, rename={"loss_percent": "Loss%", "average_ms": "Avg", "worst_ms": "Wrst"}):
    count: int
    host: str
    loss_percent: _Percentage
    average_ms: _Milliseconds
    worst_ms: _Milliseconds


class _Result(msgspec.Struct):
    hubs: list[_Hub]


class _Report(msgspec.Struct):
    report: _Result


def hops(report: bytes, most: int) -> tuple[Hop, ...]:
    """Read the output of ``mtr --json``.

    Args:
        report: the output.
        most: hops beyond so many are left out.

    Raises:
        RouteError: it is not such a report.
    """
    try:
        # Versions differ in whether numbers are written as text.
        found = msgspec.json.decode(report, type=_Report, strict=False).report.hubs
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise RouteError(
            RouteFailure.OUTPUT, f"mtr's report is not understood: {error}; use mtr 0.9 or newer"
        ) from error
    return tuple(_hop(hub) for hub in found if 1 <= hub.count <= most)


def changed(before: tuple[Hop, ...], after: tuple[Hop, ...]) -> bool:
    """Whether two traces show different routes; a hop that stayed silent in either tells nothing."""
    return len(before) != len(after) or any(
        old.address != new.address
        for old, new in zip(before, after, strict=True)
        if old.address is not None and new.address is not None
    )


def arguments(section: RouteSection) -> list[str]:
    """Return the command line for a trace."""
    line = [section.command, "--json", "--no-dns"]
    line += ["--report-cycles", str(section.cycles), "--max-ttl", str(section.max_hops)]
    if section.protocol != "icmp":
        line += [f"--{section.protocol}", "--port", str(section.port)]
    if section.source_address:
        line += ["--address", section.source_address]
    if section.interface:
        line += ["--interface", section.interface]
    return [*line, section.target]


class RouteTracer:
    """Traces the route in every slot of its schedule.

    Args:
        section: where to, and how.

    Attributes:
        target: where to.
        hops: of the latest trace; empty before the first.
        slots: that have come; equals traces + failures + missed, but for the one that is running.
        traces: how many succeeded.
        changes: how often the route differed from the one before.
        failures: how many traces failed, by reason.
        missed: slots that came while a trace was still running.
        failure: the reason why the latest trace failed; None when it did not.
        complaint: the sentence for it.
    """

    def __init__(self, section: RouteSection) -> None:
        self._section = section
        self._log = structlog.get_logger("route")
        self._faults = Faults("route")
        self._task: asyncio.Task[None] | None = None
        self.target = section.target
        self.hops: tuple[Hop, ...] = ()
        self.slots = 0
        self.traces = 0
        self.changes = 0
        self.failures = dict.fromkeys(RouteFailure, 0)
        self.missed = 0
        self.failure: RouteFailure | None = None
        self.complaint = ""

    def slot(self, _intended_ns: int, missed: int) -> None:
        """Trace, unless the trace before is still running."""
        self.slots += missed + 1
        self.missed += missed
        if self._task is not None and not self._task.done():
            self.missed += 1
            return
        self._task = asyncio.get_running_loop().create_task(self._trace())

    async def idle(self) -> None:
        """Wait until no trace is running."""
        if self._task is not None:
            await asyncio.wait({self._task})

    async def close(self) -> None:
        """End a trace that is running."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _trace(self) -> None:
        """Trace; whatever comes of it ends here, as one trace or one failure."""
        section = self._section
        try:
            found = hops(await _output(arguments(section), section.cycles + GRACE_SECONDS), section.max_hops)
        except RouteError as error:
            # Once for each reason on end, not every few minutes for months.
            if self.failure != error.reason:
                self._log.warning("route not traced", target=section.target, why=str(error))
            self._fail(error.reason, str(error))
        except Exception as error:  # noqa: BLE001 a trace that is lost is one that nobody misses
            self._fail(RouteFailure.INTERNAL, self._faults.note(error, section.target))
        else:
            self._learn(found)

    def _fail(self, reason: RouteFailure, complaint: str) -> None:
        self.failures[reason] += 1
        self.failure, self.complaint = reason, complaint

    def _learn(self, found: tuple[Hop, ...]) -> None:
        self.failure, self.complaint = None, ""
        if self.traces and changed(self.hops, found):
            self.changes += 1
            self._log.info("route changed", target=self.target, hops=[hop.address for hop in found])
        self.hops = found
        self.traces += 1


async def _output(line: list[str], timeout_seconds: float) -> bytes:
    try:
        process = await asyncio.create_subprocess_exec(
            *line,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
    except OSError as error:
        raise RouteError(
            RouteFailure.MISSING,
            f"{line[0]}: cannot be run: {error.strerror}; apt-get install mtr-tiny, or set route.command",
        ) from error
    try:
        async with asyncio.timeout(timeout_seconds):
            output, complaint = await process.communicate()
    except TimeoutError as error:
        raise RouteError(
            RouteFailure.TIMEOUT, f"mtr did not end within {timeout_seconds:g} s; lower route.cycles"
        ) from error
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
    if process.returncode or not output:
        why = complaint.decode("utf-8", "replace").strip()[:200]
        raise RouteError(
            RouteFailure.REFUSED,
            f"mtr ended with code {process.returncode}: {why}; it needs CAP_NET_RAW and a target that resolves",
        )
    return output


def _hop(hub: _Hub) -> Hop:
    answered = hub.host != _UNANSWERED and hub.loss_percent < 100
    return Hop(
        number=hub.count,
        address=None if hub.host == _UNANSWERED else hub.host,
        loss_ratio=hub.loss_percent / 100,
        average_ns=round(hub.average_ms * 1e6) if answered else None,
        worst_ns=round(hub.worst_ms * 1e6) if answered else None,
    )
