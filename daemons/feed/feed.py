"""A feed over as many connections as its streams need, and several for each where that is asked for.

What several connections bring of the same streams is merged: see :mod:`daemons.feed.merge`.
"""

import asyncio
import random
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from daemons.feed.client import FeedClient
from daemons.feed.counts import FeedCounts
from daemons.feed.endpoints import same_exchange
from daemons.feed.merge import Merge
from daemons.feed.settings import FeedSettings
from daemons.records import FeedEvent, Stamp
from daemons.stream.stamping import Stamper
from daemons.timing.backoff import AttemptBudget

__all__ = ["Feed"]


class Feed:
    """A feed for the life of the daemon, over as many connections as its streams need.

    Args:
        settings: of each connection.
        stamper: makes the arrival stamps, and holds the clock.
        rng: for the back-off.
        on_events: called with the events of each read and its stamp. The last event was completed by the stamped
            packet; those before it may have arrived earlier.
        on_connected: called with a connection's streams when it is established, before its first event, and when
            another takes over from it.
        connections: how many to have for each of the settings, on different addresses where there are; the first to
            bring an event delivers it.
        budget: of attempts; one for all feeds of a process, for exchanges count by address.
        counts: those of the feed that this one takes over from, to count on.
    """

    def __init__(
        self,
        settings: Sequence[FeedSettings],
        stamper: Stamper,
        rng: random.Random,
        on_events: Callable[[list[FeedEvent], Stamp], None],
        on_connected: Callable[[Sequence[str]], None] | None = None,
        *,
        connections: int = 1,
        budget: AttemptBudget | None = None,
        counts: FeedCounts | None = None,
    ) -> None:
        self.counts = counts or FeedCounts()
        self.counts.needed, self.counts.each = len(settings), connections
        self.counts.standings = {}
        self._on_events, self._on_connected = on_events, on_connected
        self._settings = settings
        budget = budget or AttemptBudget()
        self._clients: list[FeedClient] = []
        for one in settings:
            merge = Merge(connections)
            for turn in range(connections):
                number, taking, connected = len(self._clients), on_events, on_connected
                if connections > 1:
                    taking = partial(self._merged, merge, turn)
                    connected = partial(self._stood, merge, turn, number)
                    self.counts.standings[number] = merge.standings[turn]
                self._clients.append(FeedClient(number, one, stamper, rng, taking, connected, budget, self.counts))

    @property
    def streams(self) -> tuple[str, ...]:
        """The names by which its streams are known."""
        return tuple(name for one in self._settings for name in one.streams)

    @property
    def json_streams(self) -> tuple[str, ...]:
        """Those of them that come in JSON."""
        return tuple(name for one in self._settings if not one.sbe for name in one.streams)

    async def run(self) -> None:
        """Stay connected until cancelled."""
        async with asyncio.TaskGroup() as group:
            for client in self._clients:
                group.create_task(client.run())

    def _merged(self, merge: Merge, turn: int, events: list[FeedEvent], stamp: Stamp) -> None:
        for batch, its_stamp in merge.take(turn, events, stamp):
            self._on_events(batch, its_stamp)

    def _stood(self, merge: Merge, turn: int, number: int, streams: Sequence[str]) -> None:
        """Note a connection of several that was made anew, or took over."""
        beside = range(number - turn, number - turn + self.counts.each)
        alone = not any(other in self.counts.doors for other in beside if other != number)
        merge.renew(turn, alone=alone)
        # What others go on bringing meanwhile is one series of delays.
        if alone and self._on_connected is not None:
            self._on_connected(streams)

    def adopt(self, settings: Sequence[FeedSettings], connections: int = 1) -> bool:
        """Go on with other settings, replacing connections without a gap where they need another one.

        Returns:
            Whether that can be: not where the number of connections changes, or the exchange, with other ids.
        """
        each = [one for one in settings for _turn in range(connections)]
        alike = (len(settings), connections) == (self.counts.needed, self.counts.each) and all(
            same_exchange(one.url, client.settings.url) for one, client in zip(each, self._clients, strict=True)
        )
        if alike:
            self._settings = settings
            for client, one in zip(self._clients, each, strict=True):
                client.adopt(one)
        return alike

    def look(self, now: float, events: Mapping[str, int]) -> None:
        """See whether any stream has fallen silent while others go on; call it a few times a second.

        Args:
            now: seconds on any steady scale.
            events: how many events of each stream have come so far.
        """
        # Of several connections with the same streams one look tells of all: what counts is what they bring together.
        self.counts.silent_streams = sum(client.look(now, events) for client in self._clients[:: self.counts.each])
