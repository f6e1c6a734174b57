"""The table against a brute-force reading of all arrivals."""

from collections import defaultdict
from itertools import combinations

from hypothesis import given
from hypothesis import strategies as st

from daemons.measurement.race import RaceTable

ARRIVALS = st.integers(2, 4).flatmap(
    lambda paths: st.tuples(
        st.just(paths),
        st.lists(
            st.tuples(st.integers(0, 12), st.integers(0, paths - 1), st.integers(0, 50), st.booleans()),
            # Each path brings each event at most once: what comes again is sorted out before the table.
            unique_by=lambda arrival: arrival[:2],
            max_size=40,
        ),
    )
)


@given(ARRIVALS)
def test_every_pair_of_paths_is_compared_as_by_brute_force(
    given_arrivals: tuple[int, list[tuple[int, int, int, bool]]],
) -> None:
    paths, arrivals = given_arrivals
    table = RaceTable(paths, keep_quantiles=True)
    seen: dict[int, dict[int, tuple[int, bool]]] = defaultdict(dict)
    for key, path, at_ns, live in arrivals:
        table.observe(key, path, at_ns, live=live)
        seen[key][path] = (at_ns, live)
    assert len(table) == sum(len(by_path) < paths for by_path in seen.values())
    table.finish()
    assert len(table) == 0
    assert [(pair.path, pair.reference) for pair in table.pairs] == [
        (later, earlier) for earlier, later in combinations(range(paths), 2)
    ]
    for pair in table.pairs:
        both = [
            (by_path[pair.path], by_path[pair.reference])
            for by_path in seen.values()
            if pair.path in by_path and pair.reference in by_path
        ]
        leads = sorted(reference[0] - own[0] for own, reference in both if own[1] and reference[1])
        assert pair.wins == sum(lead > 0 for lead in leads)
        assert pair.reference_wins == sum(lead < 0 for lead in leads)
        assert pair.ties == leads.count(0)
        assert pair.excluded == len(both) - len(leads)
        assert (pair.lead.count, pair.lead.sum_ns) == (len(leads), sum(leads))
        assert pair.leads is not None
        assert pair.leads.count == len(leads)
        assert (pair.leads.minimum, pair.leads.maximum) == ((leads[0], leads[-1]) if leads else (None, None))
        assert pair.only_path == sum(
            pair.path in by_path and pair.reference not in by_path for by_path in seen.values()
        )
        assert pair.only_reference == sum(
            pair.reference in by_path and pair.path not in by_path for by_path in seen.values()
        )
    assert table.unpaired == [sum(set(by_path) == {path} for by_path in seen.values()) for path in range(paths)]
    assert table.repeats == [0] * paths


def test_a_lead_is_positive_for_the_path_that_was_earlier() -> None:
    table = RaceTable(2)
    table.observe("a", 1, 100)
    table.observe("a", 0, 160)
    table.observe("b", 0, 200)
    table.observe("b", 1, 290)
    (pair,) = table.pairs
    assert (pair.path, pair.reference, pair.wins, pair.reference_wins, pair.lead.sum_ns) == (1, 0, 1, 1, 60 - 90)


@given(st.lists(st.integers(0, 30), max_size=100), st.integers(1, 6))
def test_entries_are_bounded_and_the_oldest_is_given_up(keys: list[int], limit: int) -> None:
    table = RaceTable(2, max_entries=limit)
    expected: list[int] = []
    unpaired = repeats = 0
    for at_ns, key in enumerate(keys):
        table.observe(key, 0, at_ns)
        if key in expected:
            repeats += 1
            continue
        expected.append(key)
        if len(expected) > limit:
            expected.pop(0)
            unpaired += 1
        assert len(table) == len(expected)
    assert table.unpaired == [unpaired, 0]
    assert table.repeats == [repeats, 0]
    assert table.pairs[0].only_reference == unpaired


def test_what_has_waited_for_the_maximum_age_is_given_up_once() -> None:
    table = RaceTable(2, max_age_ns=100)
    table.observe("old", 0, 0)
    table.observe("new", 0, 50)
    table.expire(99)
    assert (len(table), table.unpaired) == (2, [0, 0])
    table.expire(100)
    assert (len(table), table.unpaired) == (1, [1, 0])
    # Its other arrival is too late to be compared, and is known on that path alone.
    table.observe("old", 1, 110)
    table.finish()
    (pair,) = table.pairs
    assert (pair.only_path, pair.only_reference, pair.lead.count) == (1, 2, 0)
    assert table.unpaired == [2, 1]


def test_an_arrival_that_was_not_live_is_counted_but_not_measured() -> None:
    table = RaceTable(2)
    table.observe("delayed", 0, 0, live=False)
    table.observe("delayed", 1, 5_000_000_000)
    (pair,) = table.pairs
    assert (pair.excluded, pair.wins, pair.reference_wins, pair.lead.count) == (1, 0, 0, 0)


@given(st.permutations(range(4)))
def test_the_order_turns_pairs_and_signs_and_changes_nothing_else(order: list[int]) -> None:
    table = RaceTable(4, order=order, keep_quantiles=True)
    arrivals_ns = [1_000, 500, 2_500, 1_800]
    for path, at_ns in enumerate(arrivals_ns):
        table.observe("event", path, at_ns)
    assert [(pair.path, pair.reference) for pair in table.pairs] == [
        (later, earlier) for earlier, later in combinations(order, 2)
    ]
    for pair in table.pairs:
        assert pair.leads is not None
        assert pair.leads.mean == arrivals_ns[pair.reference] - arrivals_ns[pair.path]
        assert pair.ahead_ns - pair.behind_ns == pair.leads.mean
        assert min(pair.ahead_ns, pair.behind_ns) == 0
        assert (pair.wins, pair.reference_wins) == ((1, 0) if pair.leads.mean > 0 else (0, 1))
