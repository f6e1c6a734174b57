"""The tracker against a model that remembers every number by itself."""

from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemons.measurement.sequence import Outcome, SequenceTracker

WAIT_NS = 1000


@dataclass
class Model:
    """Knows of each number whether it came, and of each missing one in which hole and since when."""

    base: int
    highest: int = 0
    arrived: int = 0
    seen: set[int] = field(default_factory=set)
    missing: dict[int, tuple[int, int]] = field(default_factory=dict)
    declared: set[int] = field(default_factory=set)
    given_up: set[int] = field(default_factory=set)
    counts: dict[Outcome, int] = field(default_factory=lambda: dict.fromkeys(Outcome, 0))
    gaps: int = 0
    gap_events: int = 0
    late: int = 0
    holes: int = 0

    def __post_init__(self) -> None:
        self.highest = self.arrived = self.base

    def observe(self, sequence: int, now_ns: int) -> Outcome:
        overtaken, self.arrived = sequence < self.arrived, max(self.arrived, sequence)
        self.announce(sequence - 1, now_ns)
        new = sequence in self.missing or sequence > self.highest
        if new:
            self.late += sequence in self.declared
            self.seen.add(sequence)
            self.missing.pop(sequence, None)
        self.highest = max(self.highest, sequence)
        # RFC 4737 compares with what has arrived: an announcement overtakes nothing.
        outcome = (Outcome.REORDERED if overtaken else Outcome.IN_ORDER) if new else Outcome.DUPLICATE
        self.counts[outcome] += 1
        return outcome

    def announce(self, highest: int, now_ns: int) -> None:
        self.holes += 1
        for number in range(self.highest + 1, highest + 1):
            self.missing[number] = (self.holes, now_ns)
        self.highest = max(self.highest, highest)

    def give_up(self, first: int, last: int, now_ns: int) -> None:
        self.announce(last, now_ns)
        told = {number for number in range(first, last + 1) if number in self.missing}
        self.gap_events -= len(told & self.declared)
        self.declared -= told
        self.given_up |= told
        for number in told:
            del self.missing[number]

    def declare(self, before_ns: int | None) -> int:
        due = {
            number: hole
            for number, (hole, since_ns) in self.missing.items()
            if number not in self.declared and (before_ns is None or since_ns <= before_ns)
        }
        self.gaps += sum(due.get(number - 1) != hole for number, hole in due.items())
        self.gap_events += len(due)
        self.declared.update(due)
        return len(due)


def assert_same(tracker: SequenceTracker, model: Model) -> None:
    assert tracker.highest == tracker.base + tracker.unique + tracker.missing
    assert tracker.highest == model.highest
    assert tracker.unique == len(model.seen)
    assert tracker.missing == len(model.missing) + len(model.given_up)
    assert tracker.given_up == len(model.given_up)
    assert tracker.duplicates == model.counts[Outcome.DUPLICATE]
    assert tracker.reordered == model.counts[Outcome.REORDERED]
    assert (tracker.gaps, tracker.gap_events, tracker.late) == (model.gaps, model.gap_events, model.late)
    assert tracker.stale == 0


GIVEN_UP_TOGETHER = 7
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("observe"), st.integers(1, 60)),
        st.tuples(st.just("announce"), st.integers(0, 60)),
        st.tuples(st.just("give up"), st.integers(1, 60)),
        st.tuples(st.just("expire"), st.just(0)),
        st.tuples(st.just("wait"), st.integers(1, 2 * WAIT_NS)),
        st.tuples(st.just("finish"), st.just(0)),
    ),
    max_size=80,
)


@given(STEPS, st.sampled_from([0, 7, 1 << 62]))
def test_every_number_is_accounted_for_as_by_brute_force(steps: list[tuple[str, int]], base: int) -> None:
    tracker, model, now_ns = SequenceTracker(base, wait_ns=WAIT_NS), Model(base), 0
    for action, number in steps:
        match action:
            case "observe":
                assert tracker.observe(base + number, now_ns) is model.observe(base + number, now_ns)
            case "announce":
                tracker.announce(base + number, now_ns)
                model.announce(base + number, now_ns)
            case "give up":
                first = base + max(1, number - GIVEN_UP_TOGETHER)
                tracker.give_up(first, base + number, now_ns)
                model.give_up(first, base + number, now_ns)
            case "expire":
                assert tracker.expire(now_ns) == model.declare(now_ns - WAIT_NS)
            case "finish":
                assert tracker.finish() == model.declare(None)
            case _:
                now_ns += number
        assert_same(tracker, model)
    tracker.finish()
    model.declare(None)
    assert_same(tracker, model)
    # In the end, what is missing is what was declared lost and never came.
    assert tracker.missing - tracker.given_up == tracker.gap_events - tracker.late


@given(st.lists(st.integers(1, 300), max_size=200), st.integers(1, 5))
def test_holes_are_bounded_and_the_sum_still_holds(numbers: list[int], max_holes: int) -> None:
    tracker = SequenceTracker(max_holes=max_holes)
    brought: set[int] = set()
    for now_ns, number in enumerate(numbers):
        outcome = tracker.observe(number, now_ns)
        assert len(tracker._hole_starts) <= max_holes
        assert tracker.highest == tracker.unique + tracker.missing
        # Nothing is counted twice; what was forgotten is said to be stale, not guessed at.
        if number in brought:
            assert outcome in (Outcome.DUPLICATE, Outcome.STALE)
        else:
            assert outcome is not Outcome.DUPLICATE
        brought.add(number)
    assert tracker.unique + tracker.stale + tracker.duplicates == len(numbers)
    tracker.finish()
    assert tracker.missing == tracker.gap_events - tracker.late


@pytest.mark.parametrize("sequence", [0, -3, 40])
def test_numbers_up_to_the_base_are_repetitions(sequence: int) -> None:
    tracker = SequenceTracker(40)
    assert tracker.observe(sequence, 0) is Outcome.DUPLICATE
    assert (tracker.highest, tracker.unique, tracker.missing) == (40, 0, 0)


def test_a_hole_filled_in_time_is_reordering_and_later_a_loss() -> None:
    tracker = SequenceTracker(wait_ns=WAIT_NS)
    tracker.observe(3, 0)
    assert tracker.observe(1, WAIT_NS - 1) is Outcome.REORDERED
    assert tracker.expire(WAIT_NS - 1) == 0
    assert tracker.expire(WAIT_NS) == 1
    assert tracker.observe(2, WAIT_NS + 1) is Outcome.REORDERED
    assert (tracker.gaps, tracker.gap_events, tracker.late, tracker.missing) == (1, 1, 1, 0)
