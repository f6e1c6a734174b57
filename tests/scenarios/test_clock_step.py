"""A wall clock set during a run is noticed and reported, and the race, which needs no second clock, goes on."""

import json
import signal
from pathlib import Path

import pytest

from tests.processes import running, until
from tests.programs import forwarder, log_lines, port_of, scrape, simulator
from tests.scenarios.stepped_receiver import STEP_SECONDS

pytestmark = pytest.mark.process

FAR_DELAY_MS = 40


def test_a_step_spoils_no_race(tmp_path: Path) -> None:
    output = tmp_path / "run.json"
    exchange = ("--far-listen", "127.0.0.1:0", "--far-delay-ms", str(FAR_DELAY_MS), "--rate", "200")
    with simulator(*exchange, "--stream", "btcusdt@trade") as market:
        near, far = market.ready["near"], market.ready["far"]
        arguments = ("--mode", "race", "--feed-url", f"ws://{far}/ws/btcusdt@trade", "--listen", "127.0.0.1:0")
        fixed = ("--metrics", "127.0.0.1:0", "--allow-unsynchronized-clock", "--output", str(output))
        with running("tests.scenarios.stepped_receiver", *fixed, *arguments, ready=None) as receiving:
            receiving.wait_for_log('"event": "serving"')
            link = f"127.0.0.1:{port_of(receiving)}"
            with forwarder("--feed-url", f"ws://{near}/ws/btcusdt@trade", "--destination", link):

                def pairs() -> float:
                    return sum(scrape(receiving).matching("latency_receiver_path_lead_seconds_count"))

                until(lambda: pairs() > 400, "400 pairs before the step")
                before = scrape(receiving)
                receiving.send_signal(signal.SIGUSR1)
                receiving.wait_for_log("the wall clock was stepped")
                receiving.wait_for_log("clocks do not fit together")
                goal = pairs() + 600
                until(lambda: pairs() > goal, "600 pairs after it")
                after = scrape(receiving)
    (step,) = log_lines(receiving, "the wall clock was stepped")
    assert step["step_seconds"] == pytest.approx(STEP_SECONDS, abs=0.001)
    assert before.sum("latency_receiver_clock_suspect") == 0
    assert after.sum("latency_receiver_clock_suspect") == 1
    assert after.sum("latency_receiver_clock_steps_total") == 1
    assert after.sum("latency_receiver_invalid_events_total", reason="clock_step") > 0
    result = json.loads(output.read_text())
    assert result["clock"]["steps"] == 1
    (race,) = result["race"]
    # Not one pair was off by the step: every lead is on the monotonic scale.
    # What a process that stalls for seconds does to one is less.
    assert abs(race["lead_ms"]["max"]) < STEP_SECONDS * 1000 / 2
    assert abs(race["lead_ms"]["min"]) < STEP_SECONDS * 1000 / 2
    assert race["pairs"] == race["wins"] + race["reference_wins"] + race["ties"]
    assert race["pairs"] > 1000
