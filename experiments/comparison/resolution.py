"""How finely clocks told the times behind delays, and both sides of a comparison at the coarser of the two steps.

An exchange cuts event times to whole milliseconds or microseconds, and so may another program's forwarder its stamps. A
delay is then too long by up to that step (too short, where it is the arrival that was cut), by half of it on average,
and varies by step / √12 more (the deviation of a uniform error). Of two runs, one in milliseconds and one in
microseconds, the first would be slower by half a millisecond that no path took. What a step is shows in the times
themselves, for each path and stream.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

from experiments.comparison.model import Metric
from experiments.comparison.sides import Side, Steps
from experiments.results.series import Floats, observed_step_ns

__all__ = ["Resolution", "at_common_step", "request_steps_ms"]


@dataclass(frozen=True)
class Resolution:
    """What the steps of both sides' times do to a comparison.

    Attributes:
        steps_ms: of each side, the coarsest step of any of its times; None when it is not known.
        caveats: what the reader must know.
        refused: why no difference in delay may be named, or "".
        least_ms: a difference in delay must be at least this large to be named.
    """

    steps_ms: tuple[float | None, float | None]
    caveats: tuple[str, ...] = ()
    refused: str = ""
    least_ms: float = 0.0


def at_common_step(first: Side, second: Side, metric: Metric) -> tuple[Side, Side, Resolution]:
    """Cut the times of the finer side to the steps of the coarser one, as the coarser clock would have.

    Stream by stream where both sides have the same; else all to the coarsest of any. Without the rows of a side nothing
    can be cut: then the comparison is refused where the steps are known to differ.
    """
    sides = (first, second)
    one, two = first.steps_ns(metric), second.steps_ns(metric)
    known = Resolution((_coarsest_ms(one), _coarsest_ms(two)))
    if one is None or two is None:
        unknown = [side.label for side, its in zip(sides, (one, two), strict=True) if its is None]
        text = (
            f"in what step times were told is not recorded for {' and '.join(unknown)}: whole "
            "milliseconds make delays half a millisecond longer on average"
        )
        return first, second, replace(known, caveats=(text,))
    if not (one and two):
        return first, second, known
    steps, wanted = (one, two), _coarser(one, two)
    if wanted == steps:
        return first, second, known
    if first.series is None or second.series is None:
        why = f"{_told(sides, wanted, steps)}, and without the rows of both they cannot be brought to one step"
        return first, second, replace(known, refused=f"{why}; put each run's CSV file beside its JSON file")
    cut = tuple(_cut(side, metric, its) for side, its in zip(sides, wanted, strict=True))
    text = (
        f"{_told(sides, wanted, steps)}: both were brought to the coarser step, and the delays of both may be wrong by "
        "that much"
    )
    return cut[0], cut[1], replace(known, caveats=(text,))


def request_steps_ms(first: Floats, second: Floats) -> Resolution:
    """Say what steps two sets of durations were written in, as they show, and what that does to their comparison.

    A duration is the difference of two times of one clock, so no step makes it longer on average; but whether its
    writer cut or rounded it is not known, and so a difference below the coarser of two steps is not named.
    """
    steps = [_duration_step_ms(values) for values in (first, second)]
    if None in steps or steps[0] == steps[1]:
        return Resolution((steps[0], steps[1]))
    coarser = max(step for step in steps if step is not None)
    text = (
        f"one side's durations are written in steps of {coarser:g} ms, the other's are finer: a difference below that "
        "step is not named"
    )
    return Resolution((steps[0], steps[1]), (text,), least_ms=coarser)


def _duration_step_ms(values: Floats) -> float | None:
    if not len(values):
        return None
    return observed_step_ns(np.rint(values * 1e6).astype(np.int64)) / 1e6


def _coarsest_ms(steps: Steps | None) -> float | None:
    return max(step for pair in steps.values() for step in pair) / 1e6 if steps else None


def _coarser(one: Steps, two: Steps) -> tuple[Steps, Steps]:
    """Give the steps that each side is to be brought to."""
    if one.keys() == two.keys():
        both = {name: _largest((one[name], two[name])) for name in one}
        return both, both
    coarsest = _largest((*one.values(), *two.values()))
    return dict.fromkeys(one, coarsest), dict.fromkeys(two, coarsest)


def _largest(pairs: Iterable[tuple[int, int]]) -> tuple[int, int]:
    begins, arrivals = zip(*pairs, strict=True)
    return max(begins), max(arrivals)


def _cut(side: Side, metric: Metric, steps: Steps) -> Side:
    series = side.series
    if series is None or side.steps_ns(metric) == steps:
        return side
    together = {**side.run.series, side.path: series.with_times_cut(metric, steps)}
    return replace(side, run=replace(side.run, series=together))


def _told(sides: tuple[Side, Side], wanted: tuple[Steps, Steps], steps: tuple[Steps, Steps]) -> str:
    """Say of the sides that were told more finely than the other which those are, and in what streams."""
    texts = []
    for side, goal, its in zip(sides, wanted, steps, strict=True):
        finer = [name for name in its if its[name] != goal[name]]
        if finer:
            others = _milliseconds(goal[name] for name in finer)
            of = f" of {', '.join(sorted(finer))}" if any(finer) else ""
            own = _milliseconds(its[name] for name in finer)
            texts.append(f"times{of} on {side.label} are told in steps of {own} ms, on the other side of {others} ms")
    return "; ".join(texts)


def _milliseconds(pairs: Iterable[tuple[int, int]]) -> str:
    return " or ".join(f"{step / 1e6:g}" for step in sorted({max(pair) for pair in pairs}))
