import asyncio
import time

from experiments.local.relay import Relay
from tests.served import served

DELAY_NS = 30_000_000
ECHOES = asyncio.Semaphore(0)


async def _echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    ECHOES.release()


async def _through_relay(payload: bytes) -> tuple[bytes, int]:
    async with served(_echo) as port:
        return await _echoed(Relay(("127.0.0.1", port), DELAY_NS), payload)


async def _echoed(relay: Relay, payload: bytes) -> tuple[bytes, int]:
    try:
        reader, writer = await asyncio.open_connection(*relay.start())
        begun = time.monotonic_ns()
        writer.write(payload)
        first = await asyncio.wait_for(reader.read(1), 300)
        took_ns = time.monotonic_ns() - begun
        rest = await asyncio.wait_for(reader.readexactly(len(payload) - 1), 300)
        writer.close()
        await writer.wait_closed()
        return first + rest, took_ns
    finally:
        await relay.stop()
        await asyncio.wait_for(ECHOES.acquire(), 300)


def test_bytes_arrive_whole_in_order_and_not_before_their_time() -> None:
    payload = bytes(range(256)) * 8192
    answer, took_ns = asyncio.run(_through_relay(payload))
    assert answer == payload
    assert took_ns >= 2 * DELAY_NS


def test_a_target_that_refuses_ends_the_connection() -> None:
    async def scenario() -> bytes:
        relay = Relay(("127.0.0.1", 1), DELAY_NS)
        try:
            reader, writer = await asyncio.open_connection(*relay.start())
            data = await asyncio.wait_for(reader.read(), 300)
            writer.close()
            await writer.wait_closed()
            return data
        finally:
            await relay.stop()

    assert asyncio.run(scenario()) == b""
