"""What --once says of where it stands: for people, whole at every width."""

import re
from typing import Any, cast

import pytest

from daemons.measurement.histogram import QuantileHistogram
from daemons.probe.once.document import Vantage
from daemons.probe.once.statistics import summary
from daemons.probe.once.view import print_vantage
from daemons.service.console.screen import screen

ROUND_TRIPS = QuantileHistogram()
for index in range(200):
    ROUND_TRIPS.record(211_000_000 + index * 10_000)

FOUND: dict[str, dict[str, Any]] = {
    "egress": {
        "proxy": "proxy.example:3128",
        "address": "203.0.113.7",
        "city": "Tokyo",
        "country": None,
        "matches": False,
        "mismatches": ["country is not told instead of JP"],
        "failure_details": {},
    },
    "route": {
        "target": "198.51.100.9",
        "hops": [
            {"number": 1, "address": "10.0.0.1", "loss_ratio": 0.0, "avg_ms": 0.413, "max_ms": 1.2},
            {"number": 2, "address": None, "loss_ratio": 1.0, "avg_ms": None, "max_ms": None},
            {"number": 3, "address": "2001:db8:1234:5678::9", "loss_ratio": 0.25, "avg_ms": 212.517, "max_ms": 1213.5},
        ],
        "failure_details": {},
    },
    "overlay": {
        "peer": "10.99.0.1",
        "sent": 201,
        "received": 200,
        "lost": 1,
        "late": 1,
        "duplicates": 0,
        "send_errors": 0,
        "rtt": summary(ROUND_TRIPS),
        "failure_details": {},
    },
}


def _shown(
    found: dict[str, dict[str, Any]], width: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> str:
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("NO_COLOR", "1")
    print_vantage(screen(), cast("Vantage", found))
    # Bold heads are not what is looked at.
    shown = re.sub(r"\x1b\[[0-9;]*m", "", capsys.readouterr().out)
    assert max(map(len, shown.splitlines())) <= width
    assert "…" not in shown
    return " ".join(shown.split())


@pytest.mark.parametrize("width", [60, 80, 140])
def test_what_was_found_is_whole(
    width: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shown = _shown(FOUND, width, monkeypatch, capsys)
    assert "egress: 203.0.113.7, Tokyo through proxy.example:3128, NOT as expected: country is not told" in shown
    for number in ("0.41", "1.20", "100%", "25%", "212.52", "1213.50", "2001:db8:1234:5678::9"):
        assert number in shown
    assert "overlay to 10.99.0.1: 200 of 201 echoes answered, 1 lost, 1 late; p50 212.01, p95 " in shown
    assert "{" not in shown


@pytest.mark.parametrize("width", [60, 80, 140])
def test_what_was_not_found_says_why(
    width: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    egress = FOUND["egress"] | {"address": None, "mismatches": [], "failure_details": {"dns": "name not known"}}
    route = FOUND["route"] | {"hops": [], "failure_details": {"command": "no-such-mtr: not found"}}
    overlay = FOUND["overlay"] | {
        "sent": 0,
        "received": 0,
        "lost": 0,
        "late": 0,
        "rtt": summary(QuantileHistogram()),
        "failure_details": {"local": "may not ping; see ping_group_range"},
    }
    shown = _shown({"egress": egress, "route": route, "overlay": overlay}, width, monkeypatch, capsys)
    assert "egress: no answer; dns: name not known" in shown
    assert "route to 198.51.100.9: not traced; command: no-such-mtr: not found" in shown
    assert "overlay to 10.99.0.1: 0 of 0 echoes answered; local: may not ping; see ping_group_range" in shown


def test_what_was_not_asked_for_is_not_spoken_of(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    print_vantage(screen(), {})
    assert capsys.readouterr().out == ""
