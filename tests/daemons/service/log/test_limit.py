"""A log that others would like to grow."""

import json
import subprocess
import sys
from collections import Counter

import pytest
import structlog

from daemons.service.log.limit import BURST, MAX_CHARACTERS, MAX_KINDS, PERIOD_SECONDS, LogLimit


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_a_burst_is_let_through_and_then_one_line_a_period_which_says_how_many_were_not() -> None:
    clock = Clock()
    limit = LogLimit(clock)
    assert [limit.admit("a") for _turn in range(BURST + 5)] == [0] * BURST + [None] * 5
    assert limit.admit("b") == 0
    clock.now += PERIOD_SECONDS
    assert [limit.admit("a"), limit.admit("a")] == [5, None]
    clock.now += PERIOD_SECONDS
    assert limit.admit("a") == 1
    # After long silence it is a burst again, and no more than that.
    clock.now += 100 * BURST * PERIOD_SECONDS
    assert [limit.admit("a") for _turn in range(BURST + 1)] == [0] * BURST + [None]
    assert limit.dropped == 5 + 1 + 1


def test_kinds_are_told_apart_by_event_and_by_what_they_are_about() -> None:
    limit = LogLimit(Clock())
    for line in ({"event": "x", "path": "a"}, {"event": "x", "path": "b"}, {"event": "y", "path": "a"}):
        for _turn in range(BURST):
            assert "suppressed" not in limit(None, "info", dict(line))
        with pytest.raises(structlog.DropEvent):
            limit(None, "info", dict(line))


def test_kinds_without_end_share_one() -> None:
    limit = LogLimit(Clock())
    let_through = sum(limit.admit(f"kind {number}") is not None for number in range(10 * MAX_KINDS))
    assert let_through == MAX_KINDS + BURST
    assert limit.dropped == 9 * MAX_KINDS - BURST


def test_a_long_text_is_cut() -> None:
    line = LogLimit(Clock())(None, "info", {"event": "x", "error": "e" * 10**6, "number": 5})
    assert line["error"] == "e" * MAX_CHARACTERS + "… (1000000 characters)"
    assert line["number"] == 5


FLOOD = """
import logging, structlog
from daemons.service.log import logs

logs.configure("json", "info")
log = structlog.get_logger("x")
library = logging.getLogger("library")
for number in range(10_000):
    log.info("flood", number=number)
    library.warning("flood %d", number)
log.info("end", dropped=logs.limit.dropped)
"""


def test_a_flood_of_ours_and_of_a_librarys_lines_is_a_few_lines_in_the_log() -> None:
    done = subprocess.run([sys.executable, "-c", FLOOD], capture_output=True, text=True, check=True, timeout=300)
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    assert Counter(line["event"].partition(" ")[0] for line in lines) == {"flood": 2 * BURST, "end": 1}
    assert lines[-1]["dropped"] == 2 * (10_000 - BURST)
