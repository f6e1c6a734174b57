"""The race as a record, and its folder: ``doors.json``, written anew at every look, and ``blocks.csv``, which grows."""

import csv
import io
import math
import socket
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from daemons.errors import ResultsError
from daemons.service.distribution import installed_version
from experiments.doors.blocks import RacedBlock
from experiments.doors.finding import URL
from experiments.doors.model import FILE, DoorEvent, DoorRow, DoorsRun
from experiments.doors.race import BY_HAND, DoorRace, RaceOptions
from experiments.doors.roster import KnownDoor
from experiments.doors.standing import configuration_line, say
from experiments.folder import write_whole

__all__ = ["BLOCKS_FILE", "COLUMNS", "begin", "fill", "now_text", "write_blocks", "write_run"]

BLOCKS_FILE = "blocks.csv"
COLUMNS = ("block", "start", "address", "lag_ms", "events", "first")
"""``lag_ms`` is behind the middle of the field, and empty where the door was not there for half of the block."""


def begin(command: list[str], url: str, streams: Sequence[str], options: RaceOptions) -> DoorsRun:
    """Begin the record of a race on this host."""
    return DoorsRun(
        command=command,
        host=socket.gethostname(),
        version=installed_version(),
        url=url,
        streams=list(streams),
        start=now_text(),
        connections=options.connections,
        block_seconds=options.block_seconds,
        confidence=options.confidence,
        margin_ms=options.margin_ms,
    )


def fill(run: DoorsRun, race: DoorRace) -> None:
    """Bring a record up to what is known now."""
    now, doors = race.standings, race.roster.doors
    names = [door.address for door in doors]
    run.blocks = len(race.blocks)
    run.compared_events = sum(block.compared for block in race.blocks)
    run.attempts = race.attempts
    run.outcome = now.outcome
    run.sentence = say(now, names, run.margin_ms, run.block_seconds)
    run.leaders = [names[door] for door in now.leaders]
    run.configuration = configuration_line(run.leaders) if now.outcome == "best" else ""
    unranked = [door.number for door in doors if door.number not in now.behind]
    run.doors = [_row(doors[number], now.behind.get(number)) for number in (*now.order, *unranked)]
    run.notes = _notes(race, now.order)
    run.happened = [
        DoorEvent(time=_time(datetime.fromtimestamp(one.at_ns / 1e9, UTC)), address=one.address, what=one.what)
        for one in race.happened
    ]


def write_run(folder: Path, run: DoorsRun) -> None:
    """Write the record, whole or not at all.

    Raises:
        ResultsError: it cannot be written.
    """
    write_whole(folder / FILE, msgspec.json.format(msgspec.json.encode(run), indent=2) + b"\n")


def write_blocks(folder: Path, run: DoorsRun, race: DoorRace, blocks: Sequence[RacedBlock]) -> None:
    """Add blocks to the folder's file.

    Raises:
        ResultsError: it cannot be written.
    """
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    file = folder / BLOCKS_FILE
    if not file.exists():
        table.writerow(COLUMNS)
    start = race.begun_wall_ns / 1e9
    for block in blocks:
        at = _time(datetime.fromtimestamp(start + block.number * run.block_seconds, UTC))
        for door in sorted(block.events):
            lag = block.lag_ms.get(door)
            shown = "" if lag is None else f"{lag:.6f}"
            address = race.roster.doors[door].address
            table.writerow((block.number, at, address, shown, block.events[door], block.first.get(door, 0)))
    try:
        with file.open("a", encoding="utf-8") as stream:
            stream.write(text.getvalue())
    except OSError as error:
        raise ResultsError(f"{file}: cannot be written: {error.strerror}; free space or check permissions") from error


def _row(door: KnownDoor, behind: tuple[float, float] | None) -> DoorRow:
    pings = [pings.round_trip_ns for pings in door.counts.pings.values() if pings.round_trip_ns is not None]
    trips = [info.rtt_ns for info in door.counts.tcp.now() if info.rtt_ns is not None]
    low = high = None
    if behind is not None and 0 < behind[1] < math.inf:
        low, high = behind[0] - behind[1], behind[0] + behind[1]
    return DoorRow(
        address=door.address,
        found_by=sorted(door.found_by),
        state=state_of(door),
        trouble="" if door.stands else door.detail,
        blocks=door.blocks,
        events=door.events,
        first_share=door.first / door.compared if door.compared else None,
        behind_ms=None if behind is None else behind[0],
        behind_low_ms=low,
        behind_high_ms=high,
        attempts=door.counts.attempts,
        connections=door.counts.connections,
        ended={reason: count for reason, count in door.counts.reconnects.items() if count},
        ping_ms=max(pings) / 1e6 if pings else None,
        tcp_rtt_ms=max(trips) / 1e6 if trips else None,
    )


def state_of(door: KnownDoor) -> str:
    """Say in a word how a door is."""
    if not door.way:
        return "no way"
    if door.stands:
        return "racing"
    if door.trouble:
        return "gone" if door.events else "failing"
    return "connecting" if door.racing else "waiting"


def _notes(race: DoorRace, ranked: Sequence[int]) -> list[str]:
    doors = race.roster.doors
    notes = []
    if without := [door.address for door in doors if not door.way]:
        notes.append(f"this host has no way to {len(without)} of the addresses: {_few(without)}")
    # Where all doors were named by hand, or are in the URL, no name was asked.
    asked = set[str]().union(*(door.found_by for door in doors)) - {BY_HAND, URL}
    if asked and not any(":" in door.address for door in doors):
        notes.append("the name has no IPv6 address")
    for word in ("failing", "gone"):
        for door in doors:
            if state_of(door) == word:
                times = sum(door.counts.reconnects.values())
                notes.append(f"{door.address} is {word} ({times} times): {door.detail}")
    if waiting := [door.address for door in doors if door.way and door.number not in ranked and not door.trouble]:
        notes.append(f"not ranked, for they have not raced enough: {_few(waiting)}")
    if race.roster.takes_turns:
        notes.append(f"{len(doors)} doors took turns: more than may race at a time")
    return notes + [f"resolver {name}: {why}" for name, why in race.troubles.items()]


def _few(addresses: Sequence[str]) -> str:
    more = f" and {len(addresses) - 5} more" if len(addresses) > 5 else ""
    return ", ".join(addresses[:5]) + more


def now_text() -> str:
    """Give the time of day as the record has it."""
    return _time(datetime.now(UTC))


def _time(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
