"""What a daemon's metrics were a while ago, so that figures are of the last minute and not of its whole life. Pure."""

import math
from collections import deque
from dataclasses import dataclass, field

from experiments.live.scrape import Labels, NoPage, ScrapedPage

__all__ = ["History", "PageReading"]

_START = "latency_start_timestamp_seconds"
_KEPT = 3600
POINTS = 24
"""Steps that are kept, for trends."""
_COUNTED = ("_total", "_bucket", "_count", "_sum")
_OF_THE_RUN = "latency_receiver_run_"
"""Gauges of a whole run, which say nothing of a part of it."""


@dataclass(frozen=True, slots=True)
class PageReading:
    """A page, and when it was read.

    Attributes:
        at: on the monotonic scale, in seconds.
        wall: since 1970, in seconds.
        page: what it said.
    """

    at: float
    wall: float
    page: ScrapedPage


@dataclass(slots=True)
class History:
    """The readings of one daemon.

    Args:
        window_seconds: how far back figures reach.

    Attributes:
        restarts: how often the daemon was seen to have begun anew.
        answered_at: when it answered last, on the monotonic scale; None when it never has.
        absence: why it does not answer now; None when it does.
    """

    window_seconds: float
    restarts: int = 0
    answered_at: float | None = None
    absence: NoPage | None = None
    _readings: deque[PageReading] = field(default_factory=lambda: deque(maxlen=_KEPT))
    _steps: deque[ScrapedPage] = field(default_factory=lambda: deque(maxlen=POINTS))

    def add(self, reading: PageReading) -> None:
        """Take in a page; after a restart nothing of the life before counts."""
        self.absence = None
        self.answered_at = reading.at
        if self._readings and _began_anew(self._readings[-1].page, reading.page):
            self.restarts += 1
            self._readings.clear()
            self._steps.clear()
        if self._readings:
            self._steps.append(difference(reading.page, self._readings[-1].page))
        self._readings.append(reading)
        # One reading from before the window is kept: the window reaches back to it.
        while len(self._readings) > 2 and self._readings[1].at <= reading.at - self.window_seconds:
            self._readings.popleft()

    def missed(self, absence: NoPage) -> None:
        """Note that it does not answer."""
        self.absence = absence

    @property
    def latest(self) -> PageReading | None:
        """The last reading; None when there is none, or the daemon does not answer."""
        return self._readings[-1] if self._readings and self.absence is None else None

    def recent(self) -> tuple[ScrapedPage, float | None]:
        """Give what was counted within the window, and its length in seconds.

        Gauges are those of the last reading. With a single reading the window is the daemon's life so far; None when
        its length is not known.
        """
        last = self.latest
        assert last is not None
        if len(self._readings) > 1:
            first = self._readings[0]
            return difference(last.page, first.page), last.at - first.at
        started = last.page.value(_START)
        return last.page, None if started is None or started > last.wall else last.wall - started

    def steps(self) -> list[ScrapedPage]:
        """Give what was counted from each reading to the next, oldest first."""
        return list(self._steps)


def difference(later: ScrapedPage, earlier: ScrapedPage) -> ScrapedPage:
    """Subtract what was counted before; what is no count stays as it is, what is of the whole run is left out."""
    samples: dict[str, dict[Labels, float]] = {}
    for name, children in later.samples.items():
        if name.startswith(_OF_THE_RUN):
            continue
        before = earlier.samples.get(name, {}) if name.endswith(_COUNTED) else {}
        samples[name] = {labels: value - before.get(labels, 0.0) for labels, value in children.items()}
    return ScrapedPage(samples)


def _began_anew(before: ScrapedPage, now: ScrapedPage) -> bool:
    """Whether the daemon was started between two pages: it says when it was, and its counters fall."""
    starts = before.value(_START), now.value(_START)
    if None not in starts and not math.isclose(starts[0] or 0.0, starts[1] or 0.0, abs_tol=1e-3, rel_tol=0):
        return True
    return any(
        value < before.samples.get(name, {}).get(labels, -math.inf)
        for name, children in now.samples.items()
        if name.endswith(("_total", "_bucket", "_count"))
        for labels, value in children.items()
    )
