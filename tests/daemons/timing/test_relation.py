"""Stamps of a clock that is known exactly, told by what was measured of it."""

import random
from collections.abc import Callable

import pytest

from daemons.timing.relation import ClockRelation

BEGIN_NS = 1_700_000_000_000_000_000
PERIOD_NS = 500_000_000
TAI_NS = 37_000_000_000


class World:
    """A system clock that is right, and another that differs from it as it is told to."""

    def __init__(self, seed: int, ahead: Callable[[int], float]) -> None:
        self.rng = random.Random(seed)
        self._ahead = ahead
        self.relation = ClockRelation()
        self.now_ns = 0

    def other_ns(self, at_ns: int) -> int:
        return BEGIN_NS + at_ns + TAI_NS + round(self._ahead(at_ns))

    def measure(self) -> None:
        """Read three times, each held up by some time before and after the moment of the other clock."""
        readings = []
        for _time in range(3):
            before, after = self.rng.randrange(500, 4_000), self.rng.randrange(500, 4_000)
            readings.append(
                (BEGIN_NS + self.now_ns, self.other_ns(self.now_ns + before), BEGIN_NS + self.now_ns + before + after)
            )
            self.now_ns += before + after
        self.relation.observe(readings)

    def pass_period(self) -> list[int | None]:
        """Let half a second pass, with stamps at random moments; return by how much each is wrong, None for refused."""
        wrong: list[int | None] = []
        for at_ns in sorted(self.rng.randrange(PERIOD_NS) for _stamp in range(20)):
            told = self.relation.to_system(self.other_ns(self.now_ns + at_ns))
            wrong.append(None if told is None else told - BEGIN_NS - self.now_ns - at_ns)
        self.now_ns += PERIOD_NS
        self.measure()
        return wrong


@pytest.mark.parametrize("ppm", [0, 0.02, -50, 100, 500, -999])
def test_a_clock_of_another_rate_is_told_within_the_stated_error(ppm: float) -> None:
    world = World(1, lambda at_ns: at_ns * ppm * 1e-6)
    assert world.relation.to_system(world.other_ns(0)) is None
    for _time in range(3):
        assert not world.relation.usable
        world.measure()
        world.now_ns += PERIOD_NS
    for _time in range(200):
        errors = world.pass_period()
        assert all(error is not None and abs(error) <= world.relation.error_ns for error in errors)
    assert world.relation.steps == 0
    # Half of a reading of 4 us, and 10 us of what the rate may have changed by.
    assert world.relation.error_ns < 15_000


def test_a_rate_that_wanders_is_followed() -> None:
    # A crystal that warms up: by 0.1 ppm a second at most.
    world = World(2, lambda at_ns: 5e-6 * at_ns + 2.5e-17 * at_ns * at_ns)
    for _time in range(3):
        world.measure()
        world.now_ns += PERIOD_NS
    for _time in range(400):
        errors = world.pass_period()
        assert all(error is not None and abs(error) <= world.relation.error_ns for error in errors)
    assert world.relation.steps == 0


@pytest.mark.parametrize("size_ns", [30_000, -30_000, 1_000_000, -5_000_000, 37_000_000_000, 1_039_723_456_473])
def test_after_a_step_nothing_is_told_until_the_clock_keeps_still(size_ns: int) -> None:
    at_ns = 20 * PERIOD_NS
    world = World(3, lambda now_ns: 10e-6 * now_ns + (size_ns if now_ns >= at_ns else 0))
    for _time in range(3):
        world.measure()
        world.now_ns += PERIOD_NS
    refused = wrong = 0
    for _time in range(60):
        before = world.relation.error_ns
        for error in world.pass_period():
            refused += error is None
            wrong += error is not None and abs(error) > before
    assert world.relation.steps == 1
    # Wrong for no more than the half second until the next measurement, and refused for two more.
    assert wrong <= 20
    assert 20 <= refused <= 60


def test_a_clock_that_steps_all_the_time_is_never_told() -> None:
    world = World(4, lambda now_ns: now_ns // PERIOD_NS % 2 * 1_000_000_000)
    for _time in range(50):
        world.measure()
        world.now_ns += PERIOD_NS
        assert world.relation.to_system(world.other_ns(world.now_ns)) is None
    assert world.relation.steps > 40


def test_a_step_of_the_system_clock_is_one_too() -> None:
    relation = ClockRelation()
    for index in range(4):
        at_ns = BEGIN_NS + index * PERIOD_NS
        relation.observe([(at_ns, at_ns + TAI_NS + 1_000, at_ns + 2_000)])
    assert relation.usable
    set_forth = BEGIN_NS + 4 * PERIOD_NS
    relation.observe([(set_forth + 10**9, set_forth + TAI_NS + 1_000, set_forth + 10**9 + 2_000)])
    assert (relation.steps, relation.usable) == (1, False)


def test_readings_that_took_long_say_nothing() -> None:
    relation = ClockRelation()
    for index in range(10):
        at_ns = BEGIN_NS + index * PERIOD_NS
        relation.observe([(at_ns, at_ns + 1, at_ns + 1_000_000), (at_ns + 5, at_ns, at_ns)])
    relation.observe([])
    assert not relation.usable


def test_what_was_measured_grows_stale() -> None:
    world = World(5, lambda _now_ns: 0.0)
    for _time in range(3):
        world.measure()
        world.now_ns += PERIOD_NS
    assert world.relation.to_system(world.other_ns(world.now_ns)) is not None
    assert world.relation.to_system(world.other_ns(world.now_ns + 10_000_000_000)) is None
    assert world.relation.to_system(0) is None
