"""A whole run: preflight, then block after block, each in a folder of its own, and a manifest that says how it went."""

import asyncio
import contextlib
import csv
import json
import shutil
import signal
import time
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console

from daemons.errors import ClockError, LatencyError, ResultsError
from daemons.service.console.display import Display
from daemons.service.console.screen import sentence
from daemons.service.lifecycle import INTERRUPTED
from daemons.timing.clock import SystemClock
from daemons.timing.discipline import ClockMonitor
from experiments.folder import write_whole
from experiments.live.progress import line, table
from experiments.local.programs import ProgramError
from experiments.runs.endpoints import Endpoints
from experiments.runs.manifest import BlockRecord, Manifest, clock_record, now, write_manifest
from experiments.runs.preflight import Limits, Preflight, clock_check, shown
from experiments.runs.receiver import ReceiverError, ReceiverProcess, pause
from experiments.runs.schedule import Block, Plan

__all__ = ["Session", "plan_record"]

_REFRESH_SECONDS = 0.5
_LINE_SECONDS = 10.0


@dataclass(eq=False)
class Session:
    """One run.

    Args:
        plan: what to measure, and when.
        endpoints: on what.
        limits: what the preflight demands.
        folder: where everything goes; exists and is empty.
        manifest: the record, begun.
        console: for progress.
        demand_clock: False where all clocks are one.
    """

    plan: Plan
    endpoints: Endpoints
    limits: Limits
    folder: Path
    manifest: Manifest
    console: Console
    demand_clock: bool = field(kw_only=True)
    _told: asyncio.Event = field(init=False, default_factory=asyncio.Event)
    _clock: ClockMonitor = field(init=False, default_factory=lambda: ClockMonitor(SystemClock()))

    async def run(self) -> int:
        """Measure everything; returns the exit code, which the manifest has too."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._on_signal, number)
        manifest = self.manifest
        write_manifest(self.folder, manifest)
        try:
            code = await self._measure()
        except LatencyError as error:
            manifest.ended_by = str(error)
            code = error.exit_code
            self._say(f"error: {error}")
        except BaseException as error:
            manifest.ended_by = f"{type(error).__name__}: {error}"
            code = 1
            raise
        finally:
            manifest.end = now()
            manifest.exit_code = code
            write_manifest(self.folder, manifest)
        return code

    def _on_signal(self, number: signal.Signals) -> None:
        self.manifest.ended_by = signal.Signals(number).name
        self._told.set()

    async def _measure(self) -> int:
        manifest = self.manifest
        await self._clock.refresh()
        preflight = Preflight(self.plan, self.endpoints, self.limits, self.folder, self._told)
        await preflight.look(self._clock.state, demand_clock=self.demand_clock)
        manifest.preflight, manifest.config = preflight.checks, preflight.config
        write_manifest(self.folder, manifest)
        for text in shown(preflight.checks):
            self._say(text)
        if (failed := preflight.failed) is not None:
            manifest.ended_by = f"preflight: {failed.name}"
            return failed.exit_code
        await self._blocks(self.plan.blocks())
        if self._told.is_set():
            return INTERRUPTED
        manifest.complete = all(block.state == "done" for block in manifest.blocks)
        if manifest.complete:
            manifest.ended_by = "done"
            return 0
        failures = [block for block in manifest.blocks if block.state != "done"]
        manifest.ended_by = f"{len(failures)} of {len(manifest.blocks)} blocks not measured in full"
        return next((block.exit_code for block in failures if block.exit_code in {2, 3, 4, 5}), None) or 1

    async def _blocks(self, blocks: list[Block]) -> None:
        begun, begun_at = time.monotonic(), datetime.now(UTC)
        for block in blocks:
            due = begun_at + timedelta(seconds=block.due_seconds)
            wait = begun + block.due_seconds - time.monotonic()
            if wait > 1:
                self._say(f"block {block.number} of {len(blocks)} is due at {due:%Y-%m-%d %H:%M:%S} UTC")
            if await pause(self._told, wait):
                return
            record = BlockRecord(
                number=block.number,
                name=block.name,
                mode=block.mode,
                due=due.isoformat(timespec="seconds").replace("+00:00", "Z"),
                state="running",
            )
            self.manifest.blocks.append(record)
            if self._overdue(block, begun):
                # Measured now, it would take the place of the next one: the grid of hours would be lost.
                record.state = "missed"
                self._say(f"block {block.number}: missed; those before it took too long")
            else:
                await self._block(block, record, len(blocks))
            write_manifest(self.folder, self.manifest)
            if self._told.is_set():
                return

    def _overdue(self, block: Block, begun: float) -> bool:
        """Whether so much of the block's round is over that the round can no longer end before the next begins."""
        if self.plan.every_seconds is None:
            return False
        late = time.monotonic() - begun - block.due_seconds
        return late + self.plan.duration_seconds > self.plan.every_seconds + 1

    async def _block(self, block: Block, record: BlockRecord, count: int) -> None:
        folder = self.folder / block.name
        try:
            folder.mkdir()
        except OSError as error:
            raise ResultsError(f"{folder}: {error.strerror}; free space or check permissions") from error
        await self._clock.refresh()
        record.start, record.clocks = now(), [clock_record(self._clock.state)]
        around = self.endpoints.around(block.mode)
        receiver = ReceiverProcess(around, self.limits.arguments(), folder)
        try:
            self._demand_fit_clock()
            await receiver.start()
            await self._watch(receiver, f"block {block.number} of {count}, {block.mode}")
            by_itself = receiver.ended
            record.exit_code = await receiver.stop()
            record.state = "failed" if by_itself else "cut short" if self._told.is_set() else "done"
            if by_itself:
                record.error = f"latency-receiver ended by itself: {receiver.last_words()}"
                self._say(f"block {block.number}: {record.error}")
        except (ClockError, ReceiverError, ProgramError) as error:
            record.state, record.error, record.exit_code = "failed", str(error), error.exit_code
            self._say(f"block {block.number}: {error}")
            await receiver.abort()
        except BaseException:
            record.state = "failed"
            await receiver.abort()
            raise
        finally:
            await self._conclude(record, folder, [path["name"] for path in receiver.paths])

    def _demand_fit_clock(self) -> None:
        """Refuse a clock that has become unfit since the preflight: the receiver asks this of timed runs alone."""
        fit = clock_check(self._clock.state, self.limits, demanded=self.demand_clock)
        if not fit.passed:
            raise ClockError(f"{fit.detail}; {fit.remedy}")

    async def _conclude(self, record: BlockRecord, folder: Path, paths: list[str]) -> None:
        """Note when it ended and what came; put a folder without a single row away, for there is nothing to compare."""
        await self._clock.refresh()
        record.end = now()
        record.clocks.append(clock_record(self._clock.state))
        record.events = _events(folder)
        if record.state == "cut short":
            _mark_incomplete(folder / "results.json")
        if not record.events:
            shutil.rmtree(folder, ignore_errors=True)
            if record.state != "failed":
                record.state = "empty"
        elif record.state == "done" and (silent := [name for name in paths if name not in record.events]):
            record.state, record.error = "failed", f"no event came by {', '.join(silent)}"
            self._say(f"block {record.number}: {record.error}")

    async def _watch(self, receiver: ReceiverProcess, title: str) -> None:
        """Let it measure for the block's duration from the moment that every path is up, showing the figures.

        Ends early when the receiver does, or when we are told to. A path that does not come up in time is not waited
        for any longer: the others are measured.
        """
        display = Display(self.console)
        duration = self.plan.duration_seconds
        period = _REFRESH_SECONDS if display.moves else min(_LINE_SECONDS, duration / 3)
        begun = await self._first_events(receiver, title)
        shown_at = begun
        with display:
            while (left := begun + duration - time.monotonic()) > 0:
                if await pause(self._told, min(left, _REFRESH_SECONDS)) or receiver.ended:
                    return
                if time.monotonic() - shown_at < period or (progress := await receiver.progress()) is None:
                    continue
                shown_at = time.monotonic()
                head = f"{title}, {min(shown_at - begun, duration):.0f} of {duration:g} s"
                if display.moves:
                    display.update(partial(table, head, progress))
                else:
                    self._say(line(head, progress))

    async def _first_events(self, receiver: ReceiverProcess, title: str) -> float:
        """Wait until every path has brought an event; returns when that was, by the monotonic clock."""
        said = 0.0

        def waiting(missing: list[str]) -> None:
            nonlocal said
            if time.monotonic() - said > _LINE_SECONDS:
                said = time.monotonic()
                self._say(f"{title}: waiting for {', '.join(missing)}")

        await receiver.first_events(self._told, self.limits.wait_seconds, waiting)
        return time.monotonic()

    def _say(self, text: str) -> None:
        sentence(self.console, text, indent=5)


def _events(folder: Path) -> dict[str, int]:
    """Tell how many rows each path has; those paths alone that have any."""
    try:
        paths = json.loads((folder / "results.json").read_bytes()).get("paths")
    except (OSError, ValueError, RecursionError):
        paths = None
    if paths is not None:
        return {name: path["events"] for name, path in paths.items() if path["events"]}
    # The receiver was killed: the rows are all there is.
    counts: Counter[str] = Counter()
    with contextlib.suppress(FileNotFoundError), (folder / "results.csv").open(encoding="utf-8", newline="") as file:
        rows = csv.reader(file)
        header = next(rows, [])
        counts.update(row[header.index("path")] for row in rows if len(row) == len(header))
    return dict(counts)


def _mark_incomplete(file: Path) -> None:
    """Say in a block's results that it was cut short: the receiver does not know how long it was meant to last.

    Raises:
        ResultsError: it cannot be written.
    """
    try:
        results = json.loads(file.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise ResultsError(f"{file}: cannot be marked as incomplete: {error}") from error
    write_whole(file, json.dumps({**results, "complete": False}, indent=2).encode() + b"\n")


def plan_record(plan: Plan) -> dict[str, Any]:
    """Describe a plan for the manifest."""
    return {
        "kind": plan.kind,
        "duration_seconds": plan.duration_seconds,
        "repeat": plan.repeat,
        "every_seconds": plan.every_seconds,
        "for_seconds": plan.for_seconds,
        "blocks": len(plan.blocks()),
    }
