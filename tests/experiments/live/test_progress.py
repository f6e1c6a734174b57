import io
from collections import defaultdict

import pytest
from rich.console import Console

from experiments.live.progress import Progress, line, progress_of, table
from experiments.live.scrape import ScrapedPage


@pytest.fixture
def page() -> ScrapedPage:
    """A page on which 1,000 events took 8 to 16 ms directly, and came 5 to 10 ms earlier by the backbone."""
    samples: dict[str, dict[frozenset[tuple[str, str]], float]] = defaultdict(dict)

    def add(name: str, value: float, **labels: str) -> None:
        samples[name][frozenset(labels.items())] = value

    add("latency_receiver_events_total", 1000, path="direct", stream="t")
    add("latency_receiver_events_total", 980, path="backbone", stream="t")
    add("latency_receiver_delayed_events_total", 5, path="backbone")
    add("latency_receiver_sequence_gap_events_total", 2, path="backbone")
    add("latency_receiver_path_wins_total", 97, path="backbone", reference="direct")
    add("latency_receiver_end_to_end_seconds_count", 1000, path="direct", stream="t")
    for le, count in (("0.008", 0), ("0.016", 1000), ("+Inf", 1000)):
        add("latency_receiver_end_to_end_seconds_bucket", count, path="direct", stream="t", le=le)
    add("latency_receiver_path_lead_seconds_count", 980, path="backbone", reference="direct")
    for le, count in (("0.005", 0), ("0.01", 980), ("+Inf", 980)):
        add("latency_receiver_path_lead_seconds_bucket", count, path="backbone", reference="direct", le=le)
    return ScrapedPage(samples)


def test_percentiles_come_from_the_buckets_and_missing_figures_stay_missing(page: ScrapedPage) -> None:
    progress = progress_of(page, ["direct", "backbone"])
    direct, backbone = progress.paths
    assert (direct.delayed, backbone.delayed) == (0, 5)
    assert direct.median_ms == pytest.approx(12.0)
    assert direct.p99_ms == pytest.approx(15.92)
    assert (direct.samples, backbone.samples, backbone.lost, backbone.wins) == (1000, 0, 2, 97)
    assert backbone.median_ms is None
    ((path, reference, lead_ms),) = progress.leads_ms
    assert (path, reference) == ("backbone", "direct")
    assert lead_ms == pytest.approx(7.5)


def test_a_pipe_gets_a_line_and_a_terminal_a_table(page: ScrapedPage) -> None:
    progress = progress_of(page, ["direct", "backbone"])
    assert line("block 1", progress) == (
        "block 1  |  direct: 1000 events, p50 12.00 p95 15.60 p99 15.92 ms, jitter – ms, lost 0  |  "
        "backbone: 980 events, p50 – p95 – p99 – ms, jitter – ms, lost 2  |  backbone leads direct by 7.50 ms"
    )
    console = Console(width=120, record=True, file=io.StringIO())
    console.print(table("block 1", progress))
    shown = console.export_text()
    assert "12.00" in shown
    assert "backbone leads direct by 7.50 ms" in shown


def test_a_single_path_has_no_lead() -> None:
    assert line("block 1", Progress(())) == "block 1"


def test_a_runs_fine_figures_go_before_the_buckets(page: ScrapedPage) -> None:
    samples = dict(page.samples)
    pair = frozenset({("path", "backbone"), ("reference", "direct")})
    samples["latency_receiver_run_lead_seconds"] = {pair: 0.0061}
    samples["latency_receiver_run_delay_seconds"] = {frozenset({("path", "direct"), ("quantile", "0.5")}): 0.0131}
    progress = progress_of(ScrapedPage(samples), ["direct", "backbone"])
    assert progress.paths[0].median_ms == pytest.approx(13.1)
    ((_path, _reference, lead),) = progress.leads_ms
    assert lead == pytest.approx(6.1)
    # What is not there in fine is read from the buckets.
    assert progress.paths[0].p99_ms == pytest.approx(15.92)
