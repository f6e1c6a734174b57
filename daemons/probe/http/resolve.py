"""Name to address, in a thread of its own, stamped there."""

import asyncio
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from daemons.probe.attempt import AttemptError, Reason
from daemons.stream.descriptors import lacking
from daemons.stream.dial import reason_of
from daemons.timing.clock import Clock

__all__ = ["Lookup", "Resolved", "Resolver"]

MAX_OUTSTANDING = 256
"""Look-ups at a time. getaddrinfo(3) cannot be cancelled: one that hangs keeps its thread until the C library gives
up, half a minute later."""

Lookup = Callable[[str, int, int], list[Any]]
"""Host, port and address family in; what ``socket.getaddrinfo`` returns out."""


def _system(host: str, port: int, family: int) -> list[Any]:
    return socket.getaddrinfo(host, port, family, socket.SOCK_STREAM)


@dataclass(frozen=True, slots=True)
class Resolved:
    """The answer to a look-up.

    Attributes:
        family: AF_INET or AF_INET6.
        address: for connect(2).
        done_ns: when it was known, by the monotonic clock.
    """

    family: int
    address: tuple[Any, ...]
    done_ns: int


class Resolver:
    """Resolves as every other program of this host does: getaddrinfo(3), its first address (RFC 6724 order).

    Each look-up has a thread to itself, so that none waits behind a name whose server is dead, and so that the instant
    it is done is taken when it is done and not when the event loop comes round to it.

    Args:
        clock: for the stamps.
        lookup: replaces getaddrinfo(3).
    """

    def __init__(self, clock: Clock, lookup: Lookup = _system) -> None:
        self._clock = clock
        self._lookup = lookup
        self.outstanding = 0

    async def resolve(self, host: str, port: int, family: int) -> Resolved:
        """Look a name up.

        Raises:
            AttemptError: the name does not resolve, or too many look-ups hang already.
        """
        if self.outstanding >= MAX_OUTSTANDING:
            raise AttemptError(Reason.LOCAL, f"{host}: {self.outstanding} look-ups hang already; check the resolver")
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Resolved] = loop.create_future()
        work = (loop, answer, host, port, family)
        try:
            # A daemon thread: a look-up that hangs must not hold up the end of the program.
            threading.Thread(target=self._work, args=work, daemon=True, name=f"dns-{host}").start()
        except RuntimeError as error:
            raise AttemptError(Reason.LOCAL, f"{host}: {error}; raise TasksMax") from error
        self.outstanding += 1
        return await answer

    def _work(
        self, loop: asyncio.AbstractEventLoop, answer: "asyncio.Future[Resolved]", host: str, port: int, family: int
    ) -> None:
        result: Resolved | Exception
        try:
            found = self._lookup(host, port, family)
            result = Resolved(found[0][0], found[0][4], self._clock.monotonic_ns())
        except (OSError, UnicodeError) as error:
            result = _failure(host, error)
        except Exception as error:  # noqa: BLE001 else the attempt would hang, and the look-up count for ever
            result = error
        try:
            loop.call_soon_threadsafe(self._deliver, answer, result)
        except RuntimeError:
            # The loop has ended, and with it everyone who wanted to know.
            return

    def _deliver(self, answer: "asyncio.Future[Resolved]", result: Resolved | Exception) -> None:
        self.outstanding -= 1
        if answer.done():
            return
        if isinstance(result, Resolved):
            answer.set_result(result)
        else:
            answer.set_exception(result)


def _failure(host: str, error: Exception) -> AttemptError:
    if (lack := lacking()) is not None:
        return AttemptError(Reason.LOCAL, str(reason_of(lack, host)))
    why = getattr(error, "strerror", None) or str(error)
    return AttemptError(Reason.DNS, f"{host}: does not resolve: {why}; check the name and the resolver")
