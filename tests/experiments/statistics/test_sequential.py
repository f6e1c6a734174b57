"""Doors looked at again and again: the better one is named, a lucky one is not; with the simulator's own drift."""

import math

import numpy as np
import pytest

from daemons.simulator.schedule import Drift
from experiments.results.series import Floats
from experiments.statistics.sequential import FEWEST_BLOCKS, look
from tests.experiments.random_series import autoregressive

DOORS = 16
BLOCKS = 360
BLOCK_NS = 10_000_000_000


def lags(seed: int, better_ms: float, drift_ms: float = 0.3) -> tuple[Floats, int]:
    """Give blocks x doors of median lags, of which one drifts, and the door that is faster."""
    random = np.random.default_rng([seed, 3])
    best = int(random.integers(DOORS))
    drifting = (best + 1 + int(random.integers(DOORS - 1))) % DOORS
    found = 0.1 * np.stack([autoregressive(BLOCKS, 0.5, 100 * seed + door) for door in range(DOORS)], axis=1)
    found[:, best] -= better_ms
    drift = Drift(round(drift_ms * 1e6), seed)
    found[:, drifting] += [drift.at(block * BLOCK_NS) / 1e6 for block in range(BLOCKS)]
    return found, best


def named(found: Floats, every: int = 1) -> tuple[int | None, int]:
    """Look after every block until a door is named; give it, and after how many blocks."""
    for blocks in range(FEWEST_BLOCKS, BLOCKS + 1, every):
        if (best := look(found[:blocks], 0.95).best()) is not None:
            return best, blocks
    return None, BLOCKS


@pytest.mark.exhaustive
def test_of_16_doors_the_faster_is_named_and_no_other_over_100_seeds() -> None:
    right = wrong = 0
    for seed in range(100):
        found, best = lags(seed, 0.2)
        name, _ = named(found)
        right += name == best
        wrong += name not in {best, None}
    assert right >= 95
    assert wrong <= 5


@pytest.mark.exhaustive
def test_of_16_alike_doors_one_is_named_in_5_percent_at_most() -> None:
    assert sum(named(lags(seed, 0.0)[0], every=3)[0] is not None for seed in range(100)) <= 5


def test_a_few_seeds_name_the_faster_door() -> None:
    for seed in range(3):
        found, best = lags(seed, 0.2)
        assert named(found, every=10)[0] == best


def test_intervals_of_alike_doors_hold_at_every_look() -> None:
    missed = 0
    for seed in range(20):
        found = 0.1 * np.random.default_rng(seed).normal(size=(200, 4))
        missed += any(
            (np.abs(now.lead) > now.reach).any() for now in (look(found[:n], 0.95) for n in range(30, 201, 5))
        )
    assert missed <= 2


def test_before_enough_blocks_nothing_is_said_whatever_the_lead() -> None:
    found = np.arange(4.0) + np.zeros((FEWEST_BLOCKS - 1, 1))
    now = look(found, 0.95)
    assert (now.best(), now.none_better(10.0), now.blocks) == (None, False, FEWEST_BLOCKS - 1)
    assert math.isinf(now.reach[0, 1])
    assert now.order == [0, 1, 2, 3]
    assert look(np.vstack([found, found[:1]]), 0.95).best() == 0


def test_doors_that_bring_nothing_for_a_while_are_compared_by_what_they_brought() -> None:
    random = np.random.default_rng(1)
    found = random.normal(size=(200, 3)) * 0.05 + np.array([0.0, 0.5, 0.5])
    found[50:120, 1] = np.nan
    found[:, 2] = np.nan
    now = look(found, 0.95)
    assert now.blocks == 0
    assert now.ahead(0, 1)
    assert not now.ahead(0, 2)
    assert now.lead[0, 1] == pytest.approx(np.nanmean(found[:, 1] - found[:, 0]))
    assert now.best() is None


def test_alike_doors_are_shown_to_be_alike_within_a_margin() -> None:
    found = 0.01 * np.random.default_rng(1).normal(size=(200, 4))
    now = look(found, 0.95)
    assert now.none_better(0.05)
    assert not now.none_better(0.0)
    assert not now.ahead(0, 0)
    assert (now.lead == -now.lead.T).all()
