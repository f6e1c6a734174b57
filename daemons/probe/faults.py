"""Exceptions that nobody expected: told once with their traceback, and never the end of what they happened in."""

from traceback import walk_tb

import structlog

from daemons.service.log.logs import counts

__all__ = ["Faults"]


class Faults:
    """The faults of one part of the probe.

    A fault that comes with every attempt is logged once, not once a second for months; each time it is counted, with
    the daemon's unexpected errors and by whoever it happened to.

    Args:
        part: the logger's name.
    """

    def __init__(self, part: str) -> None:
        self._log = structlog.get_logger(part)
        self._told: set[tuple[str, str, str, int]] = set()

    def note(self, error: Exception, what: str) -> str:
        """Log a fault, unless the same one has been logged; return the sentence for the record.

        Args:
            error: what was raised.
            what: to whom it happened; few values, for each is remembered.
        """
        counts.unexpected += 1
        *_outer, (frame, line) = walk_tb(error.__traceback__) if error.__traceback__ else [(None, 0)]
        place = (what, type(error).__name__, frame.f_code.co_filename if frame else "", line)
        if place not in self._told:
            self._told.add(place)
            self._log.error("fault in the probe", what=what, exc_info=error)
        return f"{type(error).__name__}: {error}; a fault of the probe: the log has the traceback, please report it"
