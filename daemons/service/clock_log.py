"""What is said of this host's clock in the log, the same for every daemon that measures one-way delay."""

from collections.abc import Callable

import structlog

__all__ = ["ClockLog"]


class ClockLog:
    """Tells of steps and disruptions; a :class:`daemons.timing.discipline.ClockWatcher`.

    Args:
        log: the daemon's.
        disrupted: is told of each disruption, and of its end.
    """

    def __init__(
        self, log: structlog.stdlib.BoundLogger, disrupted: Callable[[bool], None] = lambda _disrupted: None
    ) -> None:
        self._log = log
        self._disrupted = disrupted

    def on_step(self, step_ns: int) -> None:
        """Tell of a step."""
        self._log.error("the wall clock was stepped", step_seconds=step_ns / 1e9)

    def on_disruption(self, *, disrupted: bool) -> None:
        """Tell of a disruption, or of its end."""
        self._disrupted(disrupted)
        if disrupted:
            self._log.error(
                "the host has disrupted this machine's clock: nothing is measured with it until it is believed again",
                remedy="wait for its keeper to measure anew; `chronyc reset sources` lets it forget the old rate",
            )
        else:
            self._log.info("the clock is believed again")

    def on_device_trouble(self, trouble: str) -> None:
        """Tell why disruptions would not be noticed."""
        if trouble:
            self._log.warning("disruptions of the clock are not noticed", why=trouble)
