"""Whether the clocks of two hosts fit together, as far as traffic between them can tell.

Three rules, each with what physics says: no packet arrives before it left; none that was not held up takes longer one
way than the fastest round trip; and two statements about one offset, each with its bound, have to overlap.
"""

from collections import deque

from daemons.records import ClockState
from daemons.timing.exchange import ClockFilter, ClockSample

__all__ = ["ClockJudge"]

WINDOW = 16
SLACK_NS = 100_000
"""Processes wait their turn for some tens of microseconds: on a link as short as that the fastest exchange can have
escaped what every event met."""


class ClockJudge:
    """Compares exchanges, one-way delays and clock states over the last exchanges.

    Args:
        window: how many exchanges, and intervals between them, are remembered.
    """

    def __init__(self, window: int = WINDOW) -> None:
        self._filter = ClockFilter(window)
        self._least: deque[int] = deque(maxlen=window)

    @property
    def best(self) -> ClockSample | None:
        """The exchange to believe: the peer's clock minus ours, true to half its round trip."""
        return self._filter.best

    def clear(self) -> None:
        """Forget all: a clock was stepped, or the peer is another."""
        self._filter.clear()
        self._least.clear()

    def judge(self, sample: ClockSample, least_one_way_ns: int | None, ours: ClockState, theirs: ClockState) -> str:
        """Take in an exchange and what came with it.

        Args:
            sample: the exchange.
            least_one_way_ns: least one-way delay since the last exchange; None when nothing was measured.
            ours: this host's clock.
            theirs: the peer's clock, as it says.

        Returns:
            Why the clocks do not fit together; empty when nothing speaks against them.
        """
        self._filter.observe(sample)
        if least_one_way_ns is not None:
            self._least.append(least_one_way_ns)
        best = self._filter.best
        assert best is not None
        if least_one_way_ns is not None and least_one_way_ns < 0:
            return "one-way delay is negative"
        if self._least and min(self._least) > best.rtt_ns + SLACK_NS:
            return "one-way delay exceeds the round-trip time"
        if ours.error_bound_ns is None or theirs.error_bound_ns is None:
            return ""
        if abs(best.offset_ns) > best.rtt_ns // 2 + ours.error_bound_ns + theirs.error_bound_ns:
            return "clock exchange and clock bounds disagree"
        return ""
