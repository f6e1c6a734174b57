"""The race on an exchange in the same loop: what becomes of doors, of attempts, and of what is logged."""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
import structlog
import uvloop
from websockets.asyncio.server import ServerConnection, serve

from daemons.errors import StreamError
from daemons.feed.settings import FeedSettings
from daemons.stream.stamping import Stamper
from daemons.timing.backoff import AttemptBudget
from daemons.timing.clock import SystemClock
from experiments.doors import roster
from experiments.doors.finding import Finder
from experiments.doors.race import DoorRace, RaceOptions
from experiments.doors.record import begin, fill

pytestmark = pytest.mark.process

ADDRESSES = [f"127.0.0.{last}" for last in range(1, 7)]
OPTIONS = RaceOptions(connections=16, block_seconds=0.1, duration_seconds=None, confidence=0.95, margin_ms=1000.0)


class Exchange:
    """Sends trades to everybody; addresses that are shut are cut as soon as somebody comes."""

    def __init__(self) -> None:
        self.shut: set[str] = set()
        self.members: dict[ServerConnection, str] = {}
        self.port = 0
        self.asked: list[str] = []

    async def member(self, connection: ServerConnection) -> None:
        address = connection.local_address[0]
        self.asked.append(address)
        if address in self.shut:
            connection.transport.abort()
            return
        self.members[connection] = address
        try:
            await connection.wait_closed()
        finally:
            del self.members[connection]

    def shut_one(self, address: str) -> None:
        """Let a door die: those inside are thrown out."""
        self.shut.add(address)
        for connection, at in tuple(self.members.items()):
            if at == address:
                connection.transport.abort()

    async def run(self) -> None:
        number = 0
        while True:
            number += 1
            text = b'{"e":"trade","E":%d,"s":"BTCUSDT","t":%d,"p":"1","q":"1"}' % (time.time_ns() // 1000, number)
            for connection in tuple(self.members):
                if not connection.transport.is_closing():
                    connection.protocol.send_text(text)
                    connection.send_data()
            await asyncio.sleep(0.005)


@asynccontextmanager
async def exchange() -> AsyncIterator[Exchange]:
    made = Exchange()
    async with serve(made.member, "0.0.0.0", 0, compression=None) as server:
        made.port = next(iter(server.sockets)).getsockname()[1]
        sending = asyncio.ensure_future(made.run())
        try:
            yield made
        finally:
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)


@asynccontextmanager
async def racing(
    made: Exchange, addresses: list[str], options: RaceOptions = OPTIONS, budget: AttemptBudget | None = None
) -> AsyncIterator[DoorRace]:
    """Race in the background; the block fails when the race does."""
    stamper = Stamper(SystemClock())
    settings = [FeedSettings("doors", f"ws://doors.example:{made.port}/ws/btcusdt@trade", None)]
    nobody = Finder("doors.example", made.port, [], system=False)
    race = DoorRace(settings, nobody, addresses, options, stamper, random.Random(1), budget)
    told = asyncio.Event()
    task = asyncio.ensure_future(race.run(told, lambda _judged: None))
    try:
        yield race
    finally:
        told.set()
        try:
            await task
        finally:
            stamper.close()


async def until(holds: Callable[[], bool]) -> None:
    """Look again and again until something holds."""
    async with asyncio.timeout(300):
        while not holds():  # noqa: ASYNC110 what is waited for are plain counters
            await asyncio.sleep(0.01)


def test_a_door_that_dies_is_told_counted_and_not_waited_for() -> None:
    async def scenario() -> None:
        async with exchange() as made, racing(made, ADDRESSES[:3]) as race:
            # With such a margin all are alike as soon as enough was seen; with a door that is to come it is not sure.
            await until(lambda: all(door.blocks > 2 for door in race.roster.doors))
            made.shut_one("127.0.0.2")
            dead = race.roster.doors[1]
            await until(lambda: not dead.answers)
            run = begin([], "ws://doors.example/", [], OPTIONS)
            await until(lambda: bool(race.standings.leaders))
            fill(run, race)
            row = next(row for row in run.doors if row.address == "127.0.0.2")
            assert row.state == "gone"
            assert sum(row.ended.values()) >= 1
            assert row.trouble
            assert run.leaders == [row.address for row in run.doors if row.address != "127.0.0.2"]
            assert any(note.startswith("127.0.0.2 is gone (") for note in run.notes)
            # No name was asked for any.
            assert not any("IPv6" in note for note in run.notes)
            assert [one.address for one in race.news] == ["127.0.0.2"] * len(race.news)
            assert any(one.address == "127.0.0.2" and "feed lost" in one.what for one in race.happened)

    uvloop.run(scenario())


def test_attempts_never_exceed_the_budget_however_many_doors_fail() -> None:
    async def scenario() -> None:
        budget = AttemptBudget(attempts=9)
        async with exchange() as made:
            made.shut.update(ADDRESSES[2:])
            async with racing(made, ADDRESSES, budget=budget) as race:
                await until(lambda: any("no attempt" in one.what for one in race.happened))
                await until(lambda: len(race.blocks) > 5)
                assert race.attempts == len(made.asked) <= 9
                assert all(door.stands for door in race.roster.doors[:2])

    uvloop.run(scenario())


def test_more_doors_than_may_race_take_turns_and_all_are_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(roster, "SHORTEST_TURN_SECONDS", 0.1)
    options = RaceOptions(connections=3, block_seconds=0.1, duration_seconds=None, confidence=0.95, margin_ms=0.0)

    async def scenario() -> None:
        async with exchange() as made, racing(made, ADDRESSES, options, AttemptBudget(10**6)) as race:
            await until(lambda: all(door.blocks for door in race.roster.doors))
            assert race.roster.takes_turns
            assert sum(door.racing for door in race.roster.doors) == 3
            assert min(door.turns for door in race.roster.doors) >= 1

    monkeypatch.setattr("experiments.doors.race.WINDOW_SECONDS", 1.0)
    uvloop.run(scenario())


def test_without_any_address_there_is_no_race_and_logs_are_what_they_were() -> None:
    async def scenario() -> None:
        async with exchange() as made:
            with pytest.raises(StreamError, match="no door was found"):
                async with racing(made, []):
                    await asyncio.sleep(0)

    before = structlog.get_config()
    uvloop.run(scenario())
    assert structlog.get_config() == before
