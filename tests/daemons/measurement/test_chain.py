"""The chain's tracker against a model that remembers every id by itself."""

from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemons.measurement.chain import ChainTracker
from daemons.measurement.sequence import Outcome

WAIT_NS = 1000


@dataclass
class Model:
    """Knows of each missing id in which hole it is; a hole is a run of ids that began to miss together."""

    highest: int
    missing: dict[int, tuple[int, int]] = field(default_factory=dict)
    declared: set[int] = field(default_factory=set)
    unique: int = 0
    duplicates: int = 0
    reordered: int = 0
    opened: int = 0

    def observe(self, previous: int, last: int, now_ns: int) -> None:
        behind = last <= self.highest
        if previous > self.highest:
            self.opened += 1
            self.missing.update(dict.fromkeys(range(self.highest + 1, previous + 1), (self.opened, now_ns)))
        filled = [number for number in range(previous + 1, last + 1) if self.missing.pop(number, None)]
        self.declared.difference_update(filled)
        self.highest = max(self.highest, last)
        self.unique += not behind or bool(filled)
        self.reordered += behind and bool(filled)
        self.duplicates += behind and not filled

    def declare(self, before_ns: int | None) -> int:
        due = {n for n, (_hole, since) in self.missing.items() if before_ns is None or since <= before_ns}
        new = self._holes(due - self.declared)
        self.declared |= due
        return new

    def holes(self) -> int:
        return self._holes(set(self.missing))

    def open_and_declared(self) -> int:
        return self._holes(self.declared)

    def _holes(self, numbers: set[int]) -> int:
        return sum(self.missing.get(number - 1) != self.missing[number] for number in numbers)


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("observe"), st.integers(1, 60), st.integers(1, 15)),
        st.tuples(st.just("expire"), st.just(0), st.just(0)),
        st.tuples(st.just("wait"), st.integers(1, 2 * WAIT_NS), st.just(0)),
    ),
    max_size=80,
)


@given(STEPS, st.sampled_from([0, 7, 1 << 62]))
def test_every_event_and_hole_is_accounted_for_as_by_brute_force(steps: list[tuple[str, int, int]], base: int) -> None:
    tracker, model, now_ns = ChainTracker(base, wait_ns=WAIT_NS), Model(base), 0
    for action, number, length in steps:
        if action == "observe":
            last = base + number
            previous = max(base, last - length)
            tracker.observe(previous, last, now_ns)
            model.observe(previous, last, now_ns)
        elif action == "expire":
            assert tracker.expire(now_ns) == model.declare(now_ns - WAIT_NS)
        else:
            now_ns += number
        assert tracker.highest == model.highest
        assert tracker.missing == model.holes()
        assert tracker.gap_events - tracker.late == model.open_and_declared()
        assert (tracker.unique, tracker.duplicates, tracker.reordered) == (
            model.unique,
            model.duplicates,
            model.reordered,
        )
    tracker.finish()
    assert tracker.gap_events - tracker.late == tracker.missing


@given(st.lists(st.tuples(st.integers(1, 400), st.integers(1, 5)), max_size=200), st.integers(1, 5))
def test_holes_are_bounded_and_what_was_forgotten_is_stale(arrivals: list[tuple[int, int]], max_holes: int) -> None:
    tracker = ChainTracker(0, max_holes=max_holes)
    brought: set[int] = set()
    for now_ns, (last, length) in enumerate(arrivals):
        ids = set(range(max(0, last - length) + 1, last + 1))
        outcome = tracker.observe(max(0, last - length), last, now_ns)
        assert len(tracker._afters) <= max_holes
        if ids <= brought:
            assert outcome in (Outcome.DUPLICATE, Outcome.STALE)
        brought |= ids
    assert tracker.unique + tracker.duplicates + tracker.stale == len(arrivals)
    tracker.finish()
    assert tracker.gap_events - tracker.late == tracker.missing


@pytest.mark.parametrize("size", [1, 5_000_000_000])
def test_a_hole_is_one_event_at_least_however_many_ids_it_spans(size: int) -> None:
    tracker = ChainTracker(100)
    tracker.observe(100, 100 + size, 0)
    tracker.observe(100 + 2 * size, 100 + 3 * size, 0)
    assert (tracker.unique, tracker.missing) == (2, 1)
    assert tracker.observe(100 + size, 100 + 2 * size, 1) is Outcome.REORDERED
    assert (tracker.unique, tracker.missing) == (3, 0)


def test_a_range_that_reaches_back_fills_every_hole_in_it() -> None:
    tracker = ChainTracker(0, wait_ns=WAIT_NS)
    tracker.observe(3, 5, 0)
    tracker.observe(8, 10, 0)
    assert tracker.missing == 2
    assert tracker.observe(1, 11, 0) is Outcome.IN_ORDER
    assert (tracker.missing, tracker.unique, tracker.highest) == (1, 3, 11)
