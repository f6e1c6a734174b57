"""How an interface's clock and this host's system clock relate, so that stamps of the one can be told in the other.

Neither keeps still: each has a rate of its own, which its keeper changes. So the relation is measured again and again,
its rate is followed, and what does not follow from what was measured before is a step: nothing is told across one.
"""

from collections import deque
from collections.abc import Sequence
from typing import Final

import msgspec

__all__ = ["ClockRelation", "Triple"]

Triple = tuple[int, int, int]
"""The system clock before, the other clock, and the system clock after, in nanoseconds."""

_LAST: Final = 16
_NEEDED: Final = 3
"""Two make a rate, the third agrees with it."""
_WIDEST_NS: Final = 100_000
"""A reading that took longer says too little."""
_RATE_CHANGE: Final = 20e-6
"""Of two successive measurements: a crystal changes by less than 1 ppm, and keepers slew in small steps."""
_FIRST_RATE: Final = 1e-3
"""Before a rate is known: free crystals are off by 100 ppm, and chrony slews by 1,000 at most."""
_STALE_NS: Final = 3_000_000_000


class _Point(msgspec.Struct, frozen=True, gc=False):
    """What one measurement found: by how much the other clock is ahead, and by how much that can be wrong."""

    other_ns: int
    ahead_ns: int
    error_ns: int


class ClockRelation:
    """Follows one clock against the other.

    Attributes:
        steps: how often what was measured did not follow from what came before.
        error_ns: by how much a stamp told until the next measurement can be wrong, while one can be told.
    """

    def __init__(self) -> None:
        self._points: deque[_Point] = deque(maxlen=_LAST)
        self._rate = 0.0
        self.steps = 0
        self.error_ns = 0

    @property
    def usable(self) -> bool:
        """Whether enough is known to tell a stamp."""
        return len(self._points) >= _NEEDED

    def observe(self, readings: Sequence[Triple]) -> None:
        """Take in readings made at once, of which the quickest counts."""
        possible = [one for one in readings if 0 <= one[2] - one[0] <= 2 * _WIDEST_NS]
        if not possible:
            return
        before_ns, other_ns, after_ns = min(possible, key=lambda one: one[2] - one[0])
        error_ns = (after_ns - before_ns) // 2 + 1
        point = _Point(other_ns, other_ns - (before_ns + after_ns) // 2, error_ns)
        if self._points and not self._follows(point):
            self.steps += 1
            self.forget()
        self._points.append(point)
        first = self._points[0]
        span_ns = other_ns - first.other_ns
        passed_ns = span_ns if len(self._points) < _NEEDED else other_ns - self._points[-2].other_ns
        self.error_ns = error_ns + round(_RATE_CHANGE * passed_ns)
        self._rate = (point.ahead_ns - first.ahead_ns) / span_ns if span_ns else 0.0

    def forget(self) -> None:
        """Begin anew: one of the clocks was stepped, or cannot be read."""
        self._points.clear()
        self._rate = 0.0

    def to_system(self, other_ns: int) -> int | None:
        """Tell a moment of the other clock in the system's; None where that is not known."""
        if not self.usable:
            return None
        last = self._points[-1]
        age_ns = other_ns - last.other_ns
        if not -_STALE_NS < age_ns < _STALE_NS:
            return None
        return other_ns - last.ahead_ns - round(self._rate * age_ns)

    def _follows(self, point: _Point) -> bool:
        last = self._points[-1]
        passed_ns = point.other_ns - last.other_ns
        if passed_ns <= 0:
            return False
        uncertain = _RATE_CHANGE if len(self._points) > 1 else _FIRST_RATE
        expected_ns = last.ahead_ns + round(self._rate * passed_ns)
        return abs(point.ahead_ns - expected_ns) <= point.error_ns + last.error_ns + uncertain * passed_ns
