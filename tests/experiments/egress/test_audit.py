from pathlib import Path

import numpy as np
import pytest

from experiments.egress.audit import Audit, AuditedFigure, audit
from experiments.egress.compare import compare_runs
from experiments.egress.published import load_published
from experiments.egress.raw import find_raw_runs


@pytest.fixture(scope="module")
def audits(egress_runs: Path) -> dict[str, Audit]:
    published = load_published(egress_runs)
    return {run.name: audit(run, published.get(run.name)) for run in find_raw_runs(egress_runs)}


def table(audited: Audit) -> dict[str, AuditedFigure]:
    return {figure.figure: figure for figure in audited.figures if figure.where == "table"}


@pytest.mark.parametrize(
    ("run", "published"),
    [
        ("20251022-020050", (76.05, 79.57, 278.12)),
        ("20251022-020550-baseline", (72.09, 74.67, 151.64)),
    ],
)
def test_the_published_rows_follow_from_the_raw_samples_by_their_method(
    audits: dict[str, Audit], run: str, published: tuple[float, ...]
) -> None:
    for name, value in zip(("median", "p95", "p99"), published, strict=True):
        figure = table(audits[run])[name]
        assert figure.published == value
        assert figure.their_method == pytest.approx(value, abs=0.00501)


def test_every_statistics_file_follows_from_its_raw_samples(audits: dict[str, Audit]) -> None:
    for audited in audits.values():
        stated = [figure for figure in audited.figures if figure.where != "table"]
        assert len(stated) == 12
        for figure in stated:
            assert figure.their_method == pytest.approx(figure.published, abs=0.00501)


def test_the_row_that_mixes_two_runs_is_found(audits: dict[str, Audit]) -> None:
    row = table(audits["20251022-022358-tokyo"])
    assert row["median"].reasons == []
    assert row["p99"].their_method == pytest.approx(64.578)
    assert row["p99"].corrected is None
    (reason,) = row["p99"].reasons
    assert reason.startswith("mixed runs: the samples of this run do not give 8.31 ms; the nearest of them is 6.68 ms")


def test_the_cold_request_among_the_warm_ones_is_found(audits: dict[str, Audit]) -> None:
    for audited in audits.values():
        assert np.flatnonzero(audited.run.warm.connected).tolist() == [0]
        assert audited.warm.count == 99
        (maximum,) = [f for f in audited.figures if f.connection == "warm" and f.figure == "max"]
        assert maximum.reasons == ["cold request among warm: line 1 of latencies_keepalive.txt opened the connection"]


def test_the_percentile_index_is_found(audits: dict[str, Audit]) -> None:
    figures = [f for f in audits["20251022-020550-baseline"].figures if f.connection == "cold"]
    reasons = {f.figure: f.reasons for f in figures if f.reasons}
    assert set(reasons) == {"median", "p95", "p99"}
    assert reasons["p99"] == ["percentile index: p99 is element int(100 x 0.99) from 0, sample 100 of 100, the maximum"]


def test_corrected_figures_are_those_of_the_raw_samples(audits: dict[str, Audit], egress_runs: Path) -> None:
    lines = (egress_runs / "20251022-020050/latencies_keepalive.txt").read_text().split()
    warm = [float(line) * 1e3 for line in lines[1:]]
    found = audits["20251022-020050"].warm
    assert found.median == pytest.approx(sorted(warm)[49])
    assert found.mean == pytest.approx(sum(warm) / 99)
    assert found.max == pytest.approx(max(warm))
    assert found.p95 == pytest.approx(float(np.quantile(warm, 0.95)))
    assert (found.p99, found.p999) == (None, None)


def test_the_surroundings_of_a_run_are_read(audits: dict[str, Audit]) -> None:
    via = audits["20251022-020050"].run
    assert via.overlay_rtt_ms == 70.008
    assert via.identity is not None
    assert (via.identity.ip, via.identity.country) == ("203.0.113.1", "JP")
    assert (len(via.route), via.route[-1].best_ms) == (9, 139.4)
    assert audits["20251022-020550-baseline"].run.overlay_rtt_ms is None
    assert any("the trace went to another address" in remark.text for remark in audits["20251022-020050"].remarks)


def test_runs_are_compared_with_the_baseline(audits: dict[str, Audit]) -> None:
    found = compare_runs(list(audits.values()), None)
    assert [(one.second.label, one.second.path) for one in found] == [
        ("via Tokyo (pinned)", "warm"),
        ("via Tokyo (pinned)", "cold"),
        ("from Tokyo", "warm"),
        ("from Tokyo", "cold"),
    ]
    assert {one.first.label for one in found} == {"direct from Singapore"}
    assert found[0].verdict.sentence.startswith("via Tokyo (pinned) is slower than direct from Singapore by 3.96 ms")
    assert found[3].verdict.outcome == "undecided"
    assert not found[0].clock.needed
