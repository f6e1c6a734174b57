"""How late an event loop gets to what is due: the first thing to look at when a daemon's own figures look slow."""

import asyncio
import time
from collections.abc import Iterator
from itertools import accumulate

from prometheus_client.metrics_core import HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from daemons.measurement.histogram import BucketHistogram, octaves

__all__ = ["LoopLag"]

PERIOD_SECONDS = 1.0
"""Not more often: waking a daemon that sleeps costs some 0.2 ms, for which events may have to wait."""


class LoopLag(Collector):
    """Asks the running loop to be called back every second, and counts by how much it was late.

    The clock is the system's and not the loop's, which uvloop moves in steps of a millisecond: what is below that is
    the timer's grain and no lag.

    Args:
        daemon: the value of the ``daemon`` label.
        period_seconds: how often.
    """

    def __init__(self, daemon: str, *, period_seconds: float = PERIOD_SECONDS) -> None:
        self._daemon = daemon
        self._period_seconds = period_seconds
        self._histogram = BucketHistogram(octaves(-10, 4))
        self._loop = asyncio.get_running_loop()
        self._due_ns = 0
        self._arm()

    def collect(self) -> Iterator[Metric]:
        bounds, counts = self._histogram.bounds, self._histogram.counts
        family = HistogramMetricFamily(
            "latency_event_loop_lag_seconds",
            "How late the event loop served a timer that is due once a second.",
            labels=["daemon"],
        )
        buckets = list(zip((*bounds.le, "+Inf"), map(float, accumulate(counts)), strict=True))
        family.add_metric([self._daemon], buckets, self._histogram.sum_ns / 1e9)
        yield family

    def _arm(self) -> None:
        self._due_ns = time.monotonic_ns() + round(self._period_seconds * 1e9)
        self._loop.call_later(self._period_seconds, self._ring)

    def _ring(self) -> None:
        self._histogram.observe(max(0, time.monotonic_ns() - self._due_ns))
        self._arm()
