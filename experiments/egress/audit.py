"""Recompute the published figures of egress validation runs, and say where and why they were wrong."""

from dataclasses import dataclass

import msgspec
import numpy as np

from daemons.measurement.percentile import minimum_samples
from experiments.egress.published import Published
from experiments.egress.raw import RawRun, Requests
from experiments.results.series import Floats
from experiments.statistics.describe import Description, describe

__all__ = ["Audit", "AuditedFigure", "Remark", "audit", "cold_samples", "warm_samples"]

_LEVELS = {"median": 0.5, "p95": 0.95, "p99": 0.99}
_ROUNDING = 0.00501


class AuditedFigure(msgspec.Struct, frozen=True, kw_only=True):
    """One published figure, in ms.

    Attributes:
        where: ``table`` (the project's published table) or the file of the run that states it.
        their_method: their formula applied to the raw samples; None when the formula is not known.
        corrected: our figure; None when the samples do not allow one.
        reasons: why the published figure is wrong; empty when it is right to the digit.
        too_few: why there is no correct figure, or "".
    """

    run: str
    connection: str
    where: str
    figure: str
    published: float
    their_method: float | None
    corrected: float | None
    reasons: list[str]
    too_few: str = ""


class Remark(msgspec.Struct, frozen=True):
    """Something else that the raw files of a run say."""

    run: str
    text: str


@dataclass(frozen=True)
class Audit:
    """All of one run: its scenario's name, its figures recomputed, and what was wrong."""

    run: RawRun
    scenario: str
    cold: Description
    warm: Description
    figures: list[AuditedFigure]
    remarks: list[Remark]


def audit(run: RawRun, published: Published | None = None) -> Audit:
    """Recompute one run, and check what was published of it."""
    cold, warm = describe(cold_samples(run)), describe(warm_samples(run))
    figures = _audit_stats(run, run.cold, cold, "cold") + _audit_stats(run, run.warm, warm, "warm")
    return Audit(
        run=run,
        scenario=published.label if published is not None else run.name,
        cold=cold,
        warm=warm,
        figures=figures + _audit_table(run, warm, published),
        remarks=[Remark(run.name, text) for text in _remarks(run)],
    )


def cold_samples(run: RawRun) -> Floats:
    """Give the totals of requests that made a connection and were answered, in ms."""
    return run.cold.total_ms[run.cold.connected]


def warm_samples(run: RawRun) -> Floats:
    """Give the totals of requests that found a connection open, in ms."""
    return run.warm.total_ms[run.warm.answered & ~run.warm.connected]


def _audit_stats(run: RawRun, requests: Requests, corrected: Description, connection: str) -> list[AuditedFigure]:
    """Check the statistics file of a run."""
    name = f"latency_stats{'_keepalive' if connection == 'warm' else ''}.json"
    return [
        _audit_figure(run, requests, corrected, connection, name, figure, requests.published[figure])
        for figure in ("min", "max", "mean", *_LEVELS)
        if figure in requests.published
    ]


def _audit_table(run: RawRun, corrected: Description, published: Published | None) -> list[AuditedFigure]:
    """Check the row of the published table."""
    return [
        _audit_figure(run, run.warm, corrected, "warm", "table", figure, value)
        for figure, value in (published.warm_ms if published is not None else {}).items()
    ]


def _audit_figure(
    run: RawRun,
    requests: Requests,
    corrected: Description,
    connection: str,
    where: str,
    figure: str,
    published: float,
) -> AuditedFigure:
    theirs = _their_figure(requests.total_ms, figure)
    ours = getattr(corrected, figure)
    reasons = []
    if abs(theirs - published) > _ROUNDING:
        reasons.append(_of_another_run(requests.total_ms, published))
    elif ours is None or abs(ours - published) > _ROUNDING:
        reasons = _why_wrong(requests, connection, figure)
    needed = minimum_samples(_LEVELS.get(figure, 0.5))
    return AuditedFigure(
        run=run.name,
        connection=connection,
        where=where,
        figure=figure,
        published=published,
        their_method=theirs,
        corrected=ours,
        reasons=reasons,
        too_few=f"{figure} needs {needed} samples, there are {corrected.count}" if ours is None else "",
    )


def _their_figure(values: Floats, figure: str) -> float:
    """Compute a figure as the published script did: percentile p is element int(n p) of the sorted list."""
    ordered = np.sort(values)
    if figure in _LEVELS:
        return float(ordered[min(int(len(ordered) * _LEVELS[figure]), len(ordered) - 1)])
    return float({"min": values.min(), "max": values.max(), "mean": values.mean()}[figure])


def _of_another_run(values: Floats, published: float) -> str:
    nearest = float(values[np.argmin(np.abs(values - published))])
    return (
        f"mixed runs: the samples of this run do not give {published:g} ms; the nearest of them is {nearest:.2f} ms, "
        "so the figure was taken from another run"
    )


def _why_wrong(requests: Requests, connection: str, figure: str) -> list[str]:
    """Say why their figure differs from ours, by undoing one mistake after the other."""
    reasons = []
    failed = ~requests.answered
    wrong_kind = requests.answered & (requests.connected == (connection == "warm"))
    answered, right = requests.total_ms[~failed], requests.total_ms[~failed & ~wrong_kind]
    theirs = _their_figure(requests.total_ms, figure)
    if failed.any() and abs(_their_figure(answered, figure) - theirs) > _ROUNDING:
        reasons.append(
            f"failed requests among the samples: {np.count_nonzero(failed)} of {len(failed)} lines of "
            f"{requests.source.name} have no first byte, the first of them line {int(np.argmax(failed)) + 1}"
        )
    if (
        wrong_kind.any()
        and len(right)
        and abs(_their_figure(right, figure) - _their_figure(answered, figure)) > _ROUNDING
    ):
        lines = ", ".join(str(row + 1) for row in np.flatnonzero(wrong_kind).tolist())
        reasons.append(
            f"cold request among warm: line {lines} of {requests.source.name} opened the connection"
            if connection == "warm"
            else f"warm request among cold: line {lines} of {requests.source.name} found the connection open"
        )
    if figure in _LEVELS:
        reasons.append(_index_reason(figure, len(requests.total_ms)))
    return reasons


def _index_reason(figure: str, count: int) -> str:
    level = _LEVELS[figure]
    index = min(int(count * level), count - 1)
    sold_as = ", the maximum" if index == count - 1 else ""
    return (
        f"percentile index: {figure} is element int({count} x {level:g}) from 0, sample {index + 1} of {count}{sold_as}"
    )


def _remarks(run: RawRun) -> list[str]:
    found = [
        f"{connection} requests: {failed} of {len(requests.answered)} failed (curl names no first byte): counted as "
        "failures, not as samples"
        for connection, requests in (("cold", run.cold), ("warm", run.warm))
        if (failed := requests.failures)
    ]
    if not run.cold.connected.any():
        return found
    connect = float(np.median(run.cold.connect_ms[run.cold.connected]))
    own_work = float(np.median(run.cold.tls_ms[run.cold.connected])) - connect
    if own_work > connect or own_work > 20:
        found.append(
            f"cold requests: TLS took {own_work:.0f} ms longer than the one round trip ({connect:.1f} ms) it needs; "
            "that is the client's own work (curl loads its certificate store in this phase) and no delay of the path"
        )
    if run.route and run.route[-1].best_ms > connect + 1:
        found.append(
            f"route: the traced host {run.route[-1].host} answers after {run.route[-1].best_ms:.1f} ms at best, but "
            f"requests connected in {connect:.1f} ms: the trace went to another address than the requests"
        )
    return found
