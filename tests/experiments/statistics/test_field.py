import numpy as np

from experiments.results.series import PathSeries
from experiments.statistics.field import align, lags_ms
from tests.experiments.made import START_NS
from tests.experiments.series import path_series

EVENTS = 400
EVENT_NS = START_NS + np.arange(EVENTS, dtype=np.int64) * 10_000_000


def brought(name: str, delay_ms: float, lost: list[int] | None = None, jitter: int = 0) -> PathSeries:
    gone = np.zeros(EVENTS, bool)
    gone[lost or []] = True
    noise = np.random.default_rng(jitter).normal(size=EVENTS) * (jitter > 0)
    return path_series(name, EVENT_NS, delay_ms + noise, gone, link=True)


def test_only_what_every_path_brought_is_ranked_by_and_the_rest_is_lost() -> None:
    field = align([brought("a", 10), brought("b", 20, [100, 101]), brought("c", 30, [100, 200])])
    assert field.seen == EVENTS
    assert field.arrival_ns.shape == (3, EVENTS - 3)
    assert (np.diff(field.arrival_ns, axis=0) == 10_000_000).all()
    assert [int(missing.sum()) for missing in field.missing] == [0, 2, 2]


def test_what_came_before_a_path_was_up_or_after_its_end_is_no_loss_of_it() -> None:
    late_and_short = [*range(50), *range(300, EVENTS)]
    field = align([brought("a", 10), brought("b", 20), brought("c", 30, [*late_and_short, 200])])
    assert [int(missing.sum()) for missing in field.missing] == [0, 0, 1]
    assert field.arrival_ns.shape[1] == EVENTS - 151


def test_agrees_with_a_search_event_by_event_whatever_is_lost_and_overtaken() -> None:
    random = np.random.default_rng(5)
    for _ in range(20):
        count = int(random.integers(2, 7))
        lost = [np.flatnonzero(random.random(EVENTS) < 0.2).tolist() for _ in range(count)]
        paths = [brought(f"p{n}", 10.0 + n, gone, jitter=n) for n, gone in enumerate(lost)]
        field = align(paths)
        arrivals = [dict(zip(path.event_id.tolist(), path.arrival_ns.tolist(), strict=True)) for path in paths]
        common = set.intersection(*(set(one) for one in arrivals))
        expected = sorted((min(one[event] for one in arrivals), [one[event] for one in arrivals]) for event in common)
        assert field.arrival_ns.T.tolist() == [times for _first, times in expected]
        assert field.seen == len(set.union(*(set(one) for one in arrivals)))


def test_streams_that_not_all_have_are_left_out_and_none_is_no_event() -> None:
    one = brought("a", 10)
    other = PathSeries(**{**vars(brought("b", 20)), "streams": ("other",)})
    field = align([one, other])
    assert (field.streams, field.seen, field.arrival_ns.shape) == ((), 0, (2, 0))


def test_lags_of_two_differ_by_the_lead_and_one_bad_path_of_many_moves_no_other() -> None:
    arrivals = np.array([[0, 5], [2, 1]]) * 1_000_000
    assert np.diff(lags_ms(arrivals), axis=0).tolist() == [[2.0, -4.0]]
    field = np.arange(6, dtype=np.int64)[:, None].repeat(4, axis=1) * 1_000_000
    bad = field.copy()
    bad[5, 2] = 10**12
    assert (lags_ms(bad)[:5] == lags_ms(field)[:5]).all()
