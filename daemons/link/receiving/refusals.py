"""Who is turned away, counted by reason, and logged without filling a disk."""

import structlog

__all__ = ["REFUSAL_REASONS", "Refusals"]

REFUSAL_REASONS = (
    "source",
    "limit",
    "busy",
    "descriptors",
    "timeout",
    "version",
    "key",
    "path",
    "transport",
    "garbage",
    "too_large",
    "token",
    "forged",
    "replayed",
    "format",
    "unexpected",
    "unread",
)
"""Why a peer was turned away or a datagram thrown away."""


class Refusals:
    """Counts and logs.

    Args:
        path: the path's name; of a port that several share, where it listens.

    Attributes:
        counts: by reason; all of them are there from the start.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.counts = dict.fromkeys(REFUSAL_REASONS, 0)
        self._log = structlog.get_logger("link").bind(path=path)

    def refuse(self, reason: str, detail: str, source: str) -> None:
        """Count a refusal, and log it unless such refusals are many."""
        count = self.counts[reason] = self.counts[reason] + 1
        # Powers of two: a flood writes a few lines, not a disk full.
        if count & (count - 1) == 0:
            self._log.warning("peer refused", reason=reason, error=detail, source=source, times=count)
