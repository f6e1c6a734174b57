"""Waiting in an event loop for what only counters show."""

import asyncio
from collections.abc import Callable

__all__ = ["until"]


async def until(holds: Callable[[], bool]) -> None:
    """Look again and again until something holds; TimeoutError when it does not come to hold."""
    async with asyncio.timeout(300):
        while not holds():  # noqa: ASYNC110 what is waited for are plain counters
            await asyncio.sleep(0.001)
