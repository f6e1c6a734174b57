"""The page as Prometheus' own parser reads it."""

import asyncio
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import Counter
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics_families
from prometheus_client.parser import text_string_to_metric_families

from daemons.measurement.histogram import octaves, signed
from daemons.service.metrics.page import HistogramFamily, MetricsPage, landing, registry
from daemons.service.web.pages import Request

BOUNDS = signed(octaves(-4, 2))
LABELS = st.text(max_size=20)


def page_of(*families: HistogramFamily, accept: str = "") -> str:
    async def read() -> bytes:
        made = await MetricsPage(registry("test"), families)(Request(accept=accept))
        return b"".join([chunk async for chunk in made.body])

    return asyncio.run(read()).decode()


@given(st.dictionaries(st.tuples(LABELS, LABELS), st.lists(st.integers(-(10**11), 10**11), max_size=20), max_size=4))
def test_histograms_are_read_back_as_they_were_counted(children: dict[tuple[str, str], list[int]]) -> None:
    family = HistogramFamily("latency_test_lead_seconds", 'Odd \\ help\nof two "lines".', ["path", "reference"], BOUNDS)
    for labels, values in children.items():
        child = family.labels(*labels)
        for value in values:
            child.observe(value)
    text = b"".join(family.render()).decode()
    (parsed,) = text_string_to_metric_families(text)
    assert (parsed.name, parsed.type) == ("latency_test_lead_seconds", "histogram")
    assert parsed.documentation == 'Odd \\ help\nof two "lines".'
    for labels, values in children.items():
        mine = [sample for sample in parsed.samples if (sample.labels["path"], sample.labels["reference"]) == labels]
        buckets = [(sample.labels["le"], sample.value) for sample in mine if sample.name.endswith("_bucket")]
        assert [le for le, _count in buckets] == [*BOUNDS.le, "+Inf"]
        for le, count in buckets:
            assert count == sum(value <= math.floor(float(le) * 1e9) if le != "+Inf" else True for value in values)
        (total,) = [sample.value for sample in mine if sample.name.endswith("_sum")]
        (number,) = [sample.value for sample in mine if sample.name.endswith("_count")]
        assert number == len(values) == buckets[-1][1]
        assert math.isclose(total, sum(values) / 1e9, abs_tol=1e-9)
    assert len(parsed.samples) == len(children) * (len(BOUNDS.le) + 3)


def test_a_page_names_every_family_once_and_has_zeros_from_the_start() -> None:
    family = HistogramFamily("latency_test_delay_seconds", "Delay.", ["path"], BOUNDS)
    family.labels("direct")
    text = page_of(family)
    families = list(text_string_to_metric_families(text))
    names = [parsed.name for parsed in families]
    assert len(names) == len(set(names))
    assert {"latency_test_delay_seconds", "latency_build_info", "process_resident_memory_bytes"} <= set(names)
    assert text.count("# TYPE latency_test_delay_seconds histogram") == 1
    assert 'latency_test_delay_seconds_count{path="direct"} 0' in text
    assert all(parsed.documentation for parsed in families)
    assert text.endswith("\n")


def test_openmetrics_says_the_same_as_the_plain_page() -> None:
    lead = HistogramFamily("latency_test_lead_seconds", 'Lead, in "seconds".', ["path"], BOUNDS)
    delay = HistogramFamily("latency_test_delay_seconds", "Delay.", ["path"], octaves(-4, 2))
    for family in (lead, delay):
        family.labels('odd "name"\n').observe(10**9)
    plain = page_of(lead, delay)
    text = page_of(lead, delay, accept="application/openmetrics-text;version=1.0.0,*/*;q=0.1")
    assert text.endswith("\n# EOF\n")
    assert text.count("# EOF") == 1
    # The library's parser knows all of OpenMetrics' rules; one of them we break, so that no series goes missing.
    unwanted = ("latency_test_lead_seconds_sum", "latency_test_lead_seconds_count")
    conforming = [line for line in text.splitlines() if not line.startswith(unwanted)]
    assert len(conforming) == len(text.splitlines()) - 2
    families = list(openmetrics_families("\n".join(conforming) + "\n"))  # type: ignore[no-untyped-call]
    said = {(one.name, frozenset(one.labels.items())) for family in families for one in family.samples}
    loose = text_string_to_metric_families(plain)
    also = {(one.name, frozenset(one.labels.items())) for family in loose for one in family.samples}
    assert {name for name, _labels in also - said} == set(unwanted)
    # What Prometheus keeps does not hang on what it asks for.
    assert said <= also


@pytest.mark.parametrize(
    ("accept", "openmetrics"),
    [
        # As Prometheus 2.42, 2.55 and 3 ask, curl, and a browser.
        (
            (
                "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
                "text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
            ),
            True,
        ),
        (
            (
                "application/openmetrics-text;version=1.0.0;q=0.5,application/openmetrics-text;version=0.0.1;q=0.4,"
                "text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
            ),
            True,
        ),
        (
            (
                "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,"
                "text/plain;version=1.0.0;escaping=allow-utf-8;q=0.3,*/*;q=0.2"
            ),
            True,
        ),
        ("text/plain;version=0.0.4;q=0.6,application/openmetrics-text;version=1.0.0;q=0.5,*/*;q=0.1", False),
        ("*/*", False),
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", False),
        ("", False),
        ("application/openmetrics-text", True),
        ('Application/OpenMetrics-Text; Version="1.0.0"', True),
        ("application/openmetrics-text;version=1.0.0;q=0", False),
        ("application/openmetrics-text;q=0.5,text/*;q=0.9", False),
        ("application/openmetrics-text;q=0.5,*/*;q=0.9", False),
        ("application/openmetrics-text;q=0.5,text/plain;q=0.4,text/*;q=0.9,*/*", True),
        ("application/openmetrics-text;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.6", True),
        ("application/openmetrics-text;version=0.0.1", False),
        ("application/openmetrics-text;version=2.0.0", False),
        ("application/openmetrics-text;q=1.5, ;;q=, ,", False),
    ],
)
def test_the_format_is_what_is_asked_for(accept: str, openmetrics: bool) -> None:
    async def kind() -> str:
        return (await MetricsPage(registry("test"), ())(Request(accept=accept))).content_type

    wanted = (
        "application/openmetrics-text; version=1.0.0; charset=utf-8" if openmetrics else "text/plain; version=0.0.4"
    )
    assert asyncio.run(kind()).startswith(wanted)


def test_a_family_without_labels() -> None:
    family = HistogramFamily("latency_test_x_seconds", "X.", [], BOUNDS)
    family.labels().observe(1)
    assert "latency_test_x_seconds_count 1" in page_of(family)


def test_children_are_the_same_object_each_time() -> None:
    family = HistogramFamily("latency_test_x_seconds", "X.", ["path"], BOUNDS)
    assert family.labels("a") is family.labels("a")
    assert family.labels("a") is not family.labels("b")


def test_a_registry_is_the_daemons_own() -> None:
    async def work() -> None:
        one, other = registry("one"), registry("other")
        Counter("x", "X.", registry=one)
        assert one.get_sample_value("x_total") == 0
        assert other.get_sample_value("x_total") is None

    asyncio.run(work())


def test_the_landing_page_links_to_the_rest() -> None:
    async def read() -> str:
        page = await landing("latency-test", {"/metrics": "for Prometheus"})(Request())
        assert page.content_type.startswith("text/html")
        return b"".join([chunk async for chunk in page.body]).decode()

    assert '<a href="/metrics">/metrics</a> for Prometheus' in asyncio.run(read())
