"""When to try again: growing delays with full jitter, and a budget of attempts."""

import random
from collections import deque

__all__ = ["AttemptBudget", "Backoff"]


class Backoff:
    """Delays of 1, 2, 4 … cap seconds, each drawn evenly from zero to itself ("full jitter").

    A crowd of clients that lost the same server comes back spread out instead of together.

    Args:
        rng: the source of randomness.
        base_seconds: the first upper limit.
        cap_seconds: the highest.
    """

    def __init__(self, rng: random.Random, *, base_seconds: float = 1.0, cap_seconds: float = 30.0) -> None:
        self._rng = rng
        self._base = base_seconds
        self.cap_seconds = cap_seconds
        self.failures = 0

    def next_seconds(self) -> float:
        """Draw the delay before the next attempt."""
        # The exponent is bounded so that years of failures do not overflow a float.
        limit = min(self.cap_seconds, self._base * 2.0 ** min(self.failures, 63))
        self.failures += 1
        return self._rng.uniform(0.0, limit)

    def reset(self) -> None:
        """Start over; to be called only after the connection has proven healthy."""
        self.failures = 0


class AttemptBudget:
    """At most so many attempts in any window, as exchanges demand per address (Binance: 300 in 5 minutes).

    Whoever is told to stay away by a host is told for all that share the budget: bans are of addresses, and another
    connection's attempt would lengthen one.
    """

    def __init__(self, attempts: int = 250, window_seconds: float = 300.0) -> None:
        self._attempts = attempts
        self._window_ns = int(window_seconds * 1e9)
        self._made: deque[int] = deque()
        self._away: dict[str, int] = {}

    def wait_seconds(self, now_ns: int, host: str = "") -> float:
        """Return how long to wait before an attempt is allowed; 0 when it is allowed now.

        Args:
            now_ns: monotonic time.
            host: that is to be tried.
        """
        away_ns = self._away.get(host, now_ns) - now_ns
        if away_ns > 0:
            return away_ns / 1e9
        while self._made and now_ns - self._made[0] >= self._window_ns:
            self._made.popleft()
        if len(self._made) < self._attempts:
            return 0.0
        return (self._made[0] + self._window_ns - now_ns) / 1e9

    def stay_away(self, host: str, seconds: float, now_ns: int) -> None:
        """Allow no attempt at a host for so long; a shorter word does not undo a longer one."""
        self._away[host] = max(self._away.get(host, 0), now_ns + int(seconds * 1e9))

    def spend(self, now_ns: int) -> None:
        """Count an attempt made now."""
        self._made.append(now_ns)
