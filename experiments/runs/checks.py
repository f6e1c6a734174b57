"""What is looked at before measuring, and what it shows."""

import msgspec

from daemons.measurement.percentile import PERCENTILES, minimum_samples

__all__ = ["BYTES_PER_ROW", "Check", "PathRate", "disk_check", "sample_check"]

BYTES_PER_ROW = 190
"""Of the receiver's CSV file: 150 to 180 for trades and book tickers, and some room."""

_NAMES = {"median": "p50", "p95": "p95", "p99": "p99", "p999": "p99.9"}
_SPARE = 1.5


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """One finding.

    Attributes:
        name: what was looked at.
        passed: whether the run may go on.
        detail: what was seen.
        remedy: what to do when it did not pass.
        exit_code: what the run ends with when it did not pass.
    """

    name: str
    passed: bool
    detail: str
    remedy: str = ""
    exit_code: int = 1


class PathRate(msgspec.Struct, frozen=True, kw_only=True):
    """How many events a path brought in the rehearsal, per second; ``timed`` are those that make a latency sample."""

    path: str
    events_per_second: float
    timed_per_second: float


def disk_check(folder: str, free_bytes: int, rates: list[PathRate], seconds: float) -> Check:
    """Compare what the rows will take with what is free.

    Args:
        folder: where they go.
        free_bytes: on its file system.
        rates: of all paths.
        seconds: of measuring, all blocks together.
    """
    needed = sum(rate.events_per_second for rate in rates) * seconds * BYTES_PER_ROW
    detail = f"{folder}: {_size(free_bytes)} free, about {_size(needed)} needed"
    passed = free_bytes > needed * _SPARE
    remedy = "" if passed else "free space, choose another --output, or measure less"
    return Check(name="disk", passed=passed, detail=detail, remedy=remedy, exit_code=5)


def sample_check(rates: list[PathRate], seconds: float) -> Check:
    """Say how many samples each path will have, and which percentiles so many allow.

    Args:
        rates: seen in the rehearsal.
        seconds: of measuring on each path, all blocks together.
    """
    parts = []
    fewest = float("inf")
    for rate in rates:
        events, timed = rate.events_per_second * seconds, rate.timed_per_second * seconds
        fewest = min(fewest, events)
        text = f"{rate.path}: about {events:,.0f} events"
        if not timed:
            text += " without event time, so no latency, only the lead of a race"
        else:
            supported = [name for name, level in PERCENTILES.items() if timed >= minimum_samples(level)]
            text += f", {timed:,.0f} samples of latency, enough for {_listed(supported)}"
            if missing := [name for name in PERCENTILES if name not in supported]:
                least = minimum_samples(PERCENTILES[missing[0]])
                text += f" ({_NAMES[missing[0]]} needs {least:,})"
        parts.append(text)
    passed = fewest >= minimum_samples(0.5)
    remedy = "" if passed else "lengthen --duration, or subscribe to a livelier stream"
    return Check(name="samples", passed=passed, detail="; ".join(parts), remedy=remedy)


def _listed(names: list[str]) -> str:
    return ", ".join(_NAMES[name] for name in names) or "no percentile"


def _size(count: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"
