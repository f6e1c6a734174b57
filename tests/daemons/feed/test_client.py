"""What keeps a feed's connection up, driven by connections that do what a script says: no socket, no network."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest
from structlog.testing import capture_logs

from daemons.errors import FeedError, StreamError
from daemons.feed import client as driven
from daemons.feed.client import LONGEST_WAIT_SECONDS, RATE_LIMIT_SECONDS, FeedClient
from daemons.feed.counts import FeedCounts, ReplacementReason
from daemons.feed.settings import FeedSettings
from daemons.reasons import FeedReason, StreamReason
from daemons.records import FeedEvent, Stamp, StampKind
from daemons.stream.stamping import Stamper
from daemons.timing.backoff import AttemptBudget
from tests.daemons.made import feed_event
from tests.daemons.waiting import until
from tests.fakes import ManualClock

STREAM = "btcusdt@trade"
URL = f"ws://192.0.2.1/ws/{STREAM}"
Ending = StreamError | FeedError


class Scripted:
    """A connection that stands, ends and is noticed when the test says so; it delivers what it is given.

    Attributes:
        told: what its watch says next.
        closed: how often it was closed.
        adopted: settings that it was told of.
    """

    world: "World"

    def __init__(self, _dialled: None, _stamper: Stamper, settings: FeedSettings, sink: FeedClient) -> None:
        loop = asyncio.get_running_loop()
        self.ended: asyncio.Future[Ending] = loop.create_future()
        self.told: asyncio.Queue[ReplacementReason] = asyncio.Queue()
        self.streams, self.origin, self.address = settings.streams, settings.origin, "192.0.2.1"
        self.events, self.age_seconds, self.closed = 0, 0.0, 0
        self.adopted: list[FeedSettings] = []
        self._sink = sink
        self.world.made.append(self)

    async def stand(self, _deadline: float) -> Ending | None:
        failed = self.world.script.pop(0)
        if failed is None:
            self._sink.stood(self)  # type: ignore[arg-type]
            if self.world.greeting:
                self.bring(*self.world.greeting)
                # Where much is to do others have their turns first.
                await asyncio.sleep(0.01)
        return failed

    async def watch(self) -> Ending | ReplacementReason:
        told = asyncio.ensure_future(self.told.get())
        try:
            ends: set[asyncio.Future[Any]] = {self.ended, told}
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            return self.ended.result() if self.ended.done() else told.result()
        finally:
            told.cancel()

    def adopt(self, settings: FeedSettings) -> None:
        self.adopted.append(settings)

    def close(self) -> None:
        self.closed += 1

    def bring(self, *ids: int) -> None:
        self.events += len(ids)
        stamp = Stamp(1_000 + ids[-1], StampKind.KERNEL, 1_000 + ids[-1], 1_000 + ids[-1])
        self._sink.deliver(self, [feed_event(STREAM, number) for number in ids], stamp)  # type: ignore[arg-type]


class World:
    """A client, what it delivered, and its connections.

    Attributes:
        script: how attempts go, one after the other.
        greeting: ids that come together with the end of a handshake.
        known: how much was delivered when each connection was told of.
    """

    def __init__(self, *script: StreamError | FeedError | None) -> None:
        self.script = list(script)
        self.made: list[Scripted] = []
        self.clock = ManualClock()
        self.stamper = Stamper(self.clock)
        self.stamper.close()
        self.counts = FeedCounts()
        self.budget = AttemptBudget()
        self.delivered: list[int | None] = []
        self.connected: list[Sequence[str]] = []
        self.greeting: tuple[int, ...] = ()
        self.known: list[int] = []
        self.client = FeedClient(
            0,
            FeedSettings("direct", URL, None),
            self.stamper,
            random.Random(1),
            self._take,
            self._stood,
            self.budget,
            self.counts,
        )

    def _stood(self, streams: Sequence[str]) -> None:
        self.connected.append(streams)
        self.known.append(len(self.delivered))

    def _take(self, events: list[FeedEvent], _stamp: Stamp) -> None:
        self.delivered += [event.event_id for event in events]

    async def dial(self, *_arguments: object, **_options: object) -> None:
        await until(lambda: bool(self.script))
        if isinstance(first := self.script[0], StreamError):
            del self.script[0]
            raise first


Drive = Callable[[World, Callable[[], Awaitable[None]]], None]


@pytest.fixture
def driving(monkeypatch: pytest.MonkeyPatch) -> Drive:
    """Run a client over a world's script while the test does its part."""
    monkeypatch.setattr(driven, "OVERLAP_SECONDS", 0.0)
    monkeypatch.setattr(driven, "LOOK_SECONDS", 0.001)

    def drive(world: World, work: Callable[[], Awaitable[None]]) -> None:
        monkeypatch.setattr(driven, "dial", world.dial)
        monkeypatch.setattr(driven, "FeedConnection", type("Bound", (Scripted,), {"world": world}))

        async def both() -> None:
            running = asyncio.ensure_future(world.client.run())
            try:
                await work()
            finally:
                running.cancel()
                await asyncio.gather(running, return_exceptions=True)
            assert not world.counts.doors

        asyncio.run(both())

    return drive


def test_what_comes_with_the_handshake_is_delivered_after_the_connection_was_told_of(driving: Drive) -> None:
    world = World(None, None)
    world.greeting = (7, 8)

    async def work() -> None:
        await until(lambda: len(world.delivered) == 2)
        assert world.counts.doors
        world.made[0].ended.set_result(FeedError(FeedReason.CLOSED, "gone"))
        await until(lambda: len(world.delivered) == 4)

    driving(world, work)
    assert world.known == [0, 2]


def test_it_tries_until_a_connection_stands_and_counts_why_others_did_not(driving: Drive) -> None:
    refused, late = StreamError(StreamReason.REFUSED, "refused"), FeedError(FeedReason.HANDSHAKE, "no WebSocket")
    world = World(refused, refused, late, None)

    async def work() -> None:
        await until(lambda: world.counts.connected)
        world.made[-1].bring(1, 2)

    driving(world, work)
    counts = world.counts
    assert (counts.attempts, counts.connections) == (4, 1)
    assert (counts.reconnects[StreamReason.REFUSED], counts.reconnects[FeedReason.HANDSHAKE]) == (2, 1)
    assert sum(counts.reconnects.values()) == 3
    assert len(world.clock.slept) == 3
    assert world.delivered == [1, 2]
    assert world.connected == [(STREAM,)]
    # What failed is closed at once, and what stands when the client goes.
    assert [made.closed for made in world.made] == [1, 1]


def test_one_that_is_silent_is_closed_and_another_made(driving: Drive) -> None:
    world = World(None, None)

    async def work() -> None:
        await until(lambda: world.counts.connected)
        world.made[0].ended.set_result(FeedError(FeedReason.SILENT, "no event"))
        await until(lambda: world.counts.connections == 2 and world.counts.connected)

    driving(world, work)
    assert world.counts.reconnects[FeedReason.SILENT] == 1
    assert len(world.connected) == 2


def test_what_has_worked_for_long_is_tried_again_at_once(driving: Drive) -> None:
    world = World(None, None)

    async def work() -> None:
        await until(lambda: world.counts.connected)
        world.made[0].bring(1)
        world.made[0].age_seconds = driven.HEALTHY_SECONDS + 1
        world.made[0].ended.set_result(StreamError(StreamReason.RESET, "cut"))
        await until(lambda: world.counts.connections == 2)

    driving(world, work)
    assert world.clock.slept == [0.0]


@pytest.mark.parametrize("why", [ReplacementReason.AGE, ReplacementReason.NOTICE])
def test_a_replacement_delivers_each_event_once_and_in_order(driving: Drive, why: ReplacementReason) -> None:
    world = World(None, None)

    async def work() -> None:
        await until(lambda: world.counts.connected)
        old = world.made[0]
        old.bring(1, 2)
        old.told.put_nowait(why)
        await until(lambda: len(world.made) == 2 and world.counts.connections == 2)
        new = world.made[1]
        new.bring(2, 3)
        old.bring(3, 4)
        new.bring(4, 5)
        await until(lambda: world.counts.replacements[why] == 1)
        assert old.closed
        new.bring(6)

    driving(world, work)
    assert world.delivered == [1, 2, 3, 4, 5, 6]
    assert world.counts.notices == (why is ReplacementReason.NOTICE)
    assert sum(world.counts.reconnects.values()) == 0
    assert len(world.connected) == 2


def test_a_new_one_that_ends_before_it_took_over_leaves_the_old_one_at_work(driving: Drive) -> None:
    world = World(None, None, None)

    async def work() -> None:
        await until(lambda: world.counts.connected)
        old = world.made[0]
        old.bring(1)
        old.told.put_nowait(ReplacementReason.AGE)
        await until(lambda: world.counts.connections == 2)
        world.made[1].ended.set_result(StreamError(StreamReason.RESET, "cut"))
        await until(lambda: world.counts.connections == 3)
        assert not old.closed
        old.bring(2)
        world.made[2].bring(2, 3)
        await until(lambda: world.counts.replacements[ReplacementReason.AGE] == 1)

    driving(world, work)
    assert world.delivered == [1, 2, 3]
    assert world.counts.reconnects[StreamReason.RESET] == 1
    assert world.made[1].closed


def test_an_old_one_that_ends_while_the_new_one_is_refused_is_lost_and_another_is_made(driving: Drive) -> None:
    world = World(None)

    async def work() -> None:
        await until(lambda: world.counts.connected)
        old = world.made[0]
        old.told.put_nowait(ReplacementReason.AGE)
        await until(lambda: world.counts.attempts == 2)
        old.ended.set_result(StreamError(StreamReason.RESET, "cut"))
        world.script += [StreamError(StreamReason.REFUSED, "refused"), None]
        await until(lambda: world.counts.connections == 2)
        world.made[1].bring(1)

    driving(world, work)
    assert world.counts.reconnects[StreamReason.RESET] == 1
    assert (world.counts.attempts, sum(world.counts.replacements.values())) == (3, 0)
    assert world.delivered == [1]
    assert world.made[0].closed


@pytest.mark.parametrize(
    ("status", "asked", "least"),
    [(429, None, RATE_LIMIT_SECONDS), (418, 259_200.0, 259_200.0), (429, 1e9, LONGEST_WAIT_SECONDS), (503, 7.0, 7.0)],
)
def test_an_exchange_that_wants_no_attempts_has_none(
    driving: Drive, status: int, asked: float | None, least: float
) -> None:
    reason = FeedReason.HTTP_5XX if status == 503 else FeedReason.HTTP_4XX
    world = World(FeedError(reason, "no", status=status, retry_after_seconds=asked), None)

    async def work() -> None:
        await until(lambda: world.counts.connected)

    with capture_logs() as lines:
        driving(world, work)
    assert world.clock.slept[0] >= least
    assert world.counts.reconnects[reason] == 1
    assert [line["reason"] for line in lines if line["event"] == "feed lost"] == [f"http_{status}"]


def test_other_settings_reach_the_connection_that_stands_and_another_origin_replaces_it(driving: Drive) -> None:
    world = World(None, None)
    more = FeedSettings("direct", f"{URL}/ethusdt@trade", None)

    async def work() -> None:
        await until(lambda: world.counts.connected)
        old = world.made[0]
        old.bring(1)
        world.client.adopt(more)
        assert old.adopted == [more]
        old.told.put_nowait(ReplacementReason.RELOAD)
        await until(lambda: len(world.made) == 2 and world.counts.connections == 2)
        old.bring(2)
        world.made[1].bring(2, 3)
        await until(lambda: world.counts.replacements[ReplacementReason.RELOAD] == 1)

    driving(world, work)
    assert world.connected[-1] == (STREAM, "ethusdt@trade")


def test_streams_that_fall_silent_while_others_come_are_told() -> None:
    world = World()
    with capture_logs() as lines:
        assert world.client.look(0.0, {STREAM: 1}) == 0
        world.client.refused(["2 no"] * 9)
        world.client.pinged()
        world.client.answered(5_000_000)
    assert world.counts.pings[0].round_trip_ns == 5_000_000
    assert [line["times"] for line in lines if "answers" in line] == [9]
    assert world.client.tcp is world.counts.tcp_of[0]
