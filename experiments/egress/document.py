"""The JSON of ``experiment import --json``."""

from collections.abc import Sequence

import msgspec

from experiments.comparison.model import Comparison
from experiments.egress.audit import Audit, AuditedFigure, Remark
from experiments.egress.raw import RecordedIdentity
from experiments.statistics.describe import Description

__all__ = ["FORMAT", "EgressDocument", "EgressRun", "document_of"]

FORMAT = "backbone-latency-egress/1"


class EgressRun(msgspec.Struct, frozen=True, kw_only=True):
    """One run, from its raw samples.

    Attributes:
        run: its folder's name.
        scenario: what the published table calls it; the run's name where there is none.
        cold_ms: requests that made a connection.
        warm_ms: requests on one that was there.
        failed: how many of each kind have failed.
        egress: what an endpoint said of this host; null without its file.
        overlay_rtt_ms: mean round trip through the tunnel; null without its file.
        figures: what was published, beside what the samples say.
        remarks: what else the raw files say.
    """

    run: str
    scenario: str
    cold_ms: Description
    warm_ms: Description
    failed: dict[str, int]
    egress: RecordedIdentity | None
    overlay_rtt_ms: float | None
    figures: list[AuditedFigure]
    remarks: list[Remark]


class EgressDocument(msgspec.Struct, frozen=True, kw_only=True):
    """Runs from elsewhere, recomputed and compared."""

    format: str = FORMAT
    runs: list[EgressRun]
    comparisons: list[Comparison]


def document_of(audits: Sequence[Audit], comparisons: Sequence[Comparison]) -> EgressDocument:
    """Gather what an import found."""
    runs = [
        EgressRun(
            run=one.run.name,
            scenario=one.scenario,
            cold_ms=one.cold,
            warm_ms=one.warm,
            failed={"cold": one.run.cold.failures, "warm": one.run.warm.failures},
            egress=one.run.identity,
            overlay_rtt_ms=one.run.overlay_rtt_ms,
            figures=one.figures,
            remarks=one.remarks,
        )
        for one in audits
    ]
    return EgressDocument(runs=runs, comparisons=list(comparisons))
