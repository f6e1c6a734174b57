"""Who is turned away, counted by reason, and logged without filling a disk."""

from collections import Counter

import structlog

from daemons.reasons import REFUSALS, LinkReason, StreamReason

__all__ = ["Refusals"]


class Refusals:
    """Counts and logs.

    Args:
        path: the path's name; of a port that several share, where it listens.

    Attributes:
        counts: by reason; all of them are there from the start.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.counts: Counter[LinkReason | StreamReason] = Counter(dict.fromkeys(REFUSALS, 0))
        self._log = structlog.get_logger("link").bind(path=path)

    def refuse(self, reason: LinkReason | StreamReason, detail: str, source: str) -> None:
        """Count a refusal, and log it unless such refusals are many."""
        count = self.counts[reason] = self.counts[reason] + 1
        # Powers of two: a flood writes a few lines, not a disk full.
        if count & (count - 1) == 0:
            self._log.warning("peer refused", reason=reason, error=detail, source=source, times=count)
