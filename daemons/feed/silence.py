"""Which of a connection's streams have fallen silent while the others go on.

Silence of a whole connection is judged by its connection. That one of its streams has stopped shows in nothing: no id
is missing, for none came. But a stream that has been steady does not pause ten times as long as ever before. Streams
that are known to be irregular, or not known yet, are not judged.

No input or output, and no clock: what has come is looked at now and then, which costs events nothing.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

__all__ = ["StreamWatch"]

MIN_EVENTS: Final = 100
"""With fewer events of a stream nothing is known of how it comes."""
LEAST_SECONDS: Final = 10.0
"""No pause is silence before it has lasted so long."""
UNHEARD_SECONDS: Final = 60.0
"""After so long, in which others came, a stream that has brought nothing at all is named: its name may be misspelt."""
FACTOR: Final = 10.0
"""How much longer than its longest pause so far a steady stream must be quiet. Of independent events with a constant
rate the longest of a hundred pauses is five times the mean: a fiftyfold pause then has a chance of 1 to 10^21."""


@dataclass(slots=True)
class _Known:
    """What is known of a stream; times are of :attr:`StreamWatch._alive`."""

    events: int = 0
    changed_at: float = 0.0
    longest_pause: float = 0.0

    @property
    def patience(self) -> float:
        return max(LEAST_SECONDS, FACTOR * self.longest_pause)


class StreamWatch:
    """Watches the streams of one connection; call :meth:`look` a few times a second.

    Attributes:
        silent: the streams that are silent now.
    """

    def __init__(self, streams: Iterable[str]) -> None:
        self._known = {name: _Known() for name in streams}
        self._looked_at: float | None = None
        # Seconds in which anything came at all: while nothing does, it is the connection that is silent.
        self._alive = 0.0
        self._named: set[str] = set()
        self.silent: set[str] = set()

    def unheard(self) -> list[str]:
        """Name, each once, the streams that have never brought anything in a minute in which others did.

        An exchange accepts any name, and says nothing of one that it does not know.
        """
        found = [
            name
            for name, known in self._known.items()
            if not known.events and name not in self._named and self._alive >= UNHEARD_SECONDS
        ]
        self._named.update(found)
        return found

    def interrupt(self) -> None:
        """Note that the connection was lost or replaced: a pause across that says nothing."""
        self._looked_at = None
        self.silent.clear()

    def look(self, now: float, events: Mapping[str, int]) -> tuple[list[str], list[str]]:
        """Look at what has come.

        Args:
            now: seconds on any steady scale.
            events: how many events of each stream have come so far.

        Returns:
            The streams that have fallen silent since the last look, and those that are heard again.
        """
        before, self._looked_at = self._looked_at, now
        moved = [name for name, known in self._known.items() if events.get(name, 0) != known.events]
        if before is None:
            for name, known in self._known.items():
                known.events, known.changed_at = events.get(name, 0), self._alive
            return [], []
        if not moved:
            return [], []
        self._alive += now - before
        for name in moved:
            known = self._known[name]
            # That of a silent stream as well, as it went on by itself: the market can be so quiet.
            known.longest_pause = max(known.longest_pause, self._alive - known.changed_at)
            known.events, known.changed_at = events.get(name, 0), self._alive
        heard = sorted(self.silent.intersection(moved))
        fallen = [
            name
            for name, known in self._known.items()
            if name not in self.silent
            and known.events >= MIN_EVENTS
            and self._alive - known.changed_at >= known.patience
        ]
        self.silent = self.silent.difference(heard).union(fallen)
        return fallen, heard
