"""Interarrival jitter after RFC 3550, section 6.4.1 and appendix A.8."""

__all__ = ["InterarrivalJitter"]


class InterarrivalJitter:
    """Smoothed mean deviation of the change in transit time between successive events.

    A constant error of either clock cancels, because only differences of transit times enter.

    Attributes:
        value_ns: the estimate; None until two events were seen.
    """

    __slots__ = ("_last_ns", "value_ns")

    def __init__(self) -> None:
        self._last_ns: int | None = None
        self.value_ns: float | None = None

    def observe(self, transit_ns: int) -> None:
        """Take in the transit time (arrival minus departure) of the next event, in order of arrival."""
        last, self._last_ns = self._last_ns, transit_ns
        if last is None:
            return
        deviation = transit_ns - last if transit_ns > last else last - transit_ns
        value = self.value_ns or 0.0
        self.value_ns = value + (deviation - value) / 16

    def interrupt(self) -> None:
        """Forget the last transit time: the next event does not succeed it (a reconnect, a clock step)."""
        self._last_ns = None
