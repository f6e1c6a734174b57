"""How finely the exchange told event times, and both sides of a comparison at the coarser of the two steps.

An exchange cuts event times to whole milliseconds or microseconds. An end-to-end delay is then too long by up to that
step, by half of it on average, and varies by step / √12 more (the deviation of a uniform error). Of two runs, one in
milliseconds and one in microseconds, the first would be slower by half a millisecond that no path took.
"""

from dataclasses import replace

from experiments.comparison.sides import Side

__all__ = ["at_common_step", "step_caveats"]


def at_common_step(first: Side, second: Side) -> tuple[Side, Side]:
    """Cut the event times of the finer side to the step of the coarser one, as that exchange would have."""
    steps = [side.event_time_step_ns for side in (first, second)]
    if None in steps or steps[0] == steps[1]:
        return first, second
    coarser = max(step for step in steps if step is not None)
    cut = (_cut(side, coarser) for side in (first, second))
    return next(cut), next(cut)


def _cut(side: Side, step_ns: int) -> Side:
    series = side.series
    if series is None or side.event_time_step_ns == step_ns:
        return side
    together = {**side.run.series, side.path: series.with_event_times_cut(step_ns)}
    return replace(side, run=replace(side.run, series=together))


def step_caveats(sides: tuple[Side, Side]) -> list[str]:
    """Say what the steps of the event times do to end-to-end delays; the sides are as they were loaded."""
    unknown = [side.label for side in sides if side.event_time_step_ns is None]
    if unknown:
        text = (
            f"in what step the exchange told event times is not recorded for {' and '.join(unknown)}: whole "
            "milliseconds make end-to-end delays half a millisecond longer on average"
        )
        return [text]
    finer, coarser = sorted(sides, key=lambda side: side.event_time_step_ns or 0)
    fine_ms, coarse_ms = ((side.event_time_step_ns or 0) / 1e6 for side in (finer, coarser))
    if fine_ms != coarse_ms:
        text = (
            f"event times of {coarser.label} are told in steps of {coarse_ms:g} ms, those of {finer.label} in steps of "
            f"{fine_ms:g} ms: {finer.label} was brought to the coarser step, and the delays of both are up to "
            f"{coarse_ms:g} ms too long"
        )
        return [text]
    return []
