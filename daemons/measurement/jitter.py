"""Interarrival jitter after RFC 3550, section 6.4.1 and appendix A.8."""

__all__ = ["InterarrivalJitter"]


class InterarrivalJitter:
    """Mean deviation of the change in transit time between successive events: as it is now, and of a whole run.

    A constant error of either clock cancels, because only differences of transit times enter.

    Attributes:
        value_ns: the estimate of the standard, J += (|D| - J) / 16; None until two events were seen.
        total_ns: all |D|, added up.
        changes: how many there were. The mean of |D| is what the estimate tends to, without the noise of its last
            sixteen events: it is the jitter of a run.
    """

    __slots__ = ("_last_ns", "changes", "total_ns", "value_ns")

    def __init__(self) -> None:
        self._last_ns: int | None = None
        self.value_ns: float | None = None
        self.total_ns = self.changes = 0

    def observe(self, transit_ns: int) -> None:
        """Take in the transit time (arrival minus departure) of the next event, in order of arrival."""
        last, self._last_ns = self._last_ns, transit_ns
        if last is None:
            return
        deviation = transit_ns - last if transit_ns > last else last - transit_ns
        self.total_ns += deviation
        self.changes += 1
        value = self.value_ns or 0.0
        self.value_ns = value + (deviation - value) / 16

    def interrupt(self) -> None:
        """Forget the last transit time: the next event does not succeed it (a reconnect, a clock step)."""
        self._last_ns = None
