"""A measurement with an end: so many requests on each kind of connection, then a table and a file of statistics."""

import asyncio
import csv
import socket
import sys
from collections.abc import Callable
from contextlib import ExitStack
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import msgspec

from daemons.configuration.probe import EgressSection, ProbeConfig, TargetSection
from daemons.errors import ResultsError
from daemons.probe.attempt import Attempt, ConnectionKind, Phase
from daemons.probe.http.resolve import Resolver
from daemons.probe.lane import ColdLane, Lane, WarmLane
from daemons.probe.once.document import FORMAT, Document, Vantage
from daemons.probe.once.statistics import TargetStatistics
from daemons.probe.once.vantage import identity_of, round_trips_to, route_to
from daemons.probe.once.view import Asked, print_result, print_vantage, result_console, show_progress
from daemons.probe.prober import Prober
from daemons.probe.schedule import Grid, Timetable
from daemons.probe.target import Target, prepared
from daemons.service.distribution import DISTRIBUTION, installed_version
from daemons.service.lifecycle import end
from daemons.stream.stamping import Stamper
from daemons.timing.clock import SystemClock

__all__ = ["OnceProgram"]

_COLUMNS = (
    "start_time",
    "target",
    "connection",
    *(f"{phase}_ms" for phase in Phase),
    "total_ms",
    "scheduled_total_ms",
    "lag_ms",
    "address",
    "status",
    "reason",
)


class OnceProgram:
    """Probes the targets of a configuration so many times, and ends.

    With both kinds of connection asked for, the warm requests come after the cold ones, and the last cold one leaves
    its connection open for them; so ``count`` requests are made of each kind, whatever becomes of them. A server that
    keeps no connection open is given up after as many requests more.

    Then it looks, once, at what else the configuration has: egress identity, route, and round trips through the tunnel.

    Args:
        config: checked.
        count: requests on each kind of connection, and echo requests through the tunnel.
        json_output: where the statistics go; ``-`` is standard output, and the table goes to standard error then.
        csv_output: where a row for every attempt goes, as it ends.

    Attributes:
        failed: whether some target did not answer once as expected.
    """

    def __init__(self, config: ProbeConfig, count: int, json_output: Path | None, csv_output: Path | None) -> None:
        self._config = config
        self._count = count
        self._json_output = json_output
        self._json_to_output = json_output == Path("-")
        self._csv_output = csv_output
        targets = prepared(config)
        self._targets = [target for target in targets if isinstance(target.section, TargetSection)]
        self._egress = [(target.section, target) for target in targets if isinstance(target.section, EgressSection)]
        self._vantage: Vantage = {}
        self._asked: list[Asked] = [dict.fromkeys(target.kinds, count) for target in self._targets]
        self._statistics = [
            TargetStatistics(target, opens_as_asked=ConnectionKind.COLD in target.kinds) for target in self._targets
        ]
        self._doing = "requests made"
        clock = SystemClock()
        self._clock = clock
        self._stamper = Stamper(clock)
        self._prober = Prober(self._stamper, Resolver(clock))
        self._timetable = Timetable(clock, asyncio.get_running_loop())
        self._files = ExitStack()
        self._began = datetime.now(UTC)
        self._unwritten: ResultsError | None = None
        self.failed = True

    async def start(self) -> None:
        """Open the files, so that one that cannot be written is known before the measurement and not after.

        Raises:
            ResultsError: one cannot be written.
        """
        if self._json_output is not None and not self._json_to_output:
            _written(self._json_output, b"")
        if self._csv_output is not None:
            try:
                # Line buffered: what was measured is in the file, whatever happens next.
                file = self._files.enter_context(self._csv_output.open("w", encoding="utf-8", newline="", buffering=1))
                rows = csv.writer(file, lineterminator="\n")
                rows.writerow(_COLUMNS)
            except OSError as error:
                raise _not_writable(self._csv_output, error) from error
            for statistics in self._statistics:
                statistics.on_attempt = partial(self._write_row, self._csv_output, rows.writerow)

    async def wait(self) -> None:
        """Return when all is measured."""
        display = asyncio.get_running_loop().create_task(
            show_progress(self._statistics, self._asked, self._seconds(), lambda: self._doing)
        )
        try:
            await self._all()
        finally:
            await end([display])

    async def _all(self) -> None:
        async with asyncio.TaskGroup() as group:
            for target, statistics in zip(self._targets, self._statistics, strict=True):
                group.create_task(self._measure(target, statistics))
        for section, target in self._egress:
            self._doing = "asking for the egress identity"
            self._vantage["egress"] = await identity_of(section, target, self._prober)
        if self._config.route is not None:
            self._doing = "tracing the route"
            self._vantage["route"] = await route_to(self._config.route)
        if self._config.overlay is not None:
            self._doing = "echo requests through the tunnel"
            self._vantage["overlay"] = await round_trips_to(
                self._config.overlay, self._stamper, self._timetable, self._count
            )

    async def stop(self) -> None:
        """Print the table and write the statistics of what was measured, be it all or not.

        Raises:
            ResultsError: a file could not be written; the table is printed nevertheless.
        """
        self._timetable.close()
        self._stamper.close()
        if self._csv_output is not None:
            try:
                self._files.close()
            except OSError as error:
                self._unwritten = self._unwritten or _not_writable(self._csv_output, error)
        answered = all(statistics.answered for statistics in self._statistics)
        found = self._vantage.get("egress")
        known = not self._egress or (found is not None and found["address"] is not None)
        self.failed = not (answered and known)
        console = result_console(json_to_output=self._json_to_output)
        if self._statistics:
            print_result(console, self._statistics, self._asked)
        print_vantage(console, self._vantage)
        document = msgspec.json.format(msgspec.json.encode(self._document())) + b"\n"
        if self._json_to_output:
            sys.stdout.write(document.decode())
            sys.stdout.flush()
        elif self._json_output is not None:
            _written(self._json_output, document)
        if self._unwritten is not None:
            raise self._unwritten

    def status(self) -> str:
        """Say how far it is."""
        return f"{sum(statistics.attempts for statistics in self._statistics)} requests made"

    async def reload(self) -> None:
        """Do nothing: a measurement keeps the settings that it began with."""

    def _write_row(self, file: Path, write: Callable[[list[object]], object], attempt: Attempt) -> None:
        try:
            write(_row(attempt))
        except OSError as error:
            # A full disk ends neither the measurement nor the figures of the other file.
            self._unwritten = self._unwritten or _not_writable(file, error)

    async def _measure(self, target: Target, statistics: TargetStatistics) -> None:
        if ConnectionKind.COLD in target.kinds:
            # The request that makes the warm connection is the last of the cold ones.
            count = self._count - (ConnectionKind.WARM in target.kinds)
            await self._drive(ColdLane(target, self._prober, statistics), target, count)
        if ConnectionKind.WARM in target.kinds:
            await self._drive_warm(WarmLane(target, self._prober, statistics), target, statistics)

    def _seconds(self) -> float:
        """Tell how long the requests take when every slot is kept."""
        pairs = zip(self._targets, self._asked, strict=True)
        spans = (sum(asked.values()) * target.interval_ns / 1e9 for target, asked in pairs)
        return max(spans, default=0.0)

    async def _drive(self, lane: Lane, target: Target, count: int) -> None:
        """Let a lane make so many attempts; slots that it misses are made up for by later ones."""
        if not count:
            return
        left = count
        done = asyncio.Event()

        def slot(intended_ns: int, missed: int) -> None:
            nonlocal left
            left -= lane.slot(intended_ns, missed)
            if not left:
                self._timetable.remove(number)
                done.set()

        number = self._timetable.add(Grid(self._clock.monotonic_ns(), target.interval_ns), slot)
        try:
            await done.wait()
            await lane.idle()
        finally:
            await lane.close()

    async def _drive_warm(self, lane: Lane, target: Target, statistics: TargetStatistics) -> None:
        """Let a lane make requests until so many were made on a kept connection, or failed for want of one."""
        slots = 2 * self._count + 1
        over = asyncio.Event()

        def slot(intended_ns: int, missed: int) -> None:
            nonlocal slots
            if not slots or statistics.made(lane.kind) >= self._count:
                over.set()
            elif lane.slot(intended_ns, missed):
                slots -= 1

        def ended() -> None:
            if statistics.made(lane.kind) >= self._count:
                over.set()

        statistics.on_end = ended
        number = self._timetable.add(Grid(self._clock.monotonic_ns(), target.interval_ns), slot)
        try:
            await over.wait()
            await lane.idle()
        finally:
            self._timetable.remove(number)
            await lane.close()

    def _document(self) -> Document:
        return {
            "format": FORMAT,
            "start": self._began.isoformat(),
            "end": datetime.now(UTC).isoformat(),
            "host": socket.gethostname(),
            "versions": {DISTRIBUTION: installed_version(), "python": sys.version.split()[0]},
            "targets": {statistics.name: statistics.document() for statistics in self._statistics},
            **self._vantage,
        }


def _row(attempt: Attempt) -> list[object]:
    instants = attempt.instants
    phases = dict(instants.phases())
    durations = [*(phases.get(phase) for phase in Phase), instants.total_ns, instants.scheduled_total_ns]
    return [
        attempt.wall_ns,
        attempt.target,
        attempt.connection,
        *(_ms(duration) for duration in durations),
        _ms(instants.lag_ns),
        attempt.address,
        "" if attempt.status is None else attempt.status,
        attempt.reason or "",
    ]


def _ms(duration_ns: int | None) -> str:
    return "" if duration_ns is None else f"{duration_ns / 1e6:.6f}"


def _written(file: Path, content: bytes) -> None:
    """Write a file whole or not at all; with no content, only find out whether it could be."""
    part = file.with_name(file.name + ".part")
    try:
        part.write_bytes(content)
        if content:
            part.replace(file)
        else:
            part.unlink()
    except OSError as error:
        raise _not_writable(file, error) from error


def _not_writable(file: Path, error: OSError) -> ResultsError:
    return ResultsError(f"{file}: cannot be written: {error.strerror}; choose another place")
