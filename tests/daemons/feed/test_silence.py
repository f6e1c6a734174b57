"""Streams of known habits: the steady ones that stop are told, and no others."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemons.feed.silence import FACTOR, LEAST_SECONDS, MIN_EVENTS, StreamWatch

LOOK = 0.5


class Trial:
    """A connection whose streams are driven by hand; remembers what was told."""

    def __init__(self, *streams: str) -> None:
        self.watch = StreamWatch(streams)
        self.now = 1000.0
        self.events = dict.fromkeys(streams, 0)
        self.told: list[tuple[str, str]] = []
        self.look()

    def look(self) -> None:
        fallen, heard = self.watch.look(self.now, self.events)
        self.told += [("fallen", name) for name in fallen] + [("heard", name) for name in heard]

    def spend(self, seconds: float, *coming: str) -> None:
        """Let time go by in which each of these streams brings ten events a second."""
        for _ in range(int(seconds / LOOK)):
            self.now += LOOK
            for name in coming:
                self.events[name] += 5
            self.look()


def test_a_steady_stream_that_stops_is_told_once_and_again_when_it_is_heard() -> None:
    trial = Trial("a", "b")
    trial.spend(60, "a", "b")
    trial.spend(LEAST_SECONDS - LOOK, "b")
    assert trial.told == []
    trial.spend(30, "b")
    assert (trial.told, trial.watch.silent) == ([("fallen", "a")], {"a"})
    trial.spend(1, "a", "b")
    assert (trial.told[1:], trial.watch.silent) == ([("heard", "a")], set())
    # It can pause so: the same pause is not told a second time.
    trial.spend(60, "b")
    trial.spend(1, "a", "b")
    assert len(trial.told) == 2


def test_a_connection_that_stalls_as_a_whole_is_not_a_stream_that_is_silent() -> None:
    trial = Trial("a", "b")
    trial.spend(60, "a", "b")
    trial.spend(300)
    trial.spend(LOOK, "b")
    trial.spend(5, "a", "b")
    assert trial.told == []


def test_a_new_connection_begins_anew() -> None:
    trial = Trial("a", "b")
    trial.spend(60, "a", "b")
    trial.spend(20, "b")
    trial.watch.interrupt()
    assert trial.watch.silent == set()
    trial.spend(LEAST_SECONDS - LOOK, "b")
    assert trial.told == [("fallen", "a")]
    trial.spend(LEAST_SECONDS, "b")
    assert trial.told == [("fallen", "a")] * 2


@pytest.mark.parametrize("brought", [0, 5, MIN_EVENTS - 5])
def test_what_is_hardly_known_is_not_judged(brought: int) -> None:
    trial = Trial("a", "b")
    trial.spend(60, "b")
    trial.events["a"] = brought
    trial.spend(3600, "b")
    assert trial.told == []


@given(st.integers(0, 2**32), st.lists(st.floats(0.02, 20), min_size=2, max_size=5))
def test_streams_of_any_constant_rate_are_not_silent_and_one_that_stops_is_in_time(
    seed: int, rates: list[float]
) -> None:
    rng = random.Random(seed)
    # The first is live enough that the connection as a whole never pauses.
    rates = [50.0, *rates]
    names = [str(index) for index in range(len(rates))]
    trial = Trial(*names)
    due = [trial.now + rng.expovariate(rate) for rate in rates]
    steps = 2000
    for _ in range(steps):
        trial.now += LOOK
        for index, name in enumerate(names):
            while due[index] <= trial.now:
                trial.events[name] += 1
                due[index] += rng.expovariate(rates[index])
        trial.look()
    assert trial.told == []
    longest = trial.watch._known["1"].longest_pause
    judged = trial.events["1"] >= MIN_EVENTS
    trial.spend(max(LEAST_SECONDS, FACTOR * longest) + 2 * LOOK, *(name for name in names if name != "1"))
    assert trial.told == ([("fallen", "1")] if judged else [])


def test_a_stream_that_never_brought_anything_is_named_once_when_others_have_come_for_a_minute() -> None:
    """A misspelt name is accepted by the exchange like any other."""
    watch = StreamWatch(["a@trade", "a@traed", "b@trade"])
    named = []
    for second in range(200):
        watch.look(float(second), {"a@trade": second, "b@trade": second // 50})
        found = watch.unheard()
        assert not (found and second < 60)
        named += found
    assert named == ["a@traed"]


def test_while_nothing_comes_at_all_no_stream_is_named() -> None:
    watch = StreamWatch(["a@trade", "b@trade"])
    for second in range(200):
        watch.look(float(second), {})
        assert watch.unheard() == []
