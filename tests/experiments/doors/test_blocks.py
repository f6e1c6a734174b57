"""Blocks of a race of doors against a model that has every arrival at once."""

import random

import numpy as np
import pytest

from experiments.doors.blocks import MOST_EVENTS, BlockTable, RacedBlock

SECOND_NS = 1_000_000_000
BLOCK_NS = 10 * SECOND_NS
LATEST_NS = 3 * BLOCK_NS


def blocks_of(arrivals: list[tuple[int, str, int]], until_ns: int = LATEST_NS) -> list[RacedBlock]:
    table = BlockTable(0, BLOCK_NS)
    for at_ns, key, door in sorted(arrivals):
        table.observe(door, key, at_ns)
    return table.due(until_ns)


def test_a_constant_delay_of_each_door_is_found_whatever_events_each_misses() -> None:
    rng = random.Random(5)
    delays_ms = [5.0, 5.2, 4.8, 9.0, 5.0]
    arrivals = []
    for number in range(1000):
        sent = number * LATEST_NS // 1100
        for door, delay in enumerate(delays_ms):
            if rng.random() < 0.8:
                arrivals.append((sent + round(delay * 1e6), f"e{number}", door))
    judged = blocks_of(arrivals)
    assert [block.number for block in judged] == [0, 1]
    for block in judged:
        for door, delay in enumerate(delays_ms):
            assert block.lag_ms[door] - block.lag_ms[0] == pytest.approx(delay - delays_ms[0], abs=1e-6)


def test_random_blocks_are_what_a_model_with_complete_tables_says() -> None:
    for seed in range(20):
        random_of = np.random.default_rng(seed)
        arrivals = random_of.normal(5e6, 1e6, (60, 4)).astype(int) + (np.arange(60) * 100_000_000)[:, None]
        (block,) = blocks_of(
            [(int(at), f"e{row}", door) for row, line in enumerate(arrivals) for door, at in enumerate(line)],
            BLOCK_NS + 2 * SECOND_NS,
        )
        since = (arrivals - arrivals.min()) / 1e6
        commonly = np.median(since - since.mean(axis=1, keepdims=True), axis=0)
        middle = np.median(since - commonly, axis=1, keepdims=True)
        assert [block.lag_ms[door] for door in range(4)] == pytest.approx(list(np.median(since - middle, axis=0)))
        firsts = np.bincount(arrivals.argmin(axis=1), minlength=4)
        assert [block.first.get(door, 0) for door in range(4)] == list(firsts)
        assert block.compared == 60


def test_a_copy_belongs_to_the_block_in_which_the_event_first_came() -> None:
    judged = blocks_of([(BLOCK_NS - 1, "a", 0), (BLOCK_NS + 1, "a", 1)])
    assert [block.compared for block in judged] == [1, 0]
    assert judged[0].lag_ms[1] > judged[0].lag_ms[0]


def test_a_copy_may_come_several_short_blocks_later() -> None:
    table = BlockTable(0, SECOND_NS // 10)
    for number in range(10):
        table.observe(0, f"e{number}", number * SECOND_NS // 100)
    for number in range(10):
        table.observe(1, f"e{number}", number * SECOND_NS // 100 + SECOND_NS)
    judged = table.due(4 * SECOND_NS)
    assert [block.compared for block in judged[:11]] == [10] + [0] * 10
    assert judged[0].lag_ms[1] - judged[0].lag_ms[0] == pytest.approx(1000.0)


def test_what_one_door_brought_alone_or_twice_is_compared_once_or_not_at_all() -> None:
    judged = blocks_of([(1, "alone", 0), (2, "both", 0), (3, "both", 0), (4, "both", 1)])
    assert judged[0].compared == 1
    assert judged[0].events == {0: 1, 1: 1}
    assert judged[0].first == {0: 1}
    assert judged[0].lag_ms[1] - judged[0].lag_ms[0] == pytest.approx(2e-6)


def test_a_door_that_was_there_for_less_than_half_of_a_block_is_not_judged_by_it() -> None:
    arrivals = [(number * 100_000_000 + door, f"e{number}", door) for number in range(90) for door in (0, 1)]
    arrivals += [(number * 100_000_000 + 5, f"e{number}", 2) for number in range(60, 90)]
    block = blocks_of(arrivals)[0]
    assert set(block.lag_ms) == {0, 1}
    assert block.events[2] == 30


def test_a_block_waits_for_slow_copies_and_what_comes_later_still_changes_nothing() -> None:
    table = BlockTable(0, BLOCK_NS)
    table.observe(0, "a", 1)
    assert table.due(BLOCK_NS + SECOND_NS) == []
    table.observe(1, "a", BLOCK_NS + SECOND_NS)
    (block,) = table.due(BLOCK_NS + 2 * SECOND_NS)
    assert block.compared == 1
    table.observe(1, "a", 5)
    assert [block.compared for block in table.due(BLOCK_NS * 2, last=True)] == [0]


def test_a_block_at_full_speed_keeps_a_bounded_number_of_events() -> None:
    table = BlockTable(0, BLOCK_NS)
    for number in range(MOST_EVENTS + 100):
        for door in (0, 1):
            table.observe(door, number, number + door)
    (block,) = table.due(LATEST_NS)[:1]
    assert block.compared == MOST_EVENTS
