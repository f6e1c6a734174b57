"""One connection of a forwarder to a receiver in the binary format, from dialled to ended."""

import asyncio
from collections.abc import Callable
from typing import TypeAlias

from daemons.errors import LinkError, StreamError
from daemons.link.messages import Ack, Welcome
from daemons.link.session import ForwarderSession
from daemons.reasons import LinkReason
from daemons.records import Stamp
from daemons.stream.connection import Connection
from daemons.stream.dial import Dialled
from daemons.stream.stamping import Stamper

__all__ = ["HEARTBEAT_SECONDS", "Ending", "Uplink"]

Ending: TypeAlias = StreamError | LinkError
"""Why a link's connection is over, or could not be made."""

READ_SECONDS = 0.1
"""Time to read what came while this process stood still."""
HEARTBEAT_SECONDS = 1.0


class Uplink:
    """Drives a session over a connection: handshake, heartbeats, acknowledgements, clock answers, silence.

    Args:
        dialled: the connected socket.
        stamper: makes stamps, and holds the clock.
        session: the protocol.
        silence_seconds: without a word from the receiver for so long the connection is given up.
        heartbeat: makes the frames of the next heartbeat.
        on_acknowledged: called with the highest sequence acknowledged.
        on_shared: called with how many other forwarders serve the path, when the receiver says so.
        on_writable: called when the kernel has room again.
        max_unsent: as of :class:`~daemons.stream.connection.Connection`.

    Attributes:
        connection: for sending events.
        ended: completes with the reason when the connection is over.
        family: of the receiver's address, for datagrams.
    """

    def __init__(
        self,
        dialled: Dialled,
        stamper: Stamper,
        session: ForwarderSession,
        *,
        silence_seconds: float,
        heartbeat: Callable[[], bytes],
        on_acknowledged: Callable[[int], None],
        on_shared: Callable[[int], None],
        on_writable: Callable[[], None],
        max_unsent: int,
    ) -> None:
        self._clock = stamper.clock
        self._session = session
        self._where = dialled.peer
        self._silence_seconds = silence_seconds
        self._heartbeat = heartbeat
        self._on_acknowledged = on_acknowledged
        self._on_shared = on_shared
        loop = asyncio.get_running_loop()
        self._welcomed: asyncio.Future[Welcome] = loop.create_future()
        self._heard_ns = self._clock.monotonic_ns()
        self._pulse: asyncio.Task[None] | None = None
        self.family = dialled.socket.family
        self.ended: asyncio.Future[Ending] = loop.create_future()
        self.connection = Connection(
            dialled.socket,
            stamper,
            on_data=self._on_data,
            on_close=self._on_close,
            on_writable=on_writable,
            peer=dialled.peer,
            max_unsent=max_unsent,
        )

    async def introduced(self, timeout_seconds: float) -> Welcome:
        """Go through the handshake and begin to send heartbeats.

        Raises:
            LinkError, StreamError: it failed, or did not end in time.
        """
        self.connection.start()
        try:
            async with asyncio.timeout(timeout_seconds):
                welcome = await self._welcomed
        except TimeoutError as error:
            raise LinkError(
                LinkReason.TIMEOUT, f"{self._where}: no handshake in time; is this a latency-receiver?"
            ) from error
        self._pulse = asyncio.get_running_loop().create_task(self._beat())
        return welcome

    def write(self, frames: bytes) -> None:
        """Send frames, once introduced."""
        self.connection.write(self._session.seal(frames))

    def close(self) -> None:
        """End the connection now."""
        if self._pulse is not None:
            self._pulse.cancel()
        self._welcomed.cancel()
        self.connection.close()

    async def _beat(self) -> None:
        while True:
            self.write(self._heartbeat())
            await self._clock.sleep(HEARTBEAT_SECONDS)
            if self._silent_seconds() > self._silence_seconds:
                # After a stall of this process there is something to read, to which the loop may come later.
                await self._clock.sleep(READ_SECONDS)
            if (silent_seconds := self._silent_seconds()) > self._silence_seconds:
                self._finish(
                    LinkError(LinkReason.SILENT, f"{self._where}: no word from the receiver for {silent_seconds:.1f} s")
                )

    def _silent_seconds(self) -> float:
        return (self._clock.monotonic_ns() - self._heard_ns) / 1e9

    def _on_data(self, data: bytes, stamp: Stamp) -> None:
        self._heard_ns = stamp.steady_ns
        try:
            told = self._session.receive_data(data, stamp, self._clock.wall_ns)
        except LinkError as error:
            self._finish(error)
            return
        if answer := self._session.data_to_send():
            self.connection.write(answer)
        highest = None
        for one in told:
            if isinstance(one, Ack):
                highest = one.highest
            else:
                self._on_shared(one.others)
        if highest is not None:
            self._on_acknowledged(highest)
        if self._session.welcome is not None and not self._welcomed.done():
            self._welcomed.set_result(self._session.welcome)

    def _on_close(self, error: StreamError | None) -> None:
        self._finish(error or LinkError(LinkReason.CLOSED, f"{self._where}: closed by the receiver"))

    def _finish(self, error: Ending) -> None:
        if not self._welcomed.done():
            self._welcomed.set_exception(error)
        elif not self.ended.done():
            self.ended.set_result(error)
