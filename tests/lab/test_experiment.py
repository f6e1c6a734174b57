"""A run in the place of the receiver's unit, by systemd itself, on booted hosts."""

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from experiments.runs.remote import UNIT, unit_command
from tests.lab.deadline import wait_until
from tests.lab.lab import Lab
from tests.lab.main_job import RECEIVER, MainJob

pytestmark = pytest.mark.lab

PROGRAMS = "/opt/backbone-latency/current/bin"
RUNS = "/var/lib/latency/experiments"


@pytest.fixture(scope="module")
def job(installed: tuple[Path, ...]) -> Iterator[MainJob]:
    with Lab() as lab:
        job = MainJob(lab, installed)
        job.start()
        yield job


def run_in_place(job: MainJob, name: str, duration: str) -> None:
    """Run as an operator's ``experiment run --deployment`` has it run; here everything is root's already."""
    command = unit_command(
        [
            *(f"{PROGRAMS}/experiment", "run", "--no-compare", "--config", "/etc/latency/receiver.toml"),
            *(
                "--output",
                f"{RUNS}/{name}",
                "--duration",
                duration,
                "--rehearsal",
                "1s",
                "--allow-unsynchronized-clock",
            ),
        ]
    )
    assert command[:2] == ["sudo", "-n"]
    job.frankfurt.run(*command[2:], check=False)


def manifest(job: MainJob, name: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(job.frankfurt.path(f"{RUNS}/{name}/manifest.json").read_text())
    return content


def test_the_receiver_makes_room_for_a_run_and_comes_back(job: MainJob) -> None:
    before = job.frankfurt.main_pid(RECEIVER)
    run_in_place(job, "one", "5s")
    found = manifest(job, "one")
    assert found["complete"], found
    assert {name for name, count in found["blocks"][0]["events"].items() if count > 200} == {"direct", "backbone"}
    job.frankfurt.wait_for(RECEIVER)
    assert job.frankfurt.main_pid(RECEIVER) != before
    job.wait_live()
    # The run's rows are its own: the receiver's go on where its file says.
    assert job.frankfurt.path(f"{RUNS}/one/001-race/results.csv").exists()


def test_a_run_that_is_stopped_keeps_its_rows_and_gives_the_place_back(job: MainJob) -> None:
    runner = threading.Thread(target=run_in_place, args=(job, "two", "300s"))
    runner.start()
    rows = job.frankfurt.path(f"{RUNS}/two/001-race/results.csv")
    wait_until("rows of both paths", lambda: rows.exists() and rows.read_bytes().count(b",backbone,") > 200)
    assert job.frankfurt.systemctl("is-active", RECEIVER, check=False).strip() == "inactive"
    job.frankfurt.systemctl("stop", f"{UNIT}.service")
    runner.join(300)
    found = manifest(job, "two")
    assert (found["complete"], found["ended_by"], found["exit_code"]) == (False, "SIGTERM", 130)
    assert found["blocks"][0]["state"] == "cut short"
    job.frankfurt.wait_for(RECEIVER)
    job.wait_live()
