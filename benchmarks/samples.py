"""Samples as all receivers leave them: pairs of 64-bit integers, event time and time measured, in nanoseconds."""

import math
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["Samples", "quantiles"]


@dataclass(frozen=True, slots=True)
class Samples:
    """What one receiver measured in one life."""

    event_ns: "array[int]"
    measured_ns: "array[int]"

    @classmethod
    def load(cls, file: Path) -> "Samples":
        flat = array("q")
        flat.frombytes(file.read_bytes())
        return cls(flat[0::2], flat[1::2])

    def save(self, file: Path) -> None:
        flat = array("q", bytes(16 * len(self.event_ns)))
        flat[0::2], flat[1::2] = self.event_ns, self.measured_ns
        file.write_bytes(flat.tobytes())

    def delays_ns(self, first_us: int, last_us: int) -> list[int]:
        """Return the delays of the events that left between two times, without the first twentieth, which warms up."""
        first_ns, last_ns = first_us * 1000, last_us * 1000
        delays = [
            measured - event
            for event, measured in zip(self.event_ns, self.measured_ns, strict=True)
            if first_ns <= event <= last_ns
        ]
        return delays[len(delays) // 20 :]

    def count(self, first_us: int, last_us: int) -> int:
        """Return how many events that left between two times were received."""
        return sum(first_us * 1000 <= event <= last_us * 1000 for event in self.event_ns)


def quantiles(delays_ns: Sequence[int]) -> dict[str, Any]:
    """Return quantiles by nearest rank, in microseconds; None where there are too few samples to have one."""
    ordered = sorted(delays_ns)

    def at(fraction: float) -> float | None:
        if len(ordered) * (1 - fraction) < 1:
            return None
        return ordered[max(0, math.ceil(fraction * len(ordered)) - 1)] / 1e3

    return {
        "samples": len(ordered),
        "p50_us": at(0.5),
        "p99_us": at(0.99),
        "p999_us": at(0.999),
        "max_us": ordered[-1] / 1e3 if ordered else None,
    }
