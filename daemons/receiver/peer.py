"""One life of a forwarder on a path: its clock, and what it says of itself."""

from collections import deque
from collections.abc import Iterable
from math import inf

from daemons.records import UNKNOWN_CLOCK, ClockState
from daemons.timing.exchange import ClockSample
from daemons.timing.plausibility import ClockJudge

__all__ = ["Peer", "least_trusted"]


class Peer:
    """What is known of a forwarder's life; each has a clock of its own, however many share a path.

    Attributes:
        connected: whether it is connected now.
        clock: its clock, as it says; None before it has said anything.
        judge: compares its clock with ours.
        suspect: why the two do not fit together; empty while they do.
        drops: events that it has given up, by reason.
        tails: numbers announced as used, each with the time by which it was said, whose events may still be on the way.
        newest_ns: newest stamp of a forwarder whose format has no sessions.
    """

    __slots__ = ("clock", "connected", "drops", "judge", "newest_ns", "suspect", "tails")

    def __init__(self) -> None:
        self.connected = False
        self.clock: ClockState | None = None
        self.judge = ClockJudge()
        self.suspect = ""
        self.drops: dict[str, int] = {}
        self.tails: deque[tuple[int, int]] = deque()
        self.newest_ns: int | None = None

    @property
    def exchange(self) -> ClockSample | None:
        """The exchange to believe."""
        return self.judge.best

    def tell_clock(self, clock: ClockState) -> bool:
        """Take in what it says of its clock; return whether that was stepped, so that nothing before counts."""
        before, self.clock = self.clock, clock
        if before is None or before.steps == clock.steps:
            return False
        self.judge.clear()
        return True


def least_trusted(peers: Iterable[Peer]) -> ClockState:
    """Return the clock of which the least can be said: a path's figures are as good as the worst that is in them."""
    clocks = [peer.clock for peer in peers if peer.clock is not None]
    return max(
        clocks,
        key=lambda clock: (not clock.synchronized, inf if clock.error_bound_ns is None else clock.error_bound_ns),
        default=UNKNOWN_CLOCK,
    )
