"""Which doors are known, and which of them race now. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from daemons.feed.counts import FeedCounts

__all__ = ["DoorRoster", "KnownDoor", "turn_seconds"]

SHORTEST_TURN_SECONDS = 60.0
_TURNS_SHARE = 0.5
"""Of the attempts that the budget has, so much for taking turns; the rest is for connections that break."""
QUIET_BLOCKS = 6
"""A door that misses so many blocks in a row has died, or never lived: nothing waits for it."""
_STAYING = 4
"""One in so many connections is left to those that lead, so that every door is compared with them."""


@dataclass(slots=True, eq=False)
class KnownDoor:
    """One address of the exchange.

    Attributes:
        number: in the order in which doors were found.
        address: of the exchange.
        found_by: who named it: resolvers, or ``--address``.
        way: whether this host has a way to it at all.
        racing: whether a connection to it is wanted now.
        turns: how often it was its turn.
        failed: turns in a row in which it brought nothing.
        quiet: blocks in a row, while it raced, in which it was not there though others were.
        trouble: why it has no connection, in a word; "" where it has one, or was not tried.
        detail: the same in a sentence.
        events: that it brought.
        blocks: that it was there in; ``blocks_before`` of them before its present turn.
        compared: of these blocks, events that it brought, and another one too.
        first: how many of them it brought first.
        counts: of its connections.
    """

    number: int
    address: str
    found_by: set[str]
    way: bool = True
    racing: bool = False
    turns: int = 0
    failed: int = 0
    quiet: int = 0
    blocks_before: int = 0
    trouble: str = ""
    detail: str = ""
    events: int = 0
    blocks: int = 0
    compared: int = 0
    first: int = 0
    counts: FeedCounts = field(default_factory=FeedCounts)

    @property
    def stands(self) -> bool:
        """Whether it is connected now."""
        return self.racing and bool(self.counts.doors)

    @property
    def answers(self) -> bool:
        """Whether it counts among those to be compared: it has brought events, and not fallen silent since."""
        return self.blocks > 0 and self.quiet < QUIET_BLOCKS

    @property
    def pending(self) -> bool:
        """Whether it may still turn out to be the best: it has not been tried yet, or only just now."""
        return self.way and (not self.turns or (self.racing and not self.blocks and self.quiet < QUIET_BLOCKS))

    def saw(self, *, present: bool) -> None:
        """Note a block in which others brought events while it raced."""
        self.blocks += present
        self.quiet = 0 if present else self.quiet + 1


class DoorRoster:
    """The doors by number.

    Args:
        most: how many race at a time.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._by_address: dict[str, KnownDoor] = {}
        self.doors: list[KnownDoor] = []

    def add(self, address: str, found_by: str) -> KnownDoor | None:
        """Note an address and who named it; return the door if it is new."""
        known = self._by_address.get(address)
        if known is not None:
            known.found_by.add(found_by)
            return None
        made = KnownDoor(len(self.doors), address, {found_by})
        self._by_address[address] = made
        self.doors.append(made)
        return made

    def of(self, address: str) -> KnownDoor | None:
        """Return the door of an address, if it is known."""
        return self._by_address.get(address)

    @property
    def takes_turns(self) -> bool:
        """Whether there are more doors than may race at a time."""
        return sum(door.way for door in self.doors) > self._most

    def turn(self, order: Sequence[int]) -> list[KnownDoor]:
        """Choose the doors of the next turn, and note what became of the last.

        Args:
            order: doors that were compared, the earliest first.
        """
        for door in self.doors:
            if door.racing:
                door.failed = 0 if door.blocks > door.blocks_before else door.failed + 1
        able = [door for door in self.doors if door.way]
        chosen = able
        if self.takes_turns:
            leading = [self.doors[number] for number in order if self.doors[number].answers]
            staying = leading[: max(1, self._most // _STAYING)]
            # Those that failed come when all others have raced as often as they have failed.
            waiting = sorted(
                (door for door in able if door not in staying),
                key=lambda door: (door.turns + 2 * door.failed, door.blocks, door.number),
            )
            chosen = [*staying, *waiting[: self._most - len(staying)]]
        for door in self.doors:
            door.racing = door in chosen
            door.turns += door.racing
            door.blocks_before = door.blocks
        return chosen


def turn_seconds(most: int, attempts: int, window_seconds: float, block_seconds: float) -> float:
    """Say how long a turn lasts, so that taking turns uses up half of the attempts at most.

    Args:
        most: connections that may have to be made for a turn.
        attempts: allowed in any window.
        window_seconds: its length.
        block_seconds: a turn has several blocks, of which the one at its begin may be lost.
    """
    return max(SHORTEST_TURN_SECONDS, 6 * block_seconds, most * window_seconds / (_TURNS_SHARE * attempts))
