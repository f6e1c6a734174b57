"""What a comparison says, as it is printed, drawn, and written with ``--json``.

Everywhere ``difference`` is second minus first, in milliseconds, or as a share (0 to 1) for loss: positive means that
the second path is slower, less steady or loses more. ``lead`` has the sign of the receiver's race figures: positive
means that the second path was earlier.
"""

from typing import Literal

import msgspec

from experiments.statistics.bootstrap import Interval
from experiments.statistics.describe import Description
from experiments.statistics.loss import Loss

__all__ = [
    "FORMAT",
    "METRICS",
    "ClockTrust",
    "Comparison",
    "Figure",
    "Metric",
    "RaceFigures",
    "SideFigures",
    "Verdict",
]

FORMAT = "backbone-latency-comparison/1"

Metric = Literal["end_to_end_ms", "backbone_ms"]
METRICS: dict[str, Metric] = {"end-to-end": "end_to_end_ms", "backbone": "backbone_ms"}


class SideFigures(msgspec.Struct, frozen=True, kw_only=True):
    """One path of a comparison.

    Attributes:
        label: the name it goes by in the comparison.
        source: the file it came from, without its folder.
        path: the path's name in that file.
        streams: the streams its samples are of.
        rows: events that arrived, live or not; None without the CSV file.
        effective_count: independent samples that would tell as much; None without the CSV file.
        time_step_ms: the coarsest step in which any of the times behind the figures were told here, before they were
            brought to the other side's: end-to-end delays are too long by up to the event times' step, by half of it on
            average; None when it is not known.
        clock_bound_ms: how far the one-way figures may be wrong because of clocks; None when it is not known.
        error_bound_ms: the same because of clocks and steps together.
    """

    label: str
    source: str
    path: str
    streams: list[str]
    statistics: Description
    effective_count: float | None = None
    rows: int | None = None
    invalid: dict[str, int] = {}
    delayed: int = 0
    loss: Loss | None = None
    clock_bound_ms: float | None = None
    time_step_ms: float | None = None
    error_bound_ms: float | None = None
    start: str | None = None
    end: str | None = None


class Figure(msgspec.Struct, frozen=True, kw_only=True):
    """One figure of both sides.

    Attributes:
        name: ``median``, ``p99``, ``stddev``, ``loss`` …
        unit: ``ms`` or ``share``.
        interval: of the difference.
        relative: difference divided by the first's figure; only for figures that have a natural zero.
        relative_interval: of ``relative``.
        claim: whether the comparison says that the two differ here; only the figures of the verdict can be claimed.
        note: why there is no figure or no interval.
    """

    name: str
    unit: str
    first: float | None
    second: float | None
    difference: float | None = None
    interval: Interval | None = None
    relative: float | None = None
    relative_interval: Interval | None = None
    claim: bool = False
    note: str = ""


class RaceFigures(msgspec.Struct, frozen=True, kw_only=True):
    """The same events on both paths; leads in ms, positive where the second path was earlier."""

    pairs: int
    median_lead_ms: float
    median_lead_interval: Interval | None
    mean_lead_ms: float
    lead_quantiles_ms: dict[str, float | None]
    stddev_lead_ms: float
    win_share: float
    win_share_interval: Interval | None
    ties: int
    only_first: int
    only_second: int


class ClockTrust(msgspec.Struct, frozen=True, kw_only=True):
    """Whether clocks allow the comparison.

    Attributes:
        needed: False in a race, where both arrivals are stamped by one clock.
        bound_ms: sum of both sides' bounds, None when one is not known.
        refused: why no difference in delay may be named, or "".
    """

    needed: bool
    bound_ms: float | None = None
    refused: str = ""


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """The answer.

    Attributes:
        outcome: ``equivalent`` means that the difference in delay is shown to be smaller than the margin,
            ``undecided`` that there are too few independent samples to tell.
        sentence: the whole answer in a sentence.
    """

    outcome: Literal["difference", "no-difference", "equivalent", "undecided", "refused"]
    sentence: str


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """All of a comparison."""

    format: str = FORMAT
    metric: Metric
    first: SideFigures
    second: SideFigures
    figures: list[Figure]
    race: RaceFigures | None
    clock: ClockTrust
    verdict: Verdict
    caveats: list[str]
    margin_ms: float
    confidence: float
    repetitions: int
    block_samples: int | None
    blocks: float | None
    seed: int

    def figure(self, name: str) -> Figure:
        """Give a figure by name."""
        return next(figure for figure in self.figures if figure.name == name)
