"""Of which events it is asked when they left this host, and what the kernel said of them."""

import random
from collections import deque
from typing import Protocol

from daemons.link.control import encode_control
from daemons.link.messages import MAX_DEPARTURES, Departure, Departures
from daemons.measurement.histogram import BucketHistogram
from daemons.records import Stamp, exact
from daemons.stream.departures import Departed

__all__ = ["Sampling", "SamplingCounts"]

SAMPLE_NS = 100_000_000
"""About how often an event's departure is asked of the kernel, and told to the receiver after it."""


class SamplingCounts(Protocol):
    """Where samples are counted: those chosen, and those of which the kernel has told."""

    samples: int
    sampled: int


class Sampling:
    """Chooses samples among events that leave at once, and keeps what is to be told of them to the receiver.

    Args:
        counts: where to count them.
        hold: receives the time from an event's arrival stamp to when the kernel handed it to the device.
        rng: for the distances between samples.
    """

    def __init__(self, counts: SamplingCounts, hold: BucketHistogram, rng: random.Random) -> None:
        self._counts = counts
        self._hold = hold
        self._rng = rng
        self._next_ns = 0
        self._departures: deque[Departure] = deque(maxlen=MAX_DEPARTURES)

    def is_due(self, stamp: Stamp) -> bool:
        """Say whether the last event of a read is to be one: only with an exact arrival do its parts add up."""
        return stamp.steady_ns >= self._next_ns and exact(stamp.kind)

    def choose(self, sequence: int, stamp: Stamp) -> Departed:
        """Make an event a sample; return who is to be told when it left."""
        # Not at even distances, which a stream's own beat could hide behind.
        self._next_ns = stamp.steady_ns + round(SAMPLE_NS * self._rng.uniform(0.5, 1.5))
        self._counts.samples += 1

        def told(departure_ns: int, acknowledged_ns: int | None) -> None:
            self._counts.sampled += 1
            if not stamp.step_ns:
                self._hold.observe(departure_ns - stamp.ns)
            self._departures.append(Departure(sequence, departure_ns, acknowledged_ns))

        return told

    def untold(self) -> bytes:
        """Return the frames that tell the receiver what the kernel has said since the last time."""
        if not self._departures:
            return b""
        frame = encode_control(Departures(tuple(self._departures)))
        self._departures.clear()
        return frame
