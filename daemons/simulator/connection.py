"""One client's connection: the exchange's rules for it, on top of the websockets library's server connection."""

import asyncio
import time
from dataclasses import dataclass
from typing import Any

from websockets.asyncio.server import Server, ServerConnection
from websockets.exceptions import ConnectionClosed
from websockets.frames import CloseCode, Frame, Opcode
from websockets.http11 import Request
from websockets.protocol import State
from websockets.server import ServerProtocol

from daemons.reasons import ExchangeReason
from daemons.simulator.control import MessageLimit, Subscriptions

__all__ = ["WRITE_BUFFER_BYTES", "Client", "Rules"]

WRITE_BUFFER_BYTES = 64 * 1024 * 1024
"""A client that lets more than this pile up is cut off: the exchange does not wait for anyone."""


@dataclass(frozen=True, slots=True)
class Rules:
    """How connections are treated.

    Attributes:
        messages_per_second: how many pings, pongs and requests a client may send.
        ping_interval_seconds: between pings to the client; 0 for none.
        ping_timeout_seconds: how long the pong to a ping may take.
        lifetime_seconds: a connection is ended at this age.
        silent_after_seconds: a connection gets no more events at this age, but stays open; None for never.
    """

    messages_per_second: int
    ping_interval_seconds: float
    ping_timeout_seconds: float
    lifetime_seconds: float
    silent_after_seconds: float | None = None


class Client(ServerConnection):
    """A client of the exchange.

    Every second client whose lifetime is over is cut off without a closing handshake, because both happen to real
    connections.

    Attributes:
        subscriptions: what the client listens to.
        silent: whether it gets no more events.
        end_reason: why the exchange ended the connection; None if it did not.
        culled: outdated events that were left out.
    """

    def __init__(self, protocol: ServerProtocol, server: Server, **options: Any) -> None:
        super().__init__(protocol, server, **options)
        self.silent = False
        self.end_reason: ExchangeReason | None = None
        self._outbox: dict[str | int, bytes] = {}
        self._queued = 0
        self.culled = 0
        self._ending: asyncio.Task[None] | None = None

    def admit(self, subscriptions: Subscriptions, rules: Rules) -> None:
        """Say what the client listens to and how it is treated; before the opening handshake is answered."""
        self.subscriptions = subscriptions
        self._rules = rules
        self._limit = MessageLimit(rules.messages_per_second)

    async def live(self, number: int) -> None:
        """Enforce the rules until the connection ends; run as a task beside the one that receives.

        Args:
            number: the count of clients up to this one, from 1.
        """
        rules = self._rules
        expire = self._cut if number % 2 == 0 else self._expire
        timers = [self.loop.call_later(rules.lifetime_seconds, expire)]
        if rules.silent_after_seconds is not None:
            timers.append(self.loop.call_later(rules.silent_after_seconds, self._fall_silent))
        try:
            while rules.ping_interval_seconds:
                await asyncio.sleep(rules.ping_interval_seconds)
                await self._ping()
            await self.wait_closed()
        except ConnectionClosed:
            pass
        finally:
            for timer in timers:
                timer.cancel()

    def queue(self, frame: bytes, instead_of: str | None = None) -> None:
        """Take a whole frame for the next :meth:`flush`.

        Args:
            frame: to write.
            instead_of: of what it takes the place, if that is not written yet; None for a frame that all others stay
                beside.
        """
        self._queued += 1
        if instead_of is not None and self._outbox.pop(instead_of, None) is not None:
            self.culled += 1
        self._outbox[self._queued if instead_of is None else instead_of] = frame

    def flush(self) -> int:
        """Write all queued frames at once; return how many went out.

        The frames were made once for all clients, so they go to the transport directly: a server's frames are not
        masked (RFC 6455 section 5.1), and no extension is negotiated that would change them.
        """
        count = len(self._outbox)
        if self.protocol.state is not State.OPEN or self.transport.is_closing():
            count = 0
        elif self.transport.get_write_buffer_size() > WRITE_BUFFER_BYTES:
            count = 0
            self.end_reason = self.end_reason or ExchangeReason.SLOW
            self.transport.abort()
        else:
            self.transport.write(b"".join(self._outbox.values()))
        self._outbox.clear()
        return count

    def end(self, reason: ExchangeReason, code: int, text: str) -> None:
        """Start the closing handshake, unless the end has begun; the receiving side will see it.

        Args:
            reason: for the totals.
            code: the WebSocket close code.
            text: the WebSocket close reason.
        """
        if self._ending is None:
            self.end_reason = self.end_reason or reason
            self._ending = self.loop.create_task(self.close(code, text))

    def process_event(self, event: Any) -> None:
        """Count every message before the library sees it (websockets calls this for each incoming frame)."""
        counted = isinstance(event, Frame) and event.opcode in (
            Opcode.TEXT,
            Opcode.BINARY,
            Opcode.PING,
            Opcode.PONG,
        )
        if counted and self._limit.exceeded(time.monotonic_ns()):
            self.end(ExchangeReason.TOO_MANY_MESSAGES, CloseCode.POLICY_VIOLATION, "Too many requests")
            return
        assert isinstance(event, Frame | Request)
        super().process_event(event)

    async def _ping(self) -> None:
        pong = await self.ping(str(time.time_ns() // 1_000_000))
        timer = self.loop.call_later(
            self._rules.ping_timeout_seconds,
            self.end,
            ExchangeReason.NO_PONG,
            CloseCode.POLICY_VIOLATION,
            "Pong timeout",
        )
        # The library resolves it when a pong answers this or a later ping, and when the connection is lost.
        asyncio.ensure_future(pong).add_done_callback(lambda _: timer.cancel())

    def _expire(self) -> None:
        self.end(ExchangeReason.EXPIRED, CloseCode.GOING_AWAY, "Connection lifetime is over")

    def _cut(self) -> None:
        self.end_reason = self.end_reason or ExchangeReason.EXPIRED
        self.transport.abort()

    def _fall_silent(self) -> None:
        self.silent = True
