import asyncio
import contextlib
import time

from experiments.local.relay import Relay

DELAY_NS = 30_000_000
ECHOES = asyncio.Semaphore(0)


async def _echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    writer.close()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()
    ECHOES.release()


async def _through_relay(payload: bytes) -> tuple[bytes, int]:
    server = await asyncio.start_server(_echo, "127.0.0.1", 0)
    relay = Relay(server.sockets[0].getsockname()[:2], DELAY_NS)
    try:
        reader, writer = await asyncio.open_connection(*relay.start())
        begun = time.monotonic_ns()
        writer.write(payload)
        first = await asyncio.wait_for(reader.read(1), 10)
        took_ns = time.monotonic_ns() - begun
        rest = await asyncio.wait_for(reader.readexactly(len(payload) - 1), 20)
        writer.close()
        await writer.wait_closed()
        return first + rest, took_ns
    finally:
        await relay.stop()
        await asyncio.wait_for(ECHOES.acquire(), 10)
        server.close()
        await server.wait_closed()


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
            data = await asyncio.wait_for(reader.read(), 10)
            writer.close()
            await writer.wait_closed()
            return data
        finally:
            await relay.stop()

    assert asyncio.run(scenario()) == b""
