"""The receiver's clock is stepped while it measures: a kernel of its own makes that possible, and the step real."""

import json
import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.deadline import wait_until
from tests.lab.guest import Guest
from tests.lab.lab import Lab
from tests.lab.main_job import BACKBONE, FORWARDER, FORWARDER_CONFIG, GOT, RECEIVER_CONFIG, SIMULATOR
from tests.lab.scrape import Scrape
from tests.processes import DEADLINE_SECONDS

pytestmark = pytest.mark.lab

STEP_SECONDS = 10
PAIRS = 200
"""Events seen on both paths before a step, between steps and after."""

LEAD_BOUND_MS = STEP_SECONDS * 1e3 / 3
"""Leads are some milliseconds, and as long as a stall for what it holds up; the step would be in them whole."""

CLOCK_TOLERANCE_MS = 10.0
"""How far the guest's clock may be off that took its time from a server on a busy machine."""

STREAMS = '["btcusdt@trade"]'
NAMES = "127.0.0.1 localhost\n10.70.1.11 tokyo exchange\n10.70.2.11 frankfurt\n"
START = """
export CREDENTIALS_DIRECTORY=/etc/latency
mkdir -p /var/lib/latency
: > /var/log/receiver.log
/opt/backbone-latency/current/bin/latency-receiver --config /etc/latency/receiver.toml > /var/log/receiver.log 2>&1 &
echo $! > /run/receiver.pid
"""


STOP = """
kill -STOP $(cat /run/receiver.pid)
until awk '$2 ~ /:1F90$/ && $5 !~ /:00000000$/ { found = 1 } END { exit !found }' /proc/net/udp; do sleep 0.01; done
"""
"""Stops the receiver, until a datagram waits for it."""


@pytest.fixture
def guest(installed: tuple[Path, ...]) -> Iterator[Guest]:
    with Lab() as lab:
        tokyo, frankfurt = lab.site("tokyo", "10.70.1.0/24"), lab.site("frankfurt", "10.70.2.0/24")
        lab.link(tokyo, frankfurt, BACKBONE)
        key = secrets.token_hex(32)
        near = lab.host("tokyo", {tokyo: "10.70.1.11"}, layers=installed, boot=False)
        far = lab.host("frankfurt", {frankfurt: "10.70.2.12"}, layers=installed, boot=False)
        for host in (near, far):
            host.write("/etc/hosts", NAMES)
            host.write("/etc/latency/link.key", key, 0o600)
        near.write(
            "/etc/latency/forwarder.toml",
            FORWARDER_CONFIG.format(streams=STREAMS, transport="udp", buffer_seconds=60.0),
        )
        near.write(
            "/etc/latency/simulator.env",
            "SIMULATOR_FLAGS=--listen 0.0.0.0:9443 --stream btcusdt@trade --rate 100\n",
        )
        far.write("/etc/latency/receiver.toml", RECEIVER_CONFIG.format(streams=STREAMS, transport="udp"))
        near.machine.boot()
        near.systemctl("start", SIMULATOR, FORWARDER)
        guest = lab.guest(far, frankfurt, "10.70.2.11")
        guest.take_time(lab.time_server(frankfurt))
        guest.shell(START)
        yield guest


def page(guest: Guest) -> Scrape:
    return Scrape.of(
        guest.shell(f"curl --silent --show-error --fail --max-time {DEADLINE_SECONDS:g} http://127.0.0.1:9472/metrics")
    )


def pairs(guest: Guest) -> float:
    return page(guest).total(f"{GOT}_path_lead_seconds_count")


def wait_for_pairs(guest: Guest) -> None:
    before = pairs(guest)
    wait_until("both paths bring the same events", lambda: pairs(guest) >= before + PAIRS, every=0.5)


def test_a_step_is_detected_reported_and_does_not_spoil_the_race(guest: Guest) -> None:
    wait_until("the receiver serves", lambda: '"serving"' in (guest.root / "var/log/receiver.log").read_text())
    wait_until("the race is on", lambda: pairs(guest) > 0)
    wait_for_pairs(guest)
    assert page(guest).total(f"{GOT}_clock_steps_total") == 0
    assert page(guest).total(f"{GOT}_clock_suspect") == 0

    guest.step_clock(-STEP_SECONDS)
    wait_until("the step is noticed", lambda: page(guest).total(f"{GOT}_clock_steps_total") == 1)
    wait_until("the clocks are doubted", lambda: page(guest).total(f"{GOT}_clock_suspect") == 1)
    wait_for_pairs(guest)
    # An arrival before its departure is no delay: counted, and in no histogram.
    assert page(guest).total(f"{GOT}_invalid_events_total", reason="negative_backbone") >= PAIRS

    # Back to the truth while packets wait that were stamped on the other scale.
    guest.step_clock(STEP_SECONDS, before=STOP, after="kill -CONT $(cat /run/receiver.pid)")
    wait_until("the second step is noticed", lambda: page(guest).total(f"{GOT}_clock_steps_total") == 2)
    wait_until("the clocks are believed again", lambda: page(guest).total(f"{GOT}_clock_suspect") == 0)
    wait_for_pairs(guest)
    assert page(guest).total(f"{GOT}_invalid_events_total", reason="clock_step") >= 1

    guest.shell(
        "kill $(cat /run/receiver.pid); while kill -0 $(cat /run/receiver.pid) 2>/dev/null; do sleep 0.05; done"
    )
    log = [json.loads(line) for line in (guest.root / "var/log/receiver.log").read_text().splitlines()]
    told = [entry["step_seconds"] for entry in log if entry.get("event") == "the wall clock was stepped"]
    assert told == pytest.approx([-STEP_SECONDS, STEP_SECONDS], abs=0.1)

    results = json.loads((guest.root / "var/lib/latency/results.json").read_text())
    assert results["clock"]["steps"] == 2
    link = results["paths"]["backbone"]
    assert BACKBONE.delay_ms - CLOCK_TOLERANCE_MS <= link["backbone"]["min_ms"]
    assert link["backbone"]["max_ms"] < STEP_SECONDS * 1e3
    assert link["host_delay_ms"]["max_ms"] < STEP_SECONDS * 1e3
    (race,) = results["race"]
    assert race["pairs"] >= 3 * PAIRS
    assert -LEAD_BOUND_MS < race["lead_ms"]["min"] <= race["lead_ms"]["max"] < LEAD_BOUND_MS
