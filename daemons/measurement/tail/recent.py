"""What a delay usually is, and what few exceed: of the last minutes, so that an hour ago is no measure of now."""

from typing import Final

from daemons.measurement.histogram import QuantileHistogram
from daemons.measurement.percentile import minimum_samples

__all__ = ["NEVER_NS", "Recent"]

TAIL: Final = 0.99
LEAST: Final = minimum_samples(TAIL)
HALF_NS: Final = 150_000_000_000
"""The window begins anew with every other of these: it is the last two and a half to five minutes."""
FAR: Final = 12
"""So many times the upper quartile's distance from the median: of delays that fall off exponentially one in 8,000."""
NEVER_NS: Final = 1 << 62


class Recent:
    """The median and the 99th percentile of a delay, looked up now and then and compared with at every event.

    Attributes:
        above_ns: the 99th percentile, to 0.05 %; :data:`NEVER_NS` before there are enough samples for one.
        usual_ns: the median.
        far_ns: what is above this is not so by the chance that the usual delays show.
        stale: a clock was stepped: what is known holds no more, and serves until enough is known again.
    """

    __slots__ = ("_before", "_begun_ns", "_now", "above_ns", "far_ns", "record", "stale", "usual_ns")

    def __init__(self) -> None:
        self.above_ns = NEVER_NS
        self.usual_ns = self.far_ns = 0
        self.stale = False
        self._before = QuantileHistogram()
        self._begun_ns: int | None = None
        self._turn(None)

    def forget(self) -> None:
        """Begin anew: delays before and after are not of one scale."""
        self.stale = self.above_ns != NEVER_NS
        self._turn(self._begun_ns)
        self._before = QuantileHistogram()

    def refresh(self, now_ns: int) -> None:
        """Look up what holds from now on.

        Args:
            now_ns: by the monotonic clock.
        """
        if self._begun_ns is None:
            self._begun_ns = now_ns
        whole = self._before.merged(self._now)
        if whole.count >= LEAST:
            above_ns, usual_ns, upper_ns = whole.quantiles(TAIL, 0.5, 0.75)
            assert above_ns is not None
            assert usual_ns is not None
            assert upper_ns is not None
            self.above_ns, self.usual_ns, self.stale = round(above_ns), round(usual_ns), False
            self.far_ns = round(usual_ns + FAR * (upper_ns - usual_ns))
        if now_ns - self._begun_ns >= HALF_NS:
            self._before = self._now
            self._turn(now_ns)

    def _turn(self, begun_ns: int | None) -> None:
        self._now = QuantileHistogram()
        self._begun_ns = begun_ns
        self.record = self._now.record
