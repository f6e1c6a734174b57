"""The race itself: finds doors, keeps a pinned feed at each of those whose turn it is, and looks at every block."""

import asyncio
import random
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import msgspec

from daemons.errors import StreamError
from daemons.feed.feed import Feed
from daemons.feed.settings import FeedSettings
from daemons.reasons import StreamReason
from daemons.records import WARMUP, FeedEvent, Stamp
from daemons.stream.stamping import Stamper
from daemons.timing.backoff import AttemptBudget
from experiments.doors.blocks import BlockTable, RacedBlock
from experiments.doors.finding import Finder, has_way
from experiments.doors.hearing import hearing
from experiments.doors.roster import DoorRoster, KnownDoor, turn_seconds
from experiments.doors.standing import Standings, standings

__all__ = ["BY_HAND", "DoorRace", "Happening", "RaceOptions"]

BY_HAND = "--address"
ATTEMPTS, WINDOW_SECONDS = 250, 300.0
"""Exchanges allow 300 in five minutes; somebody else on this host may need some."""
_LONGEST_WAIT_SECONDS = 120.0
"""Between attempts at a door that fails: a dozen dead ones must leave attempts for the living."""
_PACE_SECONDS = 0.15
"""Between the first attempts at doors: users were banned who opened a crowd of connections at once."""
_TICK_SECONDS = 0.25
_MOST_HAPPENINGS = 1000


@dataclass(frozen=True, slots=True)
class RaceOptions:
    """How to race.

    Attributes:
        connections: how many doors race at a time.
        block_seconds: of what is averaged.
        duration_seconds: when to end at the latest; None for never.
        confidence: that no interval of any pair at any look misses its truth.
        margin_ms: a smaller lead is not worth a pin.
    """

    connections: int
    block_seconds: float
    duration_seconds: float | None
    confidence: float
    margin_ms: float


@dataclass(frozen=True, slots=True)
class Happening:
    """Something that happened: when, by the wall clock; to which address or resolver; and what."""

    at_ns: int
    address: str
    what: str


class DoorRace:
    """A race for as long as :meth:`run` runs.

    Args:
        settings: of a feed's connections, to be pinned.
        finder: of addresses.
        addresses: that are known without asking.
        options: how to race.
        stamper: makes the arrival stamps, and holds the clock.
        rng: for the back-off.
        budget: of attempts.

    Attributes:
        roster: the doors.
        blocks: that were judged, and ``standings`` after them.
        happened: of late.
        news: of all that happened, what went wrong for the first time.
        troubles: of resolvers, the last of each.
        begun_wall_ns: when the first block began.
    """

    def __init__(
        self,
        settings: Sequence[FeedSettings],
        finder: Finder,
        addresses: Sequence[str],
        options: RaceOptions,
        stamper: Stamper,
        rng: random.Random,
        budget: AttemptBudget | None = None,
    ) -> None:
        self._settings, self._finder, self._options = settings, finder, options
        self._stamper, self._clock, self._rng = stamper, stamper.clock, rng
        self._budget = budget or AttemptBudget(ATTEMPTS, WINDOW_SECONDS)
        self.roster = DoorRoster(options.connections)
        self.blocks: list[RacedBlock] = []
        self.standings = Standings([], {}, [], 0)
        self.happened: deque[Happening] = deque(maxlen=_MOST_HAPPENINGS)
        self.news: list[Happening] = []
        self.troubles: dict[str, str] = {}
        self.begun_wall_ns = 0
        self._told: set[tuple[str, str]] = set()
        self._racing: dict[int, asyncio.Task[None]] = {}
        self._begun_with = 0
        self._table = BlockTable(0, 1)
        for address in addresses:
            self._add(address, BY_HAND)

    async def run(self, told: asyncio.Event, on_look: Callable[[list[RacedBlock]], None]) -> str:
        """Race until it is sure, or over, or told to end.

        Args:
            told: set when it is to end.
            on_look: called a few times a second with the blocks that were judged since.

        Returns:
            Why it ended: ``sure``, ``duration`` or ``interrupted``.

        Raises:
            StreamError: the name has no address.
        """
        with hearing(self._heard):
            return await self._run(told, on_look)

    async def _run(self, told: asyncio.Event, on_look: Callable[[list[RacedBlock]], None]) -> str:
        await self._find()
        if not self.roster.doors:
            why = "; ".join(self.troubles.values()) or "nobody names an address"
            raise StreamError(StreamReason.DNS, f"no door was found: {why}")
        self._begun_with = len(self.roster.doors)
        begun_ns = self._clock.monotonic_ns()
        self.begun_wall_ns = self._clock.wall_ns()
        self._table = BlockTable(begun_ns, int(self._options.block_seconds * 1e9))
        finding = asyncio.ensure_future(self._find_on())
        try:
            ended = await self._go_on(begun_ns, told, on_look)
            if ended != "sure":
                on_look(self._judge(last=True))
            return ended
        finally:
            finding.cancel()
            await self._end(list(self._racing))

    async def _go_on(self, begun_ns: int, told: asyncio.Event, on_look: Callable[[list[RacedBlock]], None]) -> str:
        options = self._options
        connections = options.connections * len(self._settings)
        turn_ns = int(turn_seconds(connections, ATTEMPTS, WINDOW_SECONDS, options.block_seconds) * 1e9)
        turned_ns, known = begun_ns - turn_ns, 0
        while True:
            now_ns = self._clock.monotonic_ns()
            takes_turns, doors = self.roster.takes_turns, len(self.roster.doors)
            if now_ns - turned_ns >= turn_ns if takes_turns else doors != known:
                turned_ns, known = now_ns, doors
                await self._turn()
            judged = self._judge()
            on_look(judged)
            if judged and self.is_sure:
                return "sure"
            if options.duration_seconds is not None and now_ns - begun_ns >= options.duration_seconds * 1e9:
                return "duration"
            for task in self._racing.values():
                if task.done():
                    # A feed ends by itself only by a fault of ours.
                    task.result()
            try:
                async with asyncio.timeout(_TICK_SECONDS):
                    await told.wait()
            except TimeoutError:
                continue
            return "interrupted"

    @property
    def is_sure(self) -> bool:
        """Whether all doors that answer are ranked as far as it matters, and none is still to be tried."""
        return bool(self.standings.leaders) and not any(door.pending for door in self.roster.doors)

    @property
    def attempts(self) -> int:
        """How many connections were tried."""
        return sum(door.counts.attempts for door in self.roster.doors)

    # Doors

    async def _find_on(self) -> None:
        pause = 0.0
        while True:
            await self._clock.sleep(pause)
            pause = await self._find()

    async def _find(self) -> float:
        """Ask once; return when to ask again."""
        found = await self._finder.look()
        for name, addresses in found.addresses.items():
            self.troubles.pop(name, None)
            for address in addresses:
                self._add(address, name)
        for name, why in found.troubles.items():
            self.troubles[name] = why
            self._happens(name, why, "resolver")
        return found.again_seconds

    def _add(self, address: str, found_by: str) -> None:
        door = self.roster.add(address, found_by)
        if door is None:
            return
        door.way = has_way(address)
        # Of all that cannot be reached one is told.
        self._happens(address, "found" if door.way else "this host has no way to it", "" if door.way else "no way")

    async def _turn(self) -> None:
        chosen = self.roster.turn(self.standings.order)
        await self._end([number for number in self._racing if not self.roster.doors[number].racing])
        new = [door for door in chosen if door.number not in self._racing]
        for place, door in enumerate(new):
            self._racing[door.number] = asyncio.ensure_future(self._race(door, place * _PACE_SECONDS))

    async def _race(self, door: KnownDoor, wait_seconds: float) -> None:
        await self._clock.sleep(wait_seconds)
        settings = [
            replace(
                one,
                name=door.address,
                addresses=(door.address,),
                fields=msgspec.structs.replace(one.fields, reconnect_max_seconds=_LONGEST_WAIT_SECONDS),
            )
            for one in self._settings
        ]

        def take(events: list[FeedEvent], stamp: Stamp) -> None:
            door.events += len(events)
            if stamp.kind is WARMUP:
                return
            for event in events:
                if event.event_id is not None:
                    key = event.symbol, event.kind.name, event.event_id
                    self._table.observe(door.number, key, stamp.steady_ns)

        await Feed(settings, self._stamper, self._rng, take, budget=self._budget, counts=door.counts).run()

    async def _end(self, numbers: Sequence[int]) -> None:
        tasks = [self._racing.pop(number) for number in numbers]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # Looking

    def _judge(self, *, last: bool = False) -> list[RacedBlock]:
        judged = self._table.due(self._clock.monotonic_ns(), last=last)
        doors = self.roster.doors
        for block in judged:
            for door in doors:
                present = door.number in block.lag_ms
                # A block is judged some seconds late: by then it may be another door's turn.
                if present or (door.racing and block.compared):
                    door.saw(present=present)
                door.compared += block.events.get(door.number, 0)
                door.first += block.first.get(door.number, 0)
        self.blocks += judged
        if judged:
            answering = [door.number for door in doors if door.answers]
            options = self._options
            self.standings = standings(
                self.blocks, answering, len(doors), self._begun_with, options.confidence, options.margin_ms
            )
        return judged

    def _heard(self, feed: str, reason: str, sentence: str) -> None:
        door = self.roster.of(feed)
        if door is not None:
            if reason:
                door.trouble, door.detail = reason, sentence
            elif sentence == "feed connected":
                door.trouble = door.detail = ""
        self._happens(feed, sentence, reason)

    def _happens(self, address: str, what: str, kind: str) -> None:
        key = ("" if kind == "no way" else address, kind)
        one = Happening(self._clock.wall_ns(), address, what)
        self.happened.append(one)
        if kind and key not in self._told:
            self._told.add(key)
            self.news.append(one)
