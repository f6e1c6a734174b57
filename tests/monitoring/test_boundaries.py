"""What docs/measurement.md promises of quantiles, held against every histogram that a daemon has."""

import ast
import asyncio
import itertools
import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from daemons.forwarder.metrics import feed_delay_family, hold_family, kernel_hold_family
from daemons.measurement.histogram import BucketHistogram, octaves, signed
from daemons.probe.families import Families
from daemons.receiver.histograms import ReceiverHistograms
from daemons.service.metrics.loop_lag import LoopLag
from daemons.service.metrics.page import HistogramFamily
from experiments.live.scrape import quantile
from tests.monitoring.expressions import ROOT

LEADS = signed(octaves(-16, 3))


def _promised() -> tuple[float, float]:
    """Return the stated ratio of boundaries, and the stated error."""
    text = (ROOT / "docs" / "measurement.md").read_text()
    found = re.search(r"buckets \(2\^\(1/(\d+)\) apart in every\s+family\) are less than ([\d.]+) % off", text)
    assert found is not None
    return 2 ** (1 / int(found[1])), float(found[2]) / 100


def _pages() -> dict[str, str]:
    families: list[HistogramFamily] = [
        *ReceiverHistograms().families(),
        feed_delay_family(),
        hold_family(),
        kernel_hold_family(),
        *Families().all,
    ]
    pages = {}
    for family in families:
        family.labels(*["x"] * len(family.label_names))
        pages[family.name] = b"".join(family.render()).decode()
    return pages


def _magnitudes(bounds: list[float]) -> list[float]:
    return sorted({abs(bound) for bound in bounds if bound and not math.isinf(bound)})


@pytest.mark.parametrize("name", _pages())
def test_every_familys_boundaries_are_as_close_as_promised(name: str) -> None:
    ratio, _error = _promised()
    (family,) = text_string_to_metric_families(_pages()[name])
    bounds = _magnitudes([float(sample.labels["le"]) for sample in family.samples if "le" in sample.labels])
    assert len(bounds) > 50
    assert all(math.isclose(above / below, ratio) for below, above in itertools.pairwise(bounds))


def test_no_family_that_a_daemon_makes_is_left_out() -> None:
    trees = [ast.parse(file.read_text(encoding="utf-8")) for file in (ROOT / "daemons").rglob("*.py")]
    calls = [node.func for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Call)]
    made = [call for call in calls if isinstance(call, ast.Name) and call.id == "HistogramFamily"]
    assert len(made) == len(_pages())


@pytest.mark.parametrize("name", _pages())
def test_boundaries_are_written_as_prometheus_3_keeps_them(name: str) -> None:
    # It rewrites `le="1"` to `le="1.0"`: what is so from the start is one series before and after an upgrade.
    for le in re.findall(r'le="([^"]+)"', _pages()[name]):
        assert le == "+Inf" or le == repr(float(le))


def test_the_event_loops_lag_is_no_exception() -> None:
    async def made() -> list[float]:
        (family,) = LoopLag("test").collect()
        return [float(sample.labels["le"]) for sample in family.samples if "le" in sample.labels]

    bounds = _magnitudes(asyncio.run(made()))
    ratio, _error = _promised()
    assert all(math.isclose(above / below, ratio) for below, above in itertools.pairwise(bounds))


def test_the_promised_error_is_the_width_of_a_bucket() -> None:
    ratio, error = _promised()
    assert 0 <= error - (ratio - 1) < 0.001


@given(
    st.lists(st.integers(16_000, 8_000_000_000), min_size=1, max_size=50),
    st.sampled_from([-1, 1]),
    st.floats(0.001, 1.0),
)
def test_no_quantile_is_further_off_than_promised(magnitudes: list[int], sign: int, fraction: float) -> None:
    _ratio, error = _promised()
    histogram = BucketHistogram(LEADS)
    for magnitude in magnitudes:
        histogram.observe(sign * magnitude)
    cumulative, buckets = 0.0, {}
    for le, count in zip((*LEADS.le, "inf"), histogram.counts, strict=True):
        cumulative += count
        buckets[float(le)] = cumulative
    found = quantile(buckets, fraction)
    ordered = sorted(sign * magnitude for magnitude in magnitudes)
    rank = fraction * len(ordered)
    # Where the rank is a whole number, either neighbour is a quantile; so is what rounding cannot tell from it.
    exact = {ordered[max(1, math.ceil(rank + slip)) - 1] / 1e9 for slip in (-1e-9, 0) if rank + slip <= len(ordered)}
    assert found is not None
    assert any(abs(found - each) <= error * abs(each) for each in exact)
