"""A server of a few lines in the test's own loop, which outlives neither its block nor who has asked it."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable

__all__ = ["Handler", "served"]

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@contextlib.asynccontextmanager
async def served(
    handler: Handler, host: str = "127.0.0.1", *, context: ssl.SSLContext | None = None
) -> AsyncIterator[int]:
    """Serve connections, and close each when its handler has ended; yields the port.

    Who hangs up before the handler has read all, as a client that is cancelled does, is no fault of either.
    """
    handling: set[asyncio.Task[None]] = set()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        handling.add(task)
        try:
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
                await handler(reader, writer)
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    async with await asyncio.start_server(handle, host, 0, ssl=context) as server:
        yield server.sockets[0].getsockname()[1]
    for task in handling:
        task.cancel()
    await asyncio.gather(*handling, return_exceptions=True)
