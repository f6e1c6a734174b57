"""Clock exchange between two hosts: the on-wire protocol of NTP (RFC 5905, section 8).

With t1 and t4 by our clock and t2 and t3 by the peer's, the round-trip time needs no agreement of clocks, and the
peer's offset is known to within half the round trip, whatever the path's asymmetry.
"""

from collections import deque
from dataclasses import dataclass

__all__ = ["ClockFilter", "ClockSample", "exchange"]


@dataclass(frozen=True, slots=True)
class ClockSample:
    """One exchange: how far the peer's clock is ahead of ours, and the round-trip time, in nanoseconds."""

    offset_ns: int
    rtt_ns: int


def exchange(t1_ns: int, t2_ns: int, t3_ns: int, t4_ns: int) -> ClockSample | None:
    """Evaluate one exchange.

    Args:
        t1_ns: our clock when the question left.
        t2_ns: the peer's clock when it came.
        t3_ns: the peer's clock when the answer left.
        t4_ns: our clock when it came.

    Returns:
        Offset and round-trip time; None when the times are impossible (a clock was stepped in between).
    """
    rtt_ns = (t4_ns - t1_ns) - (t3_ns - t2_ns)
    if rtt_ns < 0 or t3_ns < t2_ns:
        return None
    return ClockSample(((t2_ns - t1_ns) + (t3_ns - t4_ns)) // 2, rtt_ns)


class ClockFilter:
    """Keeps a window of exchanges and believes the fastest: it was held up least (RFC 5905, section 10).

    Args:
        window: how many exchanges are remembered.
    """

    def __init__(self, window: int = 16) -> None:
        self._samples: deque[ClockSample] = deque(maxlen=window)

    def observe(self, sample: ClockSample) -> None:
        """Take in an exchange."""
        self._samples.append(sample)

    def clear(self) -> None:
        """Forget all: a clock was stepped, or the peer is another."""
        self._samples.clear()

    @property
    def best(self) -> ClockSample | None:
        """The exchange with the least round-trip time; its offset is true to within half of that."""
        return min(self._samples, key=lambda sample: sample.rtt_ns, default=None)
