"""Who is first at which hour of day."""

from collections.abc import Sequence

import numpy as np

from experiments.ranking.model import HourOfDay
from experiments.results.series import Floats, Integers

__all__ = ["hours_of_day"]

_HOUR_NS = 3_600_000_000_000
# The median of fewer events than this is a guess.
_FEWEST_EVENTS = 6


def hours_of_day(names: Sequence[str], times_ns: Integers, lags_ms: Floats) -> list[HourOfDay]:
    """Give the medians of each hour of day, UTC, over all days; nothing where less than two hours were measured.

    Args:
        names: of the paths.
        times_ns: of the events.
        lags_ms: paths x events.
    """
    hours = times_ns // _HOUR_NS % 24
    found = []
    for hour in np.unique(hours).tolist():
        inside = lags_ms[:, hours == hour]
        if inside.shape[1] < _FEWEST_EVENTS:
            continue
        medians = np.median(inside, axis=1)
        behind = (medians - medians.min()).tolist()
        found.append(
            HourOfDay(
                hour=hour,
                events=inside.shape[1],
                first=names[int(medians.argmin())],
                behind_ms=dict(zip(names, behind, strict=True)),
            )
        )
    return found if len(found) > 1 else []
