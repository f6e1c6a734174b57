"""An exchange that has had enough of one connection has had enough of all: bans are of addresses."""

import asyncio
import random
from collections.abc import Iterator

import pytest
import structlog
import uvloop

from daemons.feed.feed import Feed
from daemons.feed.settings import FeedSettings
from daemons.reasons import FeedReason
from daemons.stream.stamping import Stamper
from daemons.timing.backoff import AttemptBudget
from daemons.timing.clock import SystemClock
from tests.daemons.waiting import until
from tests.fakes import absent
from tests.served import served


@pytest.fixture
def stamper() -> Iterator[Stamper]:
    made = Stamper(SystemClock())
    yield made
    made.close()


async def refusing(stamper: Stamper, answer: bytes) -> tuple[int, list[str]]:
    """Have one feed refused, and start another with the same budget; return how often it tried, and what it said."""
    asked = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal asked
        asked += 1
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        await writer.drain()

    async with served(serve) as port:
        budget = AttemptBudget()
        settings = FeedSettings("refused", f"ws://127.0.0.1:{port}/ws/btcusdt@trade", None)
        feeds = [Feed([settings], stamper, random.Random(1), absent, budget=budget) for _ in range(2)]
        with structlog.testing.capture_logs() as said:
            running = [asyncio.ensure_future(feeds[0].run())]
            await until(lambda: feeds[0].counts.reconnects[FeedReason.HTTP_4XX] == 1)
            running.append(asyncio.ensure_future(feeds[1].run()))
            await until(lambda: bool(feeds[1].counts.attempts) or any("no attempt" in one["event"] for one in said))
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)
        return feeds[1].counts.attempts, [one["event"] for one in said]


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 429 Too Many Requests\r\n\r\n",
        b"HTTP/1.1 429 Too Many Requests\r\nRetry-After: 120\r\n\r\n",
        b"HTTP/1.1 418 I'm a teapot\r\nRetry-After: 120\r\n\r\n",
        # Some exchange writes when to come back, not after how long: that is not believed, and half a minute is kept.
        b"HTTP/1.1 429 Too Many Requests\r\nRetry-After: 1796000000\r\n\r\n",
    ],
)
def test_told_to_stay_away_all_connections_of_the_process_do(stamper: Stamper, answer: bytes) -> None:
    attempts, said = uvloop.run(refusing(stamper, answer))
    assert attempts == 0
    assert sum("no attempt to connect for now" in one for one in said) == 1


def test_another_refusal_keeps_nobody_else_away(stamper: Stamper) -> None:
    attempts, said = uvloop.run(refusing(stamper, b"HTTP/1.1 403 Forbidden\r\nRetry-After: 120\r\n\r\n"))
    assert attempts == 1
    assert not any("no attempt" in one for one in said)
