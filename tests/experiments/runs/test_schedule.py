from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemons.errors import ConfigError
from experiments.runs.schedule import MODES, Plan


def test_a_race_is_one_block() -> None:
    (block,) = Plan("race", 300).blocks()
    assert (block.number, block.mode, block.due_seconds, block.name) == (1, "race", 0, "001-race")


def test_blocks_alternate_so_that_drift_falls_on_both_alike() -> None:
    blocks = Plan("blocks", 60, repeat=2).blocks()
    assert [block.mode for block in blocks] == ["baseline", "aws-backbone"] * 2
    assert [block.name for block in blocks] == ["001-baseline", "002-aws-backbone", "003-baseline", "004-aws-backbone"]


def test_a_day_of_hours_is_24_rounds_on_the_hour_after_the_start() -> None:
    blocks = Plan("race", 300, every_seconds=3600, for_seconds=86_400).blocks()
    assert [block.due_seconds for block in blocks] == [3600.0 * hour for hour in range(24)]


@given(
    st.sampled_from(sorted(MODES)),
    st.integers(1, 4),
    st.floats(1, 1e4),
    st.floats(0.1, 1e4),
)
def test_rounds_never_overlap_and_all_begin_before_the_end(kind: str, repeat: int, spare: float, span: float) -> None:
    duration = 5.0
    every = duration * repeat * len(MODES[kind]) + spare
    plan = Plan(kind, duration, repeat, every, span)
    blocks = plan.blocks()
    assert len(blocks) == plan.rounds * repeat * len(MODES[kind])
    dues = sorted({block.due_seconds for block in blocks})
    assert all(later - earlier >= plan.round_seconds for earlier, later in pairwise(dues))
    assert dues[-1] < max(span, 1e-6)
    assert [block.number for block in blocks] == list(range(1, len(blocks) + 1))


def test_a_round_that_does_not_fit_is_refused() -> None:
    with pytest.raises(ConfigError, match="--every: a round takes 600 s, which is longer than 500 s; shorten"):
        Plan("blocks", 100, repeat=3, every_seconds=500, for_seconds=5000)


def test_every_without_for_is_refused() -> None:
    with pytest.raises(ConfigError, match="--every: says only half; give both"):
        Plan("race", 10, every_seconds=3600)
