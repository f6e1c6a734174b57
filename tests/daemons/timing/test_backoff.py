import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemons.timing.backoff import AttemptBudget, Backoff


class Highest(random.Random):
    """Always draws the upper limit."""

    def uniform(self, a: float, b: float) -> float:
        return b


def test_limits_double_up_to_the_cap_and_start_over() -> None:
    backoff = Backoff(Highest(), base_seconds=1.0, cap_seconds=30.0)
    assert [backoff.next_seconds() for _ in range(7)] == [1, 2, 4, 8, 16, 30, 30]
    backoff.reset()
    assert backoff.next_seconds() == 1


def test_years_of_failures_overflow_nothing() -> None:
    backoff = Backoff(Highest())
    backoff.failures = 10**9
    assert backoff.next_seconds() == 30.0


@given(st.integers(0, 100), st.integers(0, 40))
def test_delays_are_spread_from_zero_to_the_limit(seed: int, failures: int) -> None:
    backoff = Backoff(random.Random(seed))
    backoff.failures = failures
    delays = []
    for _ in range(50):
        delays.append(backoff.next_seconds())
        backoff.failures = failures
    limit = min(30.0, 2.0**failures)
    assert all(0 <= delay <= limit for delay in delays)
    assert min(delays) < limit / 2 < max(delays)


@given(st.lists(st.integers(0, 100), max_size=60), st.integers(1, 5))
def test_no_window_ever_holds_more_attempts_than_allowed(pauses: list[int], attempts: int) -> None:
    budget = AttemptBudget(attempts, window_seconds=50e-9)
    made: list[int] = []
    now_ns = 0
    for pause_ns in pauses:
        now_ns += pause_ns
        wait_ns = round(budget.wait_seconds(now_ns) * 1e9)
        recent = [at_ns for at_ns in made if at_ns > now_ns - 50]
        # Allowed as soon as, and no sooner than, the window has room.
        assert wait_ns == (recent[0] + 50 - now_ns if len(recent) >= attempts else 0)
        now_ns += wait_ns
        assert budget.wait_seconds(now_ns) == 0
        budget.spend(now_ns)
        made.append(now_ns)
    assert all(later - earlier >= 50 for earlier, later in zip(made, made[attempts:], strict=False))


def test_the_default_keeps_below_what_binance_allows() -> None:
    budget = AttemptBudget()
    for _ in range(250):
        assert budget.wait_seconds(0) == 0
        budget.spend(0)
    assert budget.wait_seconds(0) == pytest.approx(300)


def test_who_is_told_to_stay_away_from_a_host_is_told_for_all_and_for_that_host_alone() -> None:
    budget = AttemptBudget()
    budget.stay_away("a.example", 120.0, 5)
    budget.stay_away("a.example", 30.0, 6)
    assert budget.wait_seconds(5, "a.example") == 120.0
    assert budget.wait_seconds(5 + 90 * 10**9, "a.example") == 30.0
    assert budget.wait_seconds(5 + 120 * 10**9, "a.example") == 0.0
    assert budget.wait_seconds(5, "b.example") == budget.wait_seconds(5) == 0.0
