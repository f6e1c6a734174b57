"""What a measurement shows: pass, fail, or inconclusive, each with its reason. Pure.

Evidence decides. A value outside its range fails; one inside passes if the sample is large enough for the figure to
mean anything; where nothing was measured, or too little, the outcome is inconclusive, and says what to do. Nothing
passes without a sample.
"""

import ipaddress
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

import msgspec

from daemons.measurement.percentile import PERCENTILES, minimum_samples
from experiments.validation.config import (
    EgressExpectation,
    OverlayExpectation,
    Range,
    RequestExpectation,
    RouteExpectation,
)

__all__ = [
    "Finding",
    "Outcome",
    "PhaseResult",
    "inconclusive",
    "judge_egress",
    "judge_first",
    "judge_overlay",
    "judge_requests",
    "judge_route",
    "worst",
]

Outcome = Literal["pass", "fail", "inconclusive"]

_LEVELS = {"median_ms": "median", "p95_ms": "p95", "p99_ms": "p99", "p999_ms": "p999"}
_OURS = {"local", "internal"}
"""Reasons of failure that lie with this host and say nothing of the path."""


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One figure or fact.

    Attributes:
        what: its name.
        seen: its value; None where there is none.
        expected: a range, a list, or a word; None where nothing is expected.
        reason: why it failed or is inconclusive, and what to do.
    """

    what: str
    seen: Any
    outcome: Outcome
    expected: Any = None
    reason: str = ""


class PhaseResult(msgspec.Struct, frozen=True, kw_only=True):
    """One phase of one scenario.

    Attributes:
        findings: what was seen; empty when nothing could be.
        reason: of the outcome, where it is not a pass.
        samples: how many measurements it rests on.
        medians_ms: of the parts of a request that there were, in their order, and of the whole.
    """

    phase: str
    outcome: Outcome
    findings: list[Finding] = []
    reason: str = ""
    samples: int = 0
    medians_ms: dict[str, float] = {}


def worst(outcomes: Iterable[Outcome]) -> Outcome:
    """Combine outcomes: one failure fails the whole, and without any evidence nothing passes.

    >>> worst(["pass", "inconclusive", "fail"]), worst(["pass", "pass"]), worst([])
    ('fail', 'pass', 'inconclusive')
    """
    seen = set(outcomes)
    for outcome in ("fail", "inconclusive", "pass"):
        if outcome in seen:
            return outcome
    return "inconclusive"


def inconclusive(phase: str, reason: str) -> PhaseResult:
    """Say that a phase could not be measured."""
    return PhaseResult(phase=phase, outcome="inconclusive", reason=reason)


def judge_first(target: Mapping[str, Any], program: Finding) -> PhaseResult:
    """Judge the one request of the preflight; ``program`` is what was seen before it."""
    phase = "preflight"
    requests = target["connections"].get("cold", {"attempts": 0, "failures": {}})
    details = _sentences(target["failure_details"])
    if not requests["attempts"] or set(requests["failures"]) & _OURS:
        return inconclusive(phase, f"no request left this host: {details or 'none was made'}")
    if requests["failures"]:
        finding = Finding(what="target", seen=target["url"], outcome="fail", reason=details)
        return PhaseResult(phase=phase, outcome="fail", findings=[program, finding], reason=details, samples=1)
    way = f"by proxy {target['proxy']}" if target.get("proxy") else f"at {target['address']}"
    seen = f"{target['url']} {way}, {target['tls_version'] or 'no TLS'}"
    finding = Finding(what="target", seen=seen, outcome="pass")
    return PhaseResult(phase=phase, outcome="pass", findings=[program, finding], samples=1)


def judge_requests(phase: str, target: Mapping[str, Any], expected: RequestExpectation) -> PhaseResult:
    """Judge cold or warm requests.

    Args:
        phase: ``cold`` or ``warm``.
        target: what latency-probe wrote of the target.
        expected: of these requests.
    """
    requests = target["connections"].get(phase)
    details = target["failure_details"]
    if requests is None or not requests["attempts"]:
        why = _sentences(details) or _instead(phase, target)
        if phase == "warm" and details and not set(details) <= _OURS:
            return PhaseResult(phase=phase, outcome="fail", reason=f"no connection was there to be kept: {why}")
        return inconclusive(phase, f"no {phase} request was made: {why}")
    attempts, failures = requests["attempts"], requests["failures"]
    failed = sum(failures.values())
    answered = requests["total"]["sample_count"]
    ours = sum(count for reason, count in failures.items() if reason in _OURS)
    if ours == attempts:
        return inconclusive(phase, f"none of {attempts} requests left this host: {_sentences(details)}")
    if not answered:
        finding = Finding(what="failed", seen=failed / attempts, expected=expected.failed, outcome="fail")
        reason = f"none of {attempts} requests was answered as expected: {_sentences(details)}"
        return PhaseResult(phase=phase, outcome="fail", findings=[finding], reason=reason)
    findings = [_within("failed", failed / attempts, expected.failed, _sentences(details))]
    findings += _figures(requests["total"], expected, answered, "count in [target]")
    return msgspec.structs.replace(_phase(phase, findings, answered), medians_ms=_medians(requests))


def _medians(requests: Mapping[str, Any]) -> dict[str, float]:
    parts = {**requests["phases"], "total": requests["total"]}
    return {name: figures["median_ms"] for name, figures in parts.items() if figures["median_ms"] is not None}


def _instead(phase: str, target: Mapping[str, Any]) -> str:
    """Say why no request of a kind was made, by what was made instead."""
    made = target["remade"]
    if phase == "warm" and made:
        return (
            f"each of {made} requests had to open a connection, for the server, or a proxy before it, closes it after "
            "every answer; such a path has no warm latency: judge it by `cold`, or have the server keep connections"
        )
    return "no request was made"


def judge_overlay(found: Mapping[str, Any], expected: OverlayExpectation) -> PhaseResult:
    """Judge round trips through the tunnel."""
    phase = "overlay"
    if not found["sent"] or found["failure_details"] or found["send_errors"] == found["sent"]:
        why = _sentences(found["failure_details"]) or "no echo request could be sent; is there a route to it?"
        return inconclusive(phase, why)
    sent, received = found["sent"], found["received"]
    if not received:
        reason = f"{found['peer']} answered none of {sent} echo requests: the tunnel is down, or something drops ICMP"
        finding = Finding(what="lost", seen=1.0, expected=expected.lost, outcome="fail")
        return PhaseResult(phase=phase, outcome="fail", findings=[finding], reason=reason)
    findings = [_within("lost", found["lost"] / sent, expected.lost)]
    findings += _figures(found["rtt"], expected, received, "overlay.count")
    return _phase(phase, findings, received)


def judge_route(found: Mapping[str, Any], expected: RouteExpectation) -> PhaseResult:
    """Judge a trace."""
    phase = "route"
    hops = found["hops"]
    if not hops:
        return inconclusive(phase, _sentences(found["failure_details"]) or "mtr reported no hop")
    addresses = [hop["address"] for hop in hops]
    if not any(addresses):
        return inconclusive(phase, f"none of {len(hops)} hops answered: the way is hidden; try another protocol")
    findings = [_within("hops", len(hops), expected.hops)]
    if expected.through:
        findings.append(_through(addresses, expected.through))
    if expected.last_ms is not None:
        last = hops[-1]["avg_ms"]
        if last is None:
            reason = "the last hop does not answer"
            findings.append(
                Finding(what="last_ms", seen=None, expected=expected.last_ms, outcome="inconclusive", reason=reason)
            )
        else:
            findings.append(_within("last_ms", last, expected.last_ms))
    return _phase(phase, findings, sum(address is not None for address in addresses))


def judge_egress(found: Mapping[str, Any], expected: EgressExpectation) -> PhaseResult:
    """Judge as whom the internet sees the host; ``expected.address`` is resolved already."""
    phase = "egress"
    if found["address"] is None:
        return inconclusive(phase, f"{found['url']} told no address: {_sentences(found['failure_details'])}")
    findings = []
    for what in ("address", "city", "country"):
        wanted, seen = getattr(expected, what), found[what]
        if what == "address":
            wanted = str(ipaddress.ip_address(wanted)) if wanted else ""
        if not wanted:
            continue
        if seen is None:
            reason = f"{found['url']} tells no {what}; name an endpoint that does"
            findings.append(Finding(what=what, seen=None, expected=wanted, outcome="inconclusive", reason=reason))
        else:
            right = seen == wanted
            reason = "" if right else f"{what} is {seen}, not {wanted}"
            findings.append(
                Finding(what=what, seen=seen, expected=wanted, outcome="pass" if right else "fail", reason=reason)
            )
    return _phase(phase, findings, 1)


def _figures(
    values: Mapping[str, Any], expected: RequestExpectation | OverlayExpectation, count: int, setting: str
) -> list[Finding]:
    """Judge the figures that something is expected of, and show the median in any case."""
    findings = []
    for name in expected.__struct_fields__:
        if not name.endswith("_ms"):
            continue
        limits: Range | None = getattr(expected, name)
        if limits is None and name != "median_ms":
            continue
        level = _LEVELS.get(name)
        needed = 1 if level is None else minimum_samples(PERCENTILES[level])
        value = values.get(name)
        if value is None or count < needed:
            reason = f"{name} needs {needed:,} samples, there are {count:,}; raise {setting}"
            findings.append(Finding(what=name, seen=value, expected=limits, outcome="inconclusive", reason=reason))
        else:
            findings.append(_within(name, value, limits))
    return findings


def _within(what: str, value: float, limits: Range | None, why: str = "") -> Finding:
    if limits is None or limits[0] <= value <= limits[1]:
        return Finding(what=what, seen=value, expected=limits, outcome="pass")
    word = "above" if value > limits[1] else "below"
    reason = f"{what} {value:.4g} is {word} {limits[0]:g} to {limits[1]:g}" + (f": {why}" if why else "")
    return Finding(what=what, seen=value, expected=limits, outcome="fail", reason=reason)


def _through(addresses: Sequence[str | None], wanted: Sequence[str]) -> Finding:
    """Look for blocks on the way, in order; a silent hop may be the one that is missed."""
    position = 0
    for text in wanted:
        block = ipaddress.ip_network(text)
        found = next(
            (
                index
                for index, address in enumerate(addresses[position:], position)
                if address is not None and ipaddress.ip_address(address) in block
            ),
            None,
        )
        if found is None:
            silent = sum(address is None for address in addresses[position:])
            reason = f"{text} is not on the way"
            if silent:
                reason += f", but {silent} hops did not answer and may be it; try another protocol"
            return Finding(
                what="through",
                seen=list(addresses),
                expected=list(wanted),
                outcome="inconclusive" if silent else "fail",
                reason=reason,
            )
        position = found + 1
    return Finding(what="through", seen=list(addresses), expected=list(wanted), outcome="pass")


def _phase(phase: str, findings: list[Finding], samples: int) -> PhaseResult:
    return PhaseResult(
        phase=phase,
        outcome=worst(finding.outcome for finding in findings),
        findings=findings,
        reason="; ".join(finding.reason for finding in findings if finding.reason),
        samples=samples,
    )


def _sentences(details: Mapping[str, str]) -> str:
    return "; ".join(f"{reason}: {detail}" for reason, detail in details.items())
