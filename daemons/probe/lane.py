"""The slots of one target on one kind of connection: every slot is either an attempt or counted as missed."""

import asyncio
import math
from typing import Any, Protocol

from daemons.probe.attempt import Attempt, ConnectionKind, Judge, Reason, Reconnect
from daemons.probe.faults import Faults
from daemons.probe.target import Target

__all__ = ["Asker", "ColdLane", "Lane", "Observer", "WarmLane"]

INSPECTION_NS = 600_000_000_000
"""How often a certificate that is refused is looked at again for its expiry."""


class Kept(Protocol):
    """A connection that has answered, and may serve another request."""

    def watch(self) -> None:
        """Answer what the server says while nothing is asked."""

    async def lost(self) -> Reconnect | None:
        """Say why it serves no other request; None when it may."""

    def close(self) -> None:
        """Close it."""


class Asker(Protocol):
    """Makes the attempts, as :class:`~daemons.probe.prober.Prober` does.

    Attributes:
        faults: of attempts, by target.
    """

    faults: Faults

    async def attempt(
        self, target: Target, intended_ns: int, wire: Any = None, *, keep: bool = False, judge: Judge | None = None
    ) -> tuple[Attempt, Any]:
        """Make one attempt; ``wire`` is a connection that it has given back before, a :class:`Kept`, or None."""

    def broken(self, target: Target, kind: ConnectionKind, intended_ns: int, error: Exception) -> Attempt:
        """Make the record of an attempt of which nothing is known but what broke it off."""

    async def inspect(self, target: Target) -> int | None:
        """Find out when a certificate that was refused expires, in Unix time."""


class Observer(Protocol):
    """Is told of what happens in a lane."""

    def expected(self, kind: ConnectionKind, slots: int) -> None:
        """So many slots have come."""

    def missed(self, kind: ConnectionKind, slots: int) -> None:
        """So many of them went by without an attempt."""

    def sent(self, kind: ConnectionKind) -> None:
        """One of them has an attempt, which begins now."""

    def finished(self, kind: ConnectionKind, attempt: Attempt) -> None:
        """An attempt of this lane has ended; in a warm lane it was a cold one if it had to connect.

        It is counted before anything else is done with it: attempts begun = successes + failures + those under way.
        """

    def reconnecting(self, why: Reconnect) -> None:
        """A connection serves no other request, and a new one is made."""

    def certificate(self, expiry_seconds: int) -> None:
        """A refused certificate expires then."""


class Lane:
    """What both kinds share: accounting of slots, tasks, and the look at refused certificates."""

    kind: ConnectionKind

    def __init__(self, target: Target, prober: Asker, observer: Observer, most: int) -> None:
        self._target = target
        self.target = target.name
        self._prober = prober
        self._observer = observer
        self._most = most
        self._tasks: set[asyncio.Task[None]] = set()
        self._inspected_ns: int | None = None

    def slot(self, intended_ns: int, missed: int) -> bool:
        """Use a slot, or count it as missed when as many attempts as may be are under way.

        Returns:
            Whether an attempt was begun.
        """
        observer = self._observer
        observer.expected(self.kind, missed + 1)
        begun = len(self._tasks) < self._most
        if not begun:
            missed += 1
        else:
            observer.sent(self.kind)
            task = asyncio.get_running_loop().create_task(self._account(intended_ns))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        if missed:
            observer.missed(self.kind, missed)
        return begun

    async def idle(self) -> None:
        """Wait until no attempt is under way."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    async def close(self) -> None:
        """Break off what is under way."""
        tasks = tuple(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _account(self, intended_ns: int) -> None:
        """Use a slot. Whatever happens in it ends here, as one attempt that is counted."""
        try:
            attempt = await self._use(intended_ns)
        except Exception as error:  # noqa: BLE001 an attempt that is lost is one that nobody misses
            attempt = self._prober.broken(self._target, self.kind, intended_ns, error)
        try:
            for why in attempt.retried:
                self._observer.reconnecting(why)
            self._observer.finished(self.kind, attempt)
            await self._inspect(attempt)
        except Exception as error:  # noqa: BLE001 the attempt is counted; what failed after that is not its fault
            self._prober.faults.note(error, self.target)

    async def _use(self, intended_ns: int) -> Attempt:
        raise NotImplementedError

    async def _inspect(self, attempt: Attempt) -> None:
        if attempt.reason is not Reason.CERTIFICATE or attempt.instants.end is None:
            return
        if self._inspected_ns is None or attempt.instants.end - self._inspected_ns >= INSPECTION_NS:
            self._inspected_ns = attempt.instants.end
            expiry = await self._prober.inspect(self._target)
            if expiry is not None:
                self._observer.certificate(expiry)


class ColdLane(Lane):
    """Every slot on a connection of its own; attempts may overlap when the timeout exceeds the interval.

    Args:
        target: whom to ask.
        prober: makes the attempts.
        observer: is told of them.
        judge: has the last word on an answer.
    """

    kind = ConnectionKind.COLD

    def __init__(self, target: Target, prober: Asker, observer: Observer, judge: Judge | None = None) -> None:
        # One more than can be under way by the timeout, for the moments between its expiry and the end of the attempt.
        most = math.ceil(target.section.timeout_seconds * 1e9 / target.interval_ns) + 1
        super().__init__(target, prober, observer, most)
        self._judge = judge

    async def _use(self, intended_ns: int) -> Attempt:
        attempt, _wire = await self._prober.attempt(self._target, intended_ns, judge=self._judge)
        return attempt


class WarmLane(Lane):
    """All slots on one kept connection, one after the other.

    A slot that finds no usable connection makes one: its request is a cold one, and warm requests follow it.

    Args:
        target: whom to ask.
        prober: makes the attempts.
        observer: is told of them.
    """

    kind = ConnectionKind.WARM

    def __init__(self, target: Target, prober: Asker, observer: Observer) -> None:
        super().__init__(target, prober, observer, most=1)
        self._wire: Kept | None = None
        self._lost: Reconnect | None = None

    async def close(self) -> None:
        """Break off what is under way, and close the connection."""
        await super().close()
        if self._wire is not None:
            self._wire.close()
            self._wire = None

    async def _use(self, intended_ns: int) -> Attempt:
        wire, self._wire = self._wire, None
        # Unless something else turns out.
        self._lost = Reconnect.FAILED if wire is not None else self._lost
        try:
            if wire is not None and (lost := await wire.lost()) is not None:
                self._lost = lost
                wire.close()
                wire = None
        except BaseException:
            if wire is not None:
                wire.close()
            raise
        if wire is None and self._lost is not None:
            self._observer.reconnecting(self._lost)
        self._lost = None
        attempt, self._wire = await self._prober.attempt(self._target, intended_ns, wire, keep=True)
        if self._wire is None:
            self._lost = attempt.lost
        else:
            self._wire.watch()
        return attempt
