"""What a ranking of several paths says, as it is printed, drawn, and written with ``--json``.

A lead is in milliseconds and positive where the first of two was earlier. Intervals of one figure hold together: that
any of them misses its truth happens once in 20 rankings at 95 %.
"""

from typing import Literal

import msgspec

from experiments.statistics.bootstrap import Interval
from experiments.statistics.loss import Loss

__all__ = ["FORMAT", "Gap", "HourOfDay", "Outcome", "PathPair", "RankedPath", "Ranking", "Relation"]

FORMAT = "backbone-latency-ranking/1"

Relation = Literal["earlier", "later", "equal", "unknown"]
Outcome = Literal["first", "leaders", "no-difference", "undecided"]


class Gap(msgspec.Struct, frozen=True, kw_only=True):
    """A difference between two paths.

    Attributes:
        value_ms: the difference, in milliseconds.
        interval: where it lies, together with those of all other pairs; None where there is too little evidence.
    """

    value_ms: float
    interval: Interval | None = None


class PathPair(msgspec.Struct, frozen=True, kw_only=True):
    """Two paths.

    Attributes:
        first: the one that stands first in the ranking.
        second: the other.
        lead: the median of how much earlier the first had the same event.
        relation: of the first to the second: ``earlier`` or ``later`` where that is shown, ``equal`` where the
            difference is shown to be smaller than the margin, ``unknown`` where the two cannot be told apart.
        win_share: share of events that the first had earlier.
        tie_share: share of events that both had at once.
        steadiness: standard deviation of the second's lag less that of the first's.
        p95: the second's lag at p95 less that of the first's; None where the sample is too small.
        p99: likewise.
    """

    first: str
    second: str
    lead: Gap
    relation: Relation
    win_share: float
    tie_share: float
    steadiness: Gap
    p95: Gap | None = None
    p99: Gap | None = None


class RankedPath(msgspec.Struct, frozen=True, kw_only=True):
    """One path. Its lag is how much later than the middle of the field it had an event.

    Attributes:
        path: its name.
        rank: its place; 1 is the earliest.
        best_rank: the place that cannot be ruled out at one end: one more than there are paths shown to be earlier.
        worst_rank: and at the other end.
        behind_ms: the median of how much later than the first in rank it had the same event; 0 for that one.
        behind: where that lies.
        first_share: share of events that it had before all others.
        lag_stddev_ms: steadiness: standard deviation of the lag.
        lag_p95_ms: the lag at p95; None where the sample is too small.
        lag_p99_ms: likewise.
        loss: of the events that came while it was up.
        rows: events that arrived, live or not.
        invalid: rows by reason of invalidity.
        delayed: rows that waited in the forwarder while its link was down.
        price_per_day: of what this path needs by itself, in US dollars; None where it is not known.
    """

    path: str
    rank: int
    best_rank: int
    worst_rank: int
    behind_ms: float
    behind: Interval | None
    first_share: float
    lag_stddev_ms: float
    lag_p95_ms: float | None
    lag_p99_ms: float | None
    loss: Loss
    rows: int
    invalid: dict[str, int] = {}
    delayed: int = 0
    price_per_day: float | None = None


class HourOfDay(msgspec.Struct, frozen=True, kw_only=True):
    """One hour of day, UTC, over all days.

    Attributes:
        hour: 0 to 23.
        events: that all paths brought in it.
        first: the path with the least median lag.
        behind_ms: of each path, its median lag less that of the first.
    """

    hour: int
    events: int
    first: str
    behind_ms: dict[str, float]


class Ranking(msgspec.Struct, frozen=True, kw_only=True):
    """All of a ranking.

    Attributes:
        source: the file it came from, without its folder.
        streams: that all paths carry.
        events: that every path brought: the ones that are ranked by.
        seen: events that any path brought.
        paths: in order of rank.
        pairs: all pairs.
        inseparable: groups of paths no two of which can be told apart, in order of rank.
        hours: by hour of day; empty where less than two hours were measured.
        outcome: ``first``: one path is shown to be earlier than all others; ``leaders``: several lead, which cannot be
            told apart; ``no-difference``: none is shown to be earlier than any; ``undecided``: too few events.
        sentence: the whole answer.
        caveats: what to know before relying on it.
        margin_ms: a smaller lead is not worth naming.
        confidence: that all intervals of a figure hold.
        repetitions: of the resampling.
        block_samples: length of the resampled blocks, in events.
        blocks: how many such blocks there are.
        effective_count: independent events that would tell as much of the pair that is known worst.
        seed: of the resampling.
    """

    format: str = FORMAT
    source: str
    streams: list[str]
    start: str | None = None
    end: str | None = None
    events: int
    seen: int
    paths: list[RankedPath]
    pairs: list[PathPair]
    inseparable: list[list[str]]
    hours: list[HourOfDay]
    outcome: Outcome
    sentence: str
    caveats: list[str]
    margin_ms: float
    confidence: float
    repetitions: int
    block_samples: int
    blocks: float
    effective_count: float
    seed: int

    def pair(self, first: str, second: str) -> PathPair:
        """Give a pair by its names, in either order; the pair stays as it is."""
        return next(pair for pair in self.pairs if {pair.first, pair.second} == {first, second})
