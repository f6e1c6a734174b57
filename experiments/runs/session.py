"""A whole run: preflight, then block after block, each in a folder of its own, and a manifest that says how it went."""

import asyncio
import contextlib
import csv
import json
import shutil
import signal
import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.live import Live

from daemons.errors import LatencyError, ResultsError
from daemons.timing.clock import SystemClock
from daemons.timing.discipline import ClockMonitor
from experiments.programs import ProgramError
from experiments.runs.endpoints import Endpoints
from experiments.runs.manifest import BlockRecord, Manifest, clock_record, now, write_manifest
from experiments.runs.preflight import Limits, Preflight, shown
from experiments.runs.progress import line, table
from experiments.runs.receiver import Receiver, ReceiverError, pause
from experiments.runs.schedule import Block, Plan

__all__ = ["INTERRUPTED", "Session", "plan_record"]

INTERRUPTED = 130
"""Exit code of a run that a signal ended; what was measured is kept."""

_REFRESH_SECONDS = 0.5
_LINE_SECONDS = 10.0


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

    def __init__(
        self,
        plan: Plan,
        endpoints: Endpoints,
        limits: Limits,
        folder: Path,
        manifest: Manifest,
        console: Console,
        *,
        demand_clock: bool,
    ) -> None:
        self._plan = plan
        self._endpoints = endpoints
        self._limits = limits
        self._folder = folder
        self._manifest = manifest
        self._console = console
        self._demand_clock = demand_clock
        self._told = asyncio.Event()
        self._clock = ClockMonitor(SystemClock())

    async def run(self) -> int:
        """Measure everything; returns the exit code, which the manifest has too."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._on_signal, number)
        manifest = self._manifest
        write_manifest(self._folder, manifest)
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
            write_manifest(self._folder, manifest)
        return code

    def _on_signal(self, number: signal.Signals) -> None:
        self._manifest.ended_by = signal.Signals(number).name
        self._told.set()

    async def _measure(self) -> int:
        manifest = self._manifest
        await self._clock.refresh()
        preflight = Preflight(self._plan, self._endpoints, self._limits, self._folder, self._told)
        await preflight.look(self._clock.state, demand_clock=self._demand_clock)
        manifest.preflight, manifest.config = preflight.checks, preflight.config
        write_manifest(self._folder, manifest)
        for text in shown(preflight.checks):
            self._say(text)
        if (failed := preflight.failed) is not None:
            manifest.ended_by = f"preflight: {failed.name}"
            return failed.exit_code
        await self._blocks(self._plan.blocks())
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
            self._manifest.blocks.append(record)
            if self._overdue(block, begun):
                # Measured now, it would take the place of the next one: the grid of hours would be lost.
                record.state = "missed"
                self._say(f"block {block.number}: missed; those before it took too long")
            else:
                await self._block(block, record, len(blocks))
            write_manifest(self._folder, self._manifest)
            if self._told.is_set():
                return

    def _overdue(self, block: Block, begun: float) -> bool:
        """Whether so much of the block's round is over that the round can no longer end before the next begins."""
        if self._plan.every_seconds is None:
            return False
        late = time.monotonic() - begun - block.due_seconds
        return late + self._plan.duration_seconds > self._plan.every_seconds + 1

    async def _block(self, block: Block, record: BlockRecord, count: int) -> None:
        folder = self._folder / block.name
        try:
            folder.mkdir()
        except OSError as error:
            raise ResultsError(f"{folder}: {error.strerror}; free space or check permissions") from error
        await self._clock.refresh()
        record.start, record.clocks = now(), [clock_record(self._clock.state)]
        around = self._endpoints.around(block.mode)
        receiver = Receiver(around, self._limits.arguments(), folder, self._plan.duration_seconds, rows=True)
        try:
            await receiver.start()
            await self._watch(receiver, f"block {block.number} of {count}, {block.mode}")
            record.exit_code = await receiver.stop()
            record.state = "cut short" if self._told.is_set() else "done" if record.exit_code == 0 else "failed"
            if record.exit_code:
                record.error = receiver.last_words()
        except (ReceiverError, ProgramError) as error:
            record.state, record.error, record.exit_code = "failed", str(error), error.exit_code
            self._say(f"block {block.number}: {error}")
            await receiver.abort()
        except BaseException:
            record.state = "failed"
            await receiver.abort()
            raise
        finally:
            await self._conclude(record, folder)

    async def _conclude(self, record: BlockRecord, folder: Path) -> None:
        """Note when it ended and what came; put a folder without a single row away, for there is nothing to compare."""
        await self._clock.refresh()
        record.end = now()
        record.clocks.append(clock_record(self._clock.state))
        record.events = _events(folder)
        if not record.events:
            shutil.rmtree(folder, ignore_errors=True)
            if record.state != "failed":
                record.state = "empty"

    async def _watch(self, receiver: Receiver, title: str) -> None:
        """Show the figures until the receiver ends, or we are told to."""
        ended = asyncio.get_running_loop().create_task(receiver.wait())
        told = asyncio.get_running_loop().create_task(self._told.wait())
        terminal = self._console.is_terminal
        live = Live(console=self._console, auto_refresh=False) if terminal else contextlib.nullcontext()
        period = min(_LINE_SECONDS, self._plan.duration_seconds / 3)
        begun = shown_at = time.monotonic()
        try:
            with live:
                while not (ended.done() or told.done()):
                    await asyncio.wait({ended, told}, timeout=_REFRESH_SECONDS, return_when=asyncio.FIRST_COMPLETED)
                    elapsed = time.monotonic() - begun
                    if not terminal and time.monotonic() - shown_at < period:
                        continue
                    progress = None if ended.done() else await receiver.progress()
                    if progress is None:
                        continue
                    shown_at = time.monotonic()
                    head = f"{title}, {elapsed:.0f} of {self._plan.duration_seconds:g} s"
                    if isinstance(live, Live):
                        live.update(table(head, progress), refresh=True)
                    else:
                        self._say(line(head, progress))
        finally:
            for task in (ended, told):
                task.cancel()
            await asyncio.gather(ended, told, return_exceptions=True)

    def _say(self, text: str) -> None:
        self._console.print(text, soft_wrap=True, markup=False, highlight=False)


def _events(folder: Path) -> dict[str, int]:
    """Tell how many rows each path has; those paths alone that have any."""
    try:
        paths = json.loads((folder / "results.json").read_bytes()).get("paths")
    except (OSError, ValueError):
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
