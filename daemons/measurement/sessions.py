"""The sessions of a path's forwarders: which numbers each has used, which of them came, and which cannot be true."""

from collections.abc import Hashable
from typing import Final

from daemons.measurement.identity import MAX_JUMP, confirms
from daemons.measurement.sequence import SequenceTracker

__all__ = ["MAX_SESSIONS", "Sessions"]

MAX_SESSIONS: Final = 16


class Sessions:
    """Keeps an account of sequence numbers for each session, of a bounded number of them.

    Args:
        invalid: counts what is refused, under ``absurd_sequence`` and ``absurd_announcement``.

    Attributes:
        trackers: the accounts by session.
        closed: what became of the numbers of sessions that are not remembered any more.
        seen: how many there ever were.
        numbers: of each that is remembered, the how manieth it was.
        leaps: how often a session's numbering moved further than can be told from nonsense by one event.
    """

    def __init__(self, invalid: dict[str, int]) -> None:
        self._invalid = invalid
        self.trackers: dict[Hashable, SequenceTracker] = {}
        self.closed = SequenceTracker()
        self.seen = 0
        self.numbers: dict[Hashable, int] = {}
        self.leaps = 0
        self._unreachable: dict[Hashable, int] = {}
        self._turns = 0
        self._heard: dict[Hashable, int] = {}
        """Per session, in which turn it was last heard of."""

    def open(self, key: Hashable, base: int, *, lossless: bool = False) -> SequenceTracker:
        """Return the account of a session, begun after ``base`` if it is new.

        Where ``base`` is above all that has been seen, what lies between was used before this link was there (its
        destination was taken away and added again): the account goes on after it.

        Args:
            key: the session.
            base: the highest number that is not this account's.
            lossless: whether all that is sent arrives (TCP): what is missing was given up by the forwarder.
        """
        tracker = self.trackers.get(key)
        if tracker is None:
            while len(self.trackers) >= MAX_SESSIONS:
                # Who was heard of last: one that lives does not give way to newcomers, however early it joined.
                quietest = min(self.trackers, key=self._heard.__getitem__)
                self._end(quietest)
                del self.numbers[quietest]
            self.seen += 1
            self.numbers[key] = self.seen
        elif tracker.lossless != lossless or base > tracker.highest:
            # Or its transport was changed by a reload: what is missing means something else from here on.
            base = max(base, tracker.highest)
            self._end(key)
        else:
            return tracker
        return self._begin(key, base, lossless=lossless)

    def hear(self, key: Hashable) -> None:
        """Note that a session lives."""
        self._turns += 1
        self._heard[key] = self._turns

    def announce(self, key: Hashable, highest: int, now_ns: int) -> None:
        """Take in that a session has sent up to ``highest``."""
        tracker = self.trackers.get(key)
        if tracker is None:
            return
        self.hear(key)
        if highest - tracker.highest > MAX_JUMP:
            self.follow(key, highest, announced=True)
        else:
            tracker.announce(highest, now_ns)

    def give_up(self, key: Hashable, first: int, last: int, now_ns: int) -> None:
        """Take in that a session has used the numbers from ``first`` to ``last`` and never sent them."""
        tracker = self.trackers.get(key)
        if tracker is None:
            return
        if last - tracker.highest > MAX_JUMP:
            self.follow(key, last, announced=True)
        else:
            tracker.give_up(first, last, now_ns)

    def follow(self, key: Hashable, sequence: int, *, announced: bool = False) -> SequenceTracker | None:
        """Judge a number that cannot be reached: None for nonsense, else the account that begins there.

        Args:
            key: the session.
            sequence: the number.
            announced: it is not an event's, but said to be used already; said again it holds.
        """
        before = self._unreachable.get(key)
        self._unreachable[key] = sequence
        if not confirms(sequence + announced, before):
            self._invalid["absurd_announcement" if announced else "absurd_sequence"] += 1
            return None
        # A second one right after it: the forwarder has counted on through a long outage. What that cost it tells.
        lossless = self.trackers[key].lossless
        self._end(key)
        self.leaps += 1
        return self._begin(key, sequence if announced else sequence - 1, lossless=lossless)

    def _begin(self, key: Hashable, base: int, *, lossless: bool) -> SequenceTracker:
        self.hear(key)
        tracker = self.trackers[key] = SequenceTracker(base, lossless=lossless)
        return tracker

    def _end(self, key: Hashable) -> None:
        tracker = self.trackers.pop(key)
        tracker.finish()
        self.closed.add(tracker)
        self._unreachable.pop(key, None)
        self._heard.pop(key, None)
