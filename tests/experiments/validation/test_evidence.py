"""What passes, what fails, and what cannot be told."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments.validation.config import (
    EgressExpectation,
    OverlayExpectation,
    RequestExpectation,
    RouteExpectation,
)
from experiments.validation.evidence import (
    Outcome,
    judge_egress,
    judge_overlay,
    judge_requests,
    judge_route,
    worst,
)


def requests(answered: int, failures: dict[str, int] | None = None, **figures: float | None) -> dict[str, Any]:
    """What latency-probe writes of a target that was asked on cold connections."""
    failed = failures or {}
    total = {
        "sample_count": answered,
        **dict.fromkeys(("median_ms", "p95_ms", "p99_ms", "p999_ms", "max_ms")),
        **figures,
    }
    details = {reason: f"{reason} it was" for reason in failed}
    cold = {"attempts": answered + sum(failed.values()), "failures": failed, "total": total, "phases": {}}
    return {
        "connections": {"cold": cold},
        "failure_details": details,
        "remade": 0,
        "url": "https://x",
        "address": "192.0.2.1",
    }


EXPECTED = RequestExpectation(median_ms=(60, 80), p99_ms=(60, 300))


def test_figures_within_their_ranges_pass() -> None:
    found = judge_requests("cold", requests(400, median_ms=72.1, p99_ms=151.6), EXPECTED)
    assert (found.outcome, found.reason, found.samples) == ("pass", "", 400)
    assert [finding.what for finding in found.findings] == ["failed", "median_ms", "p99_ms"]


@pytest.mark.parametrize(("median", "word"), [(80.01, "above"), (59.9, "below")])
def test_a_figure_outside_its_range_fails_and_says_which(median: float, word: str) -> None:
    found = judge_requests("cold", requests(400, median_ms=median, p99_ms=151.6), EXPECTED)
    assert found.outcome == "fail"
    assert found.reason == f"median_ms {median:.4g} is {word} 60 to 80"


def test_a_percentile_of_too_small_a_sample_is_inconclusive_though_the_value_would_do() -> None:
    found = judge_requests("cold", requests(100, median_ms=72.1, p99_ms=151.6), EXPECTED)
    assert found.outcome == "inconclusive"
    assert found.reason == "p99_ms needs 368 samples, there are 100; raise count in [target]"


def test_a_failure_outweighs_what_cannot_be_told() -> None:
    assert judge_requests("cold", requests(100, median_ms=90), EXPECTED).outcome == "fail"


def test_no_answer_at_all_is_a_failure_of_the_path() -> None:
    found = judge_requests("cold", requests(0, {"connect_timeout": 20}), EXPECTED)
    assert found.outcome == "fail"
    assert found.reason.startswith("none of 20 requests was answered as expected: connect_timeout: connect_timeout it")


def test_no_answer_for_reasons_of_this_host_says_nothing_of_the_path() -> None:
    assert judge_requests("cold", requests(0, {"local": 20}), EXPECTED).outcome == "inconclusive"


def test_too_many_failures_fail_and_give_the_reasons() -> None:
    found = judge_requests("cold", requests(390, {"timeout": 10}, median_ms=70, p99_ms=100), EXPECTED)
    assert found.outcome == "fail"
    assert "failed 0.025 is above 0 to 0.01: timeout: timeout it was" in found.reason


def test_no_request_is_no_evidence() -> None:
    nothing: dict[str, Any] = {"connections": {}, "failure_details": {}, "remade": 0}
    assert judge_requests("warm", nothing, RequestExpectation()).outcome == "inconclusive"
    refused = {"connections": {}, "remade": 0, "failure_details": {"connect_refused": "nobody listens"}}
    assert judge_requests("warm", refused, RequestExpectation()).outcome == "fail"


def round_trips(sent: int, received: int, **more: Any) -> dict[str, Any]:
    rtt = {"median_ms": 69.8 if received else None, "p95_ms": 70.2 if received > 20 else None, "max_ms": 71.0}
    counts = {"sent": sent, "received": received, "lost": sent - received, "send_errors": 0}
    return {"peer": "10.99.0.2", **counts, "rtt": rtt, "failure_details": {}, **more}


TUNNEL = OverlayExpectation(peer="10.99.0.2", median_ms=(65, 75), p95_ms=(65, 80))


@pytest.mark.parametrize(
    ("found", "outcome", "reason"),
    [
        (round_trips(100, 100), "pass", ""),
        (round_trips(100, 90), "fail", "lost 0.1 is above 0 to 0.01"),
        (round_trips(100, 0), "fail", "10.99.0.2 answered none of 100 echo requests"),
        (round_trips(40, 40), "inconclusive", "p95_ms needs 72 samples, there are 40; raise overlay.count"),
        (round_trips(0, 0, failure_details={"local": "cannot be pinged"}), "inconclusive", "local: cannot be pinged"),
        (round_trips(10, 0, send_errors=10), "inconclusive", "no echo request could be sent"),
    ],
)
def test_round_trips(found: dict[str, Any], outcome: Outcome, reason: str) -> None:
    judged = judge_overlay(found, TUNNEL)
    assert judged.outcome == outcome
    assert judged.reason.startswith(reason)


def hops(*addresses: str | None, last_ms: float | None = 139.5) -> dict[str, Any]:
    listed = [{"number": n, "address": address, "avg_ms": last_ms} for n, address in enumerate(addresses, start=1)]
    return {"target": "x", "hops": listed, "failure_details": {}}


THROUGH = RouteExpectation(through=("10.99.0.2", "240.0.0.0/8"), hops=(2, 12))


@pytest.mark.parametrize(
    ("found", "outcome", "reason"),
    [
        (hops("10.99.0.2", "240.1.52.40", "18.155.71.8"), "pass", ""),
        (hops("244.5.0.209", "18.155.71.8"), "fail", "10.99.0.2 is not on the way"),
        (hops("240.1.52.40", "10.99.0.2"), "fail", "240.0.0.0/8 is not on the way"),
        (hops(None, "240.1.52.40"), "inconclusive", "10.99.0.2 is not on the way, but 1 hops did not answer"),
        (hops(None, None), "inconclusive", "none of 2 hops answered"),
        (hops("10.99.0.2"), "fail", "hops 1 is below 2 to 12"),
        ({"hops": [], "failure_details": {"missing": "mtr: cannot be run"}}, "inconclusive", "missing: mtr: cannot be"),
    ],
)
def test_routes(found: dict[str, Any], outcome: Outcome, reason: str) -> None:
    judged = judge_route(found, THROUGH)
    assert judged.outcome == outcome
    assert judged.reason.startswith(reason)


def test_a_last_hop_that_is_silent_has_no_round_trip() -> None:
    judged = judge_route(hops("10.99.0.2", None, last_ms=None), RouteExpectation(last_ms=(0, 5)))
    assert judged.outcome == "inconclusive"
    assert judge_route(hops("10.99.0.2"), RouteExpectation(last_ms=(0, 5))).outcome == "fail"


def seen(address: str | None, city: str | None = "Tokyo") -> dict[str, Any]:
    return {"url": "https://e", "address": address, "city": city, "country": "JP", "failure_details": {"dns": "gone"}}


@pytest.mark.parametrize(
    ("found", "outcome", "reason"),
    [
        (seen("35.76.36.216"), "pass", ""),
        (seen("54.254.160.207"), "fail", "address is 54.254.160.207, not 35.76.36.216"),
        (seen("35.76.36.216", None), "inconclusive", "https://e tells no city"),
        (seen("35.76.36.216", "Singapore"), "fail", "city is Singapore, not Tokyo"),
        (seen(None), "inconclusive", "https://e told no address: dns: gone"),
    ],
)
def test_identities(found: dict[str, Any], outcome: Outcome, reason: str) -> None:
    judged = judge_egress(found, EgressExpectation(address="35.76.36.216", city="Tokyo"))
    assert judged.outcome == outcome
    assert judged.reason.startswith(reason)


@given(st.lists(st.sampled_from(["pass", "fail", "inconclusive"])))
def test_only_passes_make_a_pass(outcomes: list[Outcome]) -> None:
    expected = "fail" if "fail" in outcomes else "pass" if outcomes and set(outcomes) == {"pass"} else "inconclusive"
    assert worst(outcomes) == expected


@given(st.integers(0, 50), st.integers(0, 50))
def test_without_an_answer_nothing_passes(refused: int, local: int) -> None:
    found = judge_requests("cold", requests(0, {"connect_refused": refused, "local": local}), RequestExpectation())
    assert found.outcome != "pass"


def test_a_server_that_closes_every_connection_is_told_as_that() -> None:
    target = {"connections": {}, "failure_details": {}, "remade": 30}
    found = judge_requests("warm", target, RequestExpectation())
    assert found.outcome == "inconclusive"
    assert found.reason.startswith("no warm request was made: each of 30 requests had to open a connection")
