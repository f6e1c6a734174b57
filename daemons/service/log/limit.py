"""What keeps the log from growing with what others send: each kind of line has a share, and no line is long."""

import time
from collections.abc import Callable, MutableMapping
from typing import Any

import structlog

__all__ = ["LogLimit"]

BURST = 20
"""Lines of one kind that are let through at once."""
PERIOD_SECONDS = 10.0
"""One more line of the kind for each of these."""
MAX_KINDS = 1024
MAX_CHARACTERS = 2000
"""Longest text in a line."""
_BOUND = ("path", "link", "feed", "target")


class LogLimit:
    """A structlog processor that drops a line when there were too many of its kind, and cuts texts that are long.

    The next line let through says how many were not, as ``suppressed``.

    Args:
        now: reads a clock that does not step, in seconds.

    Attributes:
        dropped: lines that were not let through.
    """

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        # Per kind: since when it is paid for, and how many were dropped since the last one let through.
        self._kinds: dict[str, tuple[float, int]] = {}
        self.dropped = 0

    def __call__(self, _logger: Any, _method: str, line: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        bound = [str(line[name]) for name in _BOUND if name in line]
        suppressed = self.admit("\0".join([str(line.get("event")), *bound]))
        if suppressed is None:
            raise structlog.DropEvent
        if suppressed:
            line["suppressed"] = suppressed
        for name, value in line.items():
            if isinstance(value, str) and len(value) > MAX_CHARACTERS:
                line[name] = f"{value[:MAX_CHARACTERS]}… ({len(value)} characters)"
        return line

    def admit(self, kind: str) -> int | None:
        """Say whether a line of this kind may be written now.

        Returns:
            How many were suppressed before it; None when it may not.
        """
        if kind not in self._kinds and len(self._kinds) >= MAX_KINDS:
            kind = ""
        now = self._now()
        since, suppressed = self._kinds.get(kind, (now, 0))
        # Each line moves the time it is paid for by a period; what lies a burst ahead of now is too much.
        paid = max(since, now) + PERIOD_SECONDS
        if paid > now + BURST * PERIOD_SECONDS:
            self._kinds[kind] = (since, suppressed + 1)
            self.dropped += 1
            return None
        self._kinds[kind] = (paid, 0)
        return suppressed
