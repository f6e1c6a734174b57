"""When events happen, and how much later the far endpoint sees them: pure functions of the seed."""

import itertools
import math
from collections.abc import Iterator
from random import Random

__all__ = ["DRIFT_SECONDS", "JITTER_FASTEST_HZ", "Drift", "Jitter", "grid", "poisson"]

JITTER_FASTEST_HZ = 10.0
DRIFT_SECONDS = 120.0
"""The period of a drift: a minute later than the mean, a minute earlier."""
_WAVES = 8
_SLOWEST_FRACTION = 1 / 8


def grid(rate: float) -> Iterator[int]:
    """Yield the offsets of evenly spaced events, in ns from the start; rounding never accumulates.

    Args:
        rate: events per second.
    """
    for number in itertools.count():
        yield round(number * 1_000_000_000 / rate)


def poisson(rate: float, seed: int) -> Iterator[int]:
    """Yield the offsets of events that come independently of each other, in ns from the start.

    Args:
        rate: events per second in the mean.
        seed: decides the offsets.
    """
    rng = Random(f"{seed}/arrivals")
    offset = 0.0
    while True:
        yield round(offset)
        offset += rng.expovariate(rate) * 1e9


class Jitter:
    """The variable part of a path's delay: a smooth function of time with mean 0.

    A sum of sine waves with random frequencies and phases: close to Gaussian, bounded by four standard
    deviations, and correlated in time as queues are. The frequencies are low enough that the delay never falls
    faster than time passes, so that events stay in order without being held back, which would bias the delay.

    Args:
        deviation_ns: the standard deviation.
        seed: decides the waves.
    """

    def __init__(self, deviation_ns: int, seed: int) -> None:
        rng = Random(f"{seed}/jitter")
        self._amplitude = deviation_ns * math.sqrt(2 / _WAVES)
        fastest = 2 * math.pi * JITTER_FASTEST_HZ * 1e-9
        if self._amplitude:
            # |slope| <= amplitude * sum of angular frequencies <= amplitude * waves * fastest = 1
            fastest = min(fastest, 1 / (self._amplitude * _WAVES))
        self._waves = [
            (fastest * rng.uniform(_SLOWEST_FRACTION, 1.0), rng.uniform(0, 2 * math.pi)) for _ in range(_WAVES)
        ]

    def at(self, offset_ns: int) -> int:
        """Return the jitter of an event that happened so many ns after the start, in ns."""
        if not self._amplitude:
            return 0
        return round(self._amplitude * sum(math.sin(angular * offset_ns + phase) for angular, phase in self._waves))


class Drift:
    """A slow part of a path's delay, which a short look takes for the path's own: a sine wave of two minutes around 0.

    Args:
        amplitude_ns: the most that it adds, and takes away.
        seed: decides the phase.
    """

    def __init__(self, amplitude_ns: int, seed: int) -> None:
        self._amplitude = amplitude_ns
        self._phase = Random(f"{seed}/drift").uniform(0, 2 * math.pi)

    def at(self, offset_ns: int) -> int:
        """Return the drift of an event that happened so many ns after the start, in ns."""
        angular = 2 * math.pi / (DRIFT_SECONDS * 1e9)
        return round(self._amplitude * math.sin(angular * offset_ns + self._phase))
