"""From blocks to an answer; with the simulator's own delays, jitter and drift, at a virtual clock."""

import math

import numpy as np
import pytest

from daemons.simulator.schedule import Drift, Jitter
from experiments.doors.blocks import BlockTable, RacedBlock
from experiments.doors.standing import configuration_line, say, standings
from experiments.statistics.sequential import FEWEST_BLOCKS
from tests.experiments.random_series import autoregressive

NAMES = [f"192.0.2.{number}" for number in range(64)]
DOORS = 16
BLOCK_NS = 10_000_000_000


def made(lags: np.ndarray) -> list[RacedBlock]:
    return [
        RacedBlock(number, {door: float(lag) for door, lag in enumerate(row) if not math.isnan(lag)}, {}, {}, 100)
        for number, row in enumerate(lags)
    ]


def noise(blocks: int, doors: int, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).normal(0.0, 0.02, (blocks, doors))


@pytest.mark.parametrize(("doors", "others"), [(4, "the 3 others"), (2, "the other")])
def test_the_best_door_is_named_and_pinned(doors: int, others: str) -> None:
    lags = noise(200, doors)
    lags[:, 1] -= 0.3
    now = standings(made(lags), range(doors), doors, doors, 0.95, 0.05)
    assert (now.outcome, now.leaders, now.order[0]) == ("best", [1], 1)
    lead, reach = now.behind[now.order[1]]
    assert lead - reach > 0
    assert lead == pytest.approx(0.3, abs=0.02)
    assert say(now, NAMES, 0.05, 10.0).startswith(f"{NAMES[1]} is the best door: ahead of {others} by 0.")
    assert configuration_line(["192.0.2.2"]) == 'address = "192.0.2.2"'


def test_doors_of_the_nearer_zone_are_named_together_where_they_are_alike() -> None:
    lags = noise(300, 5)
    lags[:, [1, 3]] -= 0.4
    now = standings(made(lags), range(5), 5, 5, 0.95, 0.05)
    assert now.outcome == "best"
    assert sorted(now.leaders) == [1, 3]
    assert "alike within 0.05 ms" in say(now, NAMES, 0.05, 10.0)
    assert configuration_line(["192.0.2.1", "2001:db8::3"]) == 'address = ["192.0.2.1", "2001:db8::3"]'


def test_where_all_are_alike_no_pin_is_recommended() -> None:
    now = standings(made(noise(300, 4)), range(4), 4, 4, 0.95, 0.05)
    assert now.outcome == "none-better"
    assert "no pin is worth it" in say(now, NAMES, 0.05, 10.0)


def test_a_lead_below_the_margin_is_no_reason_for_a_pin_however_sure_it_is() -> None:
    lags = noise(400, 3) * 0.01
    lags[:, 0] -= 0.02
    assert standings(made(lags), range(3), 3, 3, 0.95, 0.05).outcome == "none-better"


def test_before_enough_blocks_it_says_how_long_it_takes_at_least() -> None:
    now = standings(made(noise(FEWEST_BLOCKS - 12, 3)), range(3), 3, 3, 0.95, 0.05)
    assert now.outcome == "undecided"
    assert "at least 120 s more" in say(now, NAMES, 0.05, 10.0)
    assert standings([], range(3), 3, 3, 0.95, 0.05).outcome == "undecided"
    assert standings(made(noise(90, 1)), [0], 1, 1, 0.95, 0.05).outcome == "nothing"


def test_doors_that_take_turns_are_ranked_by_the_blocks_that_they_share() -> None:
    lags = noise(900, 6)
    lags[:, 4] -= 0.3
    for block in range(900):
        out = [door for door in range(6) if door != 4 and (block // 6 + door) % 3 == 0]
        lags[block, out] = math.nan
    now = standings(made(lags), range(6), 6, 6, 0.95, 0.05)
    assert now.leaders == [4]
    assert all(abs(now.behind[door][0] - 0.3) < 0.03 for door in now.order[1:])


def test_doors_found_later_widen_the_intervals_by_their_share_of_the_error() -> None:
    blocks = made(noise(100, 4))
    few = standings(blocks, range(4), 4, 4, 0.95, 0.05)
    same = standings(blocks, range(4), 4, 4, 0.95, 0.05)
    more = standings(blocks, range(4), 9, 4, 0.95, 0.05)
    other = few.order[1]
    assert few.behind == same.behind
    assert more.behind[other][1] > few.behind[other][1]
    # Of 4, 8, 16 … doors half, a quarter, an eighth … of the allowed error: together never more than all of it.
    assert sum(0.05 / 2 ** (era + 1) for era in range(50)) <= 0.05


def raced(seed: int, better_ms: float, blocks: int) -> tuple[list[RacedBlock], int]:
    """Race 16 doors as the simulator delays them, an event a second, at a virtual clock."""
    random = np.random.default_rng([seed, 7])
    best = int(random.integers(DOORS))
    drifting = (best + 1 + int(random.integers(DOORS - 1))) % DOORS
    drift = Drift(300_000, seed)
    jitters = [Jitter(100_000, 1000 * seed + door) for door in range(DOORS)]
    slow = [0.1 * autoregressive(blocks, 0.5, 100 * seed + door) for door in range(DOORS)]
    table = BlockTable(0, BLOCK_NS)
    for number in range(blocks * 10):
        sent = number * 1_000_000_000
        for door, jitter in enumerate(jitters):
            delay = 5_000_000 + jitter.at(sent) + round(slow[door][number // 10] * 1e6)
            delay -= round(better_ms * 1e6) if door == best else 0
            delay += drift.at(sent) if door == drifting else 0
            table.observe(door, number, sent + delay)
    return table.due((blocks + 1) * BLOCK_NS), best


def named(blocks: list[RacedBlock]) -> list[int]:
    """Look after every block until it is sure."""
    for count in range(FEWEST_BLOCKS, len(blocks) + 1, 5):
        now = standings(blocks[:count], range(DOORS), DOORS, DOORS, 0.95, 0.05)
        if now.leaders:
            return now.leaders
    return []


def test_of_16_simulated_doors_the_faster_is_named() -> None:
    blocks, best = raced(1, 0.2, 120)
    assert named(blocks) == [best]


@pytest.mark.exhaustive
def test_of_16_simulated_doors_the_faster_is_named_over_100_seeds_and_no_other() -> None:
    right = wrong = 0
    for seed in range(100):
        blocks, best = raced(seed, 0.2, 240)
        found = named(blocks)
        right += found == [best]
        wrong += found not in ([best], [])
    assert right >= 95
    assert wrong <= 5
