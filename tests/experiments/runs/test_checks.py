import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import AsyncMock

import pytest

from daemons.records import ClockState
from experiments.local.programs import ProgramError
from experiments.runs.checks import BYTES_PER_ROW, PathRate, disk_check, sample_check
from experiments.runs.preflight import Limits, Preflight, clock_check, shown

TRADES = PathRate(path="direct", events_per_second=100, timed_per_second=50)


def test_the_plan_names_the_percentiles_that_the_samples_will_support() -> None:
    check = sample_check([TRADES], 20)
    assert check.passed
    assert check.detail == (
        "direct: about 2,000 events, 1,000 samples of latency, enough for p50, p95, p99 (p99.9 needs 3,688)"
    )
    assert "enough for p50, p95, p99, p99.9" in sample_check([TRADES], 3600).detail


def test_events_without_event_time_promise_only_the_lead() -> None:
    tickers = PathRate(path="direct", events_per_second=100, timed_per_second=0)
    check = sample_check([tickers], 20)
    assert check.passed
    assert "no latency, only the lead of a race" in check.detail


def test_too_few_events_for_a_median_stop_the_run() -> None:
    check = sample_check([TRADES, PathRate(path="backbone", events_per_second=0.2, timed_per_second=0.2)], 20)
    assert not check.passed
    assert "lengthen --duration" in check.remedy


def test_the_disk_must_hold_half_as_much_again() -> None:
    needed = 100 * 3600 * BYTES_PER_ROW
    assert disk_check("here", 2 * needed, [TRADES], 3600).passed
    short = disk_check("here", needed, [TRADES], 3600)
    assert not short.passed
    assert short.exit_code == 5
    assert short.detail == "here: 68 MB free, about 68 MB needed"


def clock(bound_ms: float | None) -> ClockState:
    known = bound_ms is not None
    return ClockState(
        synchronized=known,
        offset_ns=0,
        error_bound_ns=None if bound_ms is None else round(bound_ms * 1e6),
        source="chrony" if known else "none",
    )


def test_the_clock_is_judged_as_the_receiver_judges_it() -> None:
    limits = Limits(max_clock_error_ms=1.0)
    assert clock_check(clock(0.4), limits, demanded=True).passed
    for unfit in (clock(1.4), clock(None)):
        check = clock_check(unfit, limits, demanded=True)
        assert not check.passed
        assert check.exit_code == 3
        assert "start chrony" in check.remedy
        allowed = clock_check(unfit, Limits(max_clock_error_ms=1.0, allow_unsynchronized=True), demanded=True)
        assert allowed.passed
        assert "allowed by --allow-unsynchronized-clock" in allowed.detail
        assert clock_check(unfit, limits, demanded=False).passed


def test_findings_read_as_lines() -> None:
    lines = shown([clock_check(clock(0.4), Limits(), demanded=True), clock_check(clock(40), Limits(), demanded=True)])
    assert lines[0] == "ok   clock: this host's clock is off by at most 0.400 ms (source: chrony)"
    assert lines[1].startswith(
        "FAIL clock: this host's clock is off by at most 40.000 ms (source: chrony), more than 10"
    )


@pytest.mark.parametrize(("ended", "why"), [(True, "latency-receiver ended"), (False, "metrics could not be read")])
def test_a_page_that_does_not_come_is_no_receiver_that_has_ended(ended: bool, why: str) -> None:
    receiver: Any = SimpleNamespace(
        first_events=AsyncMock(return_value=[]),
        progress=AsyncMock(return_value=None),
        ended=ended,
        last_words=lambda: "no words",
    )
    nothing: Any = None
    with pytest.raises(ProgramError, match=why):
        asyncio.run(Preflight(nothing, nothing, Limits(), Path(), asyncio.Event())._watch(receiver))
