"""From one version to the next, and back, under load: no connection refused, no event lost without being counted."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.bundle import INSTALL
from tests.lab.deadline import wait_until
from tests.lab.lab import Lab
from tests.lab.main_job import RECEIVER, SENT, MainJob
from tests.stretches import stretches

pytestmark = pytest.mark.lab

RATE = 1000
KNOCK = """
import collections, os, socket, time
answers = collections.Counter()
while True:
    try:
        # What does not fit into the socket's backlog is not refused: it is asked again after 1, 3, 7 and 15 s.
        socket.create_connection(("frankfurt", 8080), timeout=60).close()
        answers["accepted"] += 1
    except OSError as error:
        answers[type(error).__name__] += 1
    with open("/run/knocked.new", "w") as out:
        out.write(repr(dict(answers)))
    os.replace("/run/knocked.new", "/run/knocked")
    time.sleep(0.005)
"""
"""Connects again and again, and keeps count of what came of it."""


@pytest.fixture
def job(installed: tuple[Path, ...], next_bundle: Path) -> Iterator[MainJob]:
    with Lab() as lab:
        job = MainJob(lab, (next_bundle, *installed), rate=RATE)
        job.start()
        yield job


def knocks(job: MainJob) -> dict[str, int]:
    path = job.monitor.path("/run/knocked")
    answers: dict[str, int] = ast.literal_eval(job.monitor.run("cat", "/run/knocked", check=False).stdout or "{}")
    assert not path.exists(), "/run is the host's own"
    return answers


def version(job: MainJob) -> str:
    (labels,) = [its for name, its, _ in job.receiver().samples if name == "latency_build_info"]
    return labels["version"]


def test_an_upgrade_and_a_rollback_refuse_no_connection_and_lose_no_event(job: MainJob) -> None:
    host, before = job.frankfurt, version(job)
    job.monitor.run("systemd-run", "--quiet", "--unit=knock", "/usr/bin/python3", "-c", KNOCK)
    wait_until("connections are made", lambda: knocks(job).get("accepted", 0) > 20)

    host.run(*INSTALL, "--restart")
    assert version(job) == "99.0"
    job.wait_live()

    host.run(INSTALL[0], "--rollback", "--restart")
    assert version(job) == before
    job.wait_live()

    job.monitor.systemctl("stop", "knock.service")
    answers = knocks(job)
    assert set(answers) == {"accepted"}
    assert answers["accepted"] > 100
    assert host.restarts(RECEIVER) == 0, "no restart was systemd's own"

    job.quiet()
    page = job.forwarder()
    received = page.total(f"{SENT}_events_received_total")
    assert page.total(f"{SENT}_events_dropped_total") == 0
    assert page.total(f"{SENT}_events_forwarded_total") == received
    reconnects = page.total(f"{SENT}_reconnects_total", side="frankfurt:8080")
    # Who starts slowly is waited for, and asked again.
    assert reconnects - page.total(f"{SENT}_reconnects_total", side="frankfurt:8080", reason="timeout") == 2
    # Three lives of the receiver: each wrote its rows to the end, and together they have every event once.
    lives = job.sequences()
    assert len(lives) == 3
    assert stretches(sequence for life in lives for sequence in life) == [(1, received)]
    assert received > RATE * 5
