"""End a connection so that the peer can read the last that was said to it."""

import asyncio
import contextlib
import socket

__all__ = ["FAREWELL_SECONDS", "farewell"]

FAREWELL_SECONDS = 1.0
"""How long a peer is waited for: four round trips of the longest way there is."""
DISCARD_BYTES = 65536


def farewell(sock: socket.socket) -> "asyncio.Future[None]":
    """Say that nothing more comes, discard what the peer still sends, and close when it has closed.

    A socket that is closed over bytes which nobody has read resets the connection (RFC 1122, section 4.2.2.13). The
    reset may overtake what was said last, or be noticed by the peer's next write before that was read.

    Args:
        sock: connected and non-blocking, and watched by nobody any more.

    Returns:
        What is done when the socket is closed, after :data:`FAREWELL_SECONDS` at the latest.
    """
    loop = asyncio.get_running_loop()
    over: asyncio.Future[None] = loop.create_future()
    descriptor = sock.fileno()

    def end() -> None:
        timer.cancel()
        loop.remove_reader(descriptor)
        sock.close()
        if not over.done():
            over.set_result(None)

    def discard() -> None:
        try:
            rest = sock.recv(DISCARD_BYTES)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            rest = b""
        if not rest:
            end()

    with contextlib.suppress(OSError):
        sock.shutdown(socket.SHUT_WR)
    timer = loop.call_later(FAREWELL_SECONDS, end)
    loop.add_reader(descriptor, discard)
    return over
