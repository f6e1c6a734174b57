"""The promise of the intervals, kept: seeded repetitions with injected truth, as the simulator makes it and harder."""

import math
from dataclasses import replace
from pathlib import Path
from statistics import NormalDist

import numpy as np
import pytest

from daemons.simulator.schedule import Jitter, poisson
from experiments.comparison.compute import compare
from experiments.comparison.figures import Options
from experiments.comparison.model import Comparison
from experiments.comparison.sides import Side
from experiments.results.run import Run
from experiments.results.series import Floats
from experiments.statistics.bootstrap import Interval
from tests.experiments.made import START_NS
from tests.experiments.random_series import autoregressive
from tests.experiments.series import path_series

pytestmark = pytest.mark.exhaustive

REPETITIONS = 100
# What is promised for nominal 95 %.
ENOUGH = 93
EVENTS = 2000
LEAD_MS = 115.0
LOSS = 0.003
QUICK = Options(repetitions=1000)


def bursty_loss(rate: float, seed: int, events: int = EVENTS) -> np.ndarray:
    """Lose events in bursts of 1 to 3."""
    random = np.random.default_rng([seed, 9])
    starts = np.flatnonzero(random.random(events) < rate / 2)
    lost = np.zeros(events, bool)
    for start in starts.tolist():
        lost[start : start + int(random.integers(1, 4))] = True
    return lost


def simulated_delay(event_ns: list[int], mean_ms: float, deviation_ms: float, seed: int) -> Floats:
    jitter = Jitter(round(deviation_ms * 1e6), seed)
    return mean_ms + np.array([jitter.at(offset) for offset in event_ns]) / 1e6


def simulated_race(seed: int, *, lead_ms: float, ratio: float) -> Comparison:
    """Race two paths with the simulator's own arrivals and jitter."""
    instants = poisson(10, seed)
    offsets = [next(instants) for _ in range(EVENTS)]
    event_ns = START_NS + np.array(offsets, np.int64)
    direct = simulated_delay(offsets, 100 + lead_ms, 8, 1000 + seed)
    backbone = simulated_delay(offsets, 100, 8 * ratio, 2000 + seed)
    return race(event_ns, direct, backbone, seed)


def queueing_race(seed: int, *, lead_ms: float, ratio: float) -> Comparison:
    """Race two paths whose delays are skewed and strongly dependent, as real queues are."""
    event_ns = START_NS + np.arange(EVENTS, dtype=np.int64) * 25_000_000
    direct, backbone = (queueing_delay(seed + part, 8 * scale) for part, scale in ((0, 1), (50_000, ratio)))
    return race(event_ns, 100 + lead_ms + direct, 100 + backbone, seed)


def queueing_delay(seed: int, scale_ms: float, events: int = EVENTS) -> Floats:
    """Give log-normal delays of median 0 whose neighbours' logarithms have correlation 0.7."""
    return scale_ms * (np.exp(0.5 * autoregressive(events, 0.7, seed)) - 1)


def race(event_ns: np.ndarray, direct: Floats, backbone: Floats, seed: int) -> Comparison:
    run = Run(
        Path("race.csv"),
        None,
        {
            "direct": path_series("direct", event_ns, direct, bursty_loss(LOSS, seed), link=False),
            "backbone": path_series("backbone", event_ns, backbone, bursty_loss(LOSS, 500 + seed), link=True),
        },
    )
    return compare(Side("direct", "direct", run), Side("backbone", "backbone", run), replace(QUICK, seed=seed))


def independent_runs(seed: int, *, shift_ms: float, ratio: float) -> Comparison:
    """Compare two runs of dependent, skewed delays that saw different events; long enough for p95."""
    events = 2 * EVENTS
    event_ns = START_NS + np.arange(events, dtype=np.int64) * 25_000_000
    sides = []
    for part, (name, mean, scale) in enumerate((("a", 100.0, 8.0), ("b", 100.0 + shift_ms, 8.0 * ratio))):
        delay = mean + queueing_delay(seed + 50_000 * part, scale, events)
        series = path_series(name, event_ns, delay, bursty_loss(LOSS, seed + 500 * part, events), link=True)
        sides.append(Side(name, name, Run(Path(f"{name}.csv"), None, {name: series})))
    return compare(sides[0], sides[1], replace(QUICK, seed=seed))


def holds(interval: Interval | None, truth: float) -> bool:
    assert interval is not None
    return not interval.excludes(truth)


def median_lead_of_queues(ratio: float) -> float:
    """Give the true median of the difference of two skewed delays, which is not the difference of their medians."""
    quantiles = [NormalDist().inv_cdf((i + 0.5) / 1000) for i in range(1000)]
    delay = 8 * (np.exp(0.5 * np.array(quantiles)) - 1)
    return LEAD_MS + float(np.median(np.subtract.outer(delay, ratio * delay)))


@pytest.mark.parametrize(
    ("race_of", "truth"),
    [(simulated_race, LEAD_MS), (queueing_race, median_lead_of_queues(0.5))],
    ids=["simulator", "queues"],
)
def test_intervals_of_a_race_cover_the_injected_truth(race_of: object, truth: float) -> None:
    assert callable(race_of)
    covered = {"lead": 0, "jitter": 0, "loss": 0}
    for seed in range(REPETITIONS):
        found: Comparison = race_of(seed, lead_ms=LEAD_MS, ratio=0.5)
        assert found.race is not None
        covered["lead"] += holds(found.race.median_lead_interval, truth)
        covered["jitter"] += holds(found.figure("stddev").relative_interval, -0.5)
        covered["loss"] += holds(found.figure("loss").interval, 0.0)
        assert found.verdict.outcome == "difference"
    assert min(covered.values()) >= ENOUGH, covered


def test_intervals_of_two_runs_cover_the_injected_truth() -> None:
    covered = {"median": 0, "p95": 0, "mean": 0, "jitter": 0}
    beyond = math.exp(0.5 * NormalDist().inv_cdf(0.95)) - 1
    for seed in range(REPETITIONS):
        found = independent_runs(seed, shift_ms=21.4, ratio=0.5)
        covered["median"] += holds(found.figure("median").interval, 21.4)
        covered["p95"] += holds(found.figure("p95").interval, 21.4 - 4 * beyond)
        covered["mean"] += holds(found.figure("mean").interval, 21.4 - 4 * (math.exp(0.125) - 1))
        covered["jitter"] += holds(found.figure("stddev").relative_interval, -0.5)
    assert min(covered.values()) >= ENOUGH, covered


@pytest.mark.parametrize(
    "compared",
    [
        lambda seed: simulated_race(seed, lead_ms=0, ratio=1),
        lambda seed: queueing_race(seed, lead_ms=0, ratio=1),
        lambda seed: independent_runs(seed, shift_ms=0, ratio=1),
    ],
    ids=["simulator", "queues", "two-runs"],
)
def test_two_equal_paths_show_no_difference(compared: object) -> None:
    assert callable(compared)
    outcomes = [compared(seed).verdict for seed in range(REPETITIONS)]
    silent = [verdict for verdict in outcomes if verdict.sentence.startswith("no difference shown between")]
    assert len(silent) >= ENOUGH, [verdict.sentence for verdict in outcomes if verdict not in silent]
