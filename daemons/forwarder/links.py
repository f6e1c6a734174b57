"""The links of a forwarder: one to each destination, opened, changed and closed while events go on."""

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

import structlog

from daemons.link.sending.sender import LinkCounts, LinkSender
from daemons.link.sending.settings import LinkSettings
from daemons.reasons import LinkReason
from daemons.service.lifecycle import end

__all__ = ["Links"]


class Links:
    """Keeps a sender, and the task that runs it, for each destination.

    Args:
        make: makes the sender of a link, which begins after all that was numbered before, and goes on counting.
        start: runs a sender in the background.

    Attributes:
        open: senders by destination.
        left: counts of destinations that a reload took away: they go on when one comes back.
    """

    def __init__(
        self,
        make: Callable[[LinkSettings, LinkCounts | None], LinkSender],
        start: Callable[[Coroutine[Any, Any, None]], "asyncio.Task[None]"],
    ) -> None:
        self._make = make
        self._start = start
        self.open: dict[str, LinkSender] = {}
        self.left: dict[str, LinkCounts] = {}
        self.tasks: dict[str, asyncio.Task[None]] = {}
        self._log = structlog.get_logger("forwarder")

    def prepare(self, wanted: Mapping[str, LinkSettings]) -> None:
        """Make the senders of a daemon that does not run yet; what they are offered waits."""
        self.open = {name: self._make(settings, None) for name, settings in wanted.items()}

    def start(self) -> None:
        """Begin to connect."""
        self.tasks = {name: self._start(sender.run()) for name, sender in self.open.items()}

    @property
    def senders(self) -> tuple[LinkSender, ...]:
        """The senders of all destinations."""
        return tuple(self.open.values())

    async def change(self, wanted: Mapping[str, LinkSettings], drain_seconds: float) -> None:
        """Go on with other destinations, or other settings for them.

        Args:
            wanted: settings by destination.
            drain_seconds: how long one that goes, or needs another format or transport, may deliver what it has.
        """
        await asyncio.gather(
            *(
                self._change(name, wanted[name], drain_seconds) if name in wanted else self._close(name, drain_seconds)
                for name in tuple(self.open)
            )
        )
        for name, settings in wanted.items():
            if name not in self.open:
                self.open[name] = self._make(settings, self.left.pop(name, None))
                self.tasks[name] = self._start(self.open[name].run())

    async def stop(self, drain_seconds: float) -> None:
        """Let all links deliver what they have, for so long at most, and end them; nothing is offered any more."""
        await asyncio.gather(*(self._part(name, sender, drain_seconds) for name, sender in self.open.items()))

    def totals(self) -> dict[str, dict[str, Any]]:
        """Return what became of all that was offered, by destination."""
        counts = self.left | {name: sender.counts for name, sender in self.open.items()}
        return {name: _totals(one) for name, one in counts.items()}

    async def _close(self, name: str, drain_seconds: float) -> None:
        # First nothing more is offered to it: what it has is then a fixed amount, which it gets time to deliver.
        sender = self.open.pop(name)
        self.left[name] = sender.counts
        await self._part(name, sender, drain_seconds)
        self._log.info("destination taken away", link=name, **_totals(sender.counts))

    async def _part(self, name: str, sender: LinkSender, drain_seconds: float) -> None:
        """Let a link that is offered nothing any more deliver what it has, and end it."""
        await sender.drain(drain_seconds)
        if (task := self.tasks.pop(name, None)) is not None:
            await end([task])

    async def _change(self, name: str, settings: LinkSettings, drain_seconds: float) -> None:
        sender = self.open[name]
        old = sender.settings
        if settings == old:
            return
        new, former = settings.section, old.section
        if (new.transport, new.format) == (former.transport, former.format):
            if (settings.key, new.path_name, settings.local) == (old.key, former.path_name, old.local):
                sender.adopt(settings)
                return
            sender.counts.reconnects[LinkReason.RELOAD] += sender.connected
            await end([self.tasks[name]])
            sender.adopt(settings)
            self.tasks[name] = self._start(sender.run())
            return
        # Events from now on wait for it, until the old one has ended: one session has one link to a receiver at a time.
        self.open[name] = self._make(settings, sender.counts)
        await self._part(name, sender, drain_seconds)
        self.tasks[name] = self._start(self.open[name].run())


def _totals(counts: LinkCounts) -> dict[str, Any]:
    dropped = {why.name.lower(): count for why, count in counts.events.dropped.items() if count}
    return {"forwarded": counts.events.forwarded, "dropped": dropped}
