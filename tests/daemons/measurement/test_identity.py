"""Ids as an exchange gives them, and as it begins them anew."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemons.measurement.identity import FAR, MAX_JUMP, TIMELESS_RUN, IdAccount, Sighting
from daemons.records import Numbering

NUMBERED = [Numbering.CONTIGUOUS, Numbering.CHAINED, Numbering.INCREASING]
MILLISECOND = 1_000_000
START_NS = 1_700_000_000_000 * MILLISECOND
NEW, REPEATED, ABSURD = Sighting.NEW, Sighting.REPEATED, Sighting.ABSURD


def observe(ids: IdAccount, number: int, event_ms: int | None) -> Sighting:
    event_ns = None if event_ms is None else START_NS + event_ms * MILLISECOND
    return ids.observe(number, number - 1, event_ns, 0)


def total(ids: IdAccount, attribute: str) -> int:
    return sum(getattr(tracker, attribute) for tracker in ids.trackers)


@pytest.mark.parametrize("numbering", NUMBERED)
@pytest.mark.parametrize("before", [1_000_000, 400])
def test_ids_that_start_over_are_measured_on(before: int, numbering: Numbering) -> None:
    ids = IdAccount(numbering)
    for turn in range(300):
        assert observe(ids, before + turn, turn) is NEW
    for turn in range(1, 502):
        assert observe(ids, turn, 10_000 + turn) is NEW
    assert (ids.resets, ids.repeated, total(ids, "duplicates"), total(ids, "missing")) == (1, 0, 0, 0)
    if numbering is not Numbering.INCREASING:
        assert total(ids, "unique") == 801


@pytest.mark.parametrize("numbering", NUMBERED)
def test_a_late_copy_is_a_repetition_before_and_after_a_reset(numbering: Numbering) -> None:
    ids = IdAccount(numbering)
    for turn in range(20_000):
        observe(ids, 1_000_000 + turn, turn)
    assert observe(ids, 1_000_003, 3) is REPEATED
    assert observe(ids, 1_019_999, 19_999) is REPEATED
    assert observe(ids, 1, 30_000) is NEW
    assert observe(ids, 1_019_998, 19_998) is REPEATED
    assert observe(ids, 2, 30_001) is NEW
    assert (ids.resets, ids.leaps, total(ids, "missing")) == (1, 0, 0)


def test_without_event_times_a_reset_shows_after_a_reconnect_or_in_a_run() -> None:
    ids = IdAccount(Numbering.INCREASING)
    observe(ids, 10_000_000, None)
    assert observe(ids, 9_999_999, None) is REPEATED
    ids.rejoin()
    assert observe(ids, 10_000_000 - FAR - 1, None) is NEW
    assert ids.resets == 1
    observe(ids, 10_000_000, None)
    sightings = [observe(ids, 5 + turn, None) for turn in range(TIMELESS_RUN + 5)]
    assert sightings == [REPEATED] * (TIMELESS_RUN - 1) + [NEW] * 6
    assert ids.resets == 2


def test_ids_that_moved_on_too_far_in_an_outage_are_followed_from_the_second() -> None:
    for numbering in NUMBERED:
        ids = IdAccount(numbering)
        observe(ids, 5, 0)
        found = [observe(ids, 6 + 2 * MAX_JUMP + turn, 90_000 + turn) for turn in range(4)]
        assert found == [ABSURD, NEW, NEW, NEW]
        assert (ids.leaps, ids.absurd, total(ids, "missing")) == (1, 1, 0)


def test_one_nonsense_id_moves_nothing() -> None:
    ids = IdAccount(Numbering.CONTIGUOUS)
    observe(ids, 5, 0)
    assert observe(ids, 1 << 60, 1) is ABSURD
    assert observe(ids, 6, 2) is NEW
    assert observe(ids, (1 << 60) + (1 << 59), 3) is ABSURD
    assert observe(ids, 7, 4) is NEW
    assert (ids.leaps, ids.absurd, total(ids, "missing"), total(ids, "unique")) == (0, 2, 0, 3)


@given(
    st.lists(st.tuples(st.integers(0, 2_000_000), st.integers(1, 400)), min_size=1, max_size=6),
    st.lists(st.integers(0, 3000), max_size=40),
)
def test_any_numberings_after_each_other_are_counted_whole(lives: list[tuple[int, int]], copies: list[int]) -> None:
    """Each life of the exchange begins where it likes, later than the last by an outage; old copies come any time."""
    ids = IdAccount(Numbering.CONTIGUOUS)
    sent: list[tuple[int, int]] = []
    now_ms, copies_seen, resets, highest = 0, 0, 0, -1
    pending = iter(copies)
    for begin, count in lives:
        now_ms += 5_000
        resets += begin <= highest
        gap = begin > highest + 1 and highest >= 0
        for number in range(begin, begin + count):
            now_ms += 1
            assert observe(ids, number, now_ms) is NEW
            sent.append((number, now_ms))
            if (copy := next(pending, None)) is not None and not gap:
                old, then = sent[-1 - copy % count] if copy % count < number - begin + 1 else sent[-1]
                assert observe(ids, old, then) is REPEATED
                copies_seen += 1
        highest = begin + count - 1
    assert ids.resets == resets
    assert total(ids, "unique") == len(sent)
    assert total(ids, "duplicates") + ids.repeated == copies_seen


def test_a_reset_close_by_that_goes_on_at_once_is_noticed_within_a_second() -> None:
    ids = IdAccount(Numbering.CONTIGUOUS)
    for turn in range(300):
        observe(ids, 5_000 + turn, turn * 10)
    found = [observe(ids, 1 + turn, 3_000 + turn * 10) for turn in range(400)]
    assert ids.resets == 1
    assert found[102:] == [NEW] * 298


def test_ids_of_futures_move_by_billions_between_events_of_a_quiet_symbol_and_nothing_is_lost_or_absurd() -> None:
    ids = IdAccount(Numbering.CHAINED)
    at = [5, 5 + 3 * MAX_JUMP, 5 + 3 * MAX_JUMP + 1, 5 + 9 * MAX_JUMP]
    for previous, last in zip([4, *at], at, strict=False):
        assert ids.observe(last, previous, None, 0) is NEW
    assert (ids.absurd, ids.leaps, total(ids, "missing"), total(ids, "unique")) == (0, 0, 0, 4)


def test_a_chain_that_moved_on_in_an_outage_is_followed_from_its_second_link_however_far() -> None:
    ids = IdAccount(Numbering.CHAINED)
    ids.observe(5, 4, None, 0)
    assert ids.observe(5 + 3 * MAX_JUMP, 2 * MAX_JUMP, None, 0) is ABSURD
    assert ids.observe(5 + 9 * MAX_JUMP, 5 + 3 * MAX_JUMP, None, 0) is NEW
    assert (ids.absurd, ids.leaps, total(ids, "missing")) == (1, 1, 0)
