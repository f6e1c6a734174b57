import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemons.errors import LatencyError
from daemons.measurement.histogram import Bounds, BucketHistogram, octaves
from daemons.measurement.race import LEAD_BOUNDS
from experiments.live.scrape import ScrapedPage, fetch, quantile


def _cumulative(bounds: Bounds, values_ns: list[int]) -> dict[float, float]:
    histogram = BucketHistogram(bounds)
    for value in values_ns:
        histogram.observe(value)
    counts = map(float, itertools.accumulate(histogram.counts))
    return dict(zip(map(float, (*histogram.bounds.le, "inf")), counts, strict=True))


@given(st.lists(st.integers(min_value=20_000, max_value=10**10), min_size=1, max_size=300), st.floats(0.01, 1.0))
def test_a_quantile_from_buckets_is_within_the_bucket_that_holds_it(values: list[int], fraction: float) -> None:
    found = quantile(_cumulative(octaves(-16, 4), values), fraction)
    exact = sorted(values)[max(1, math.ceil(fraction * len(values) - 1e-9)) - 1] / 1e9
    assert found is not None
    assert exact * 2**-0.13 <= found <= exact * 2**0.13


def test_what_lies_beyond_the_last_boundary_is_read_as_that() -> None:
    # As docs/measurement.md says, and as histogram_quantile does; of delays it is 16 s, of leads 8 s of either sign.
    seconds = 10**9
    delays = _cumulative(octaves(-16, 4), [100 * seconds] * 9)
    assert [quantile(delays, fraction) for fraction in (0.01, 0.5, 0.99)] == [16.0] * 3
    leads = _cumulative(LEAD_BOUNDS, [-100 * seconds] * 9)
    assert [quantile(leads, fraction) for fraction in (0.01, 0.5, 0.99)] == [-8.0] * 3


def test_no_samples_give_no_quantile() -> None:
    assert quantile({}, 0.5) is None
    assert quantile({1.0: 0.0, math.inf: 0.0}, 0.5) is None


def test_a_page_sums_and_selects_by_label() -> None:
    page = ScrapedPage(
        {
            "x_total": {frozenset({("path", "a"), ("r", "1")}): 2.0, frozenset({("path", "b"), ("r", "1")}): 3.0},
            "y": {frozenset({("path", "a")}): math.nan},
            "h_bucket": {
                frozenset({("path", "a"), ("le", "1.0")}): 1.0,
                frozenset({("path", "b"), ("le", "1.0")}): 2.0,
                frozenset({("path", "a"), ("le", "+Inf")}): 4.0,
            },
        }
    )
    assert page.total("x_total") == 5
    assert page.total("x_total", path="a") == 2
    assert page.value("x_total", path="b") == 3
    assert page.value("y", path="a") is None
    assert page.buckets("h") == {1.0: 3.0, math.inf: 4.0}


async def _fetch_nowhere() -> None:
    await fetch("127.0.0.1:1")


def test_a_daemon_that_is_not_there_is_named() -> None:
    import asyncio  # noqa: PLC0415 only this test needs a loop

    with pytest.raises(LatencyError, match=r"127\.0\.0\.1:1: no metrics"):
        asyncio.run(_fetch_nowhere())
