"""A full disk costs result rows, which are counted, and nothing else; with room again, writing goes on."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.deadline import wait_until
from tests.lab.lab import Lab
from tests.lab.main_job import GOT, RECEIVER, MainJob

pytestmark = pytest.mark.lab

STATE = "/var/lib/latency"


@pytest.fixture
def job(installed: tuple[Path, ...]) -> Iterator[MainJob]:
    with Lab() as lab:
        job = MainJob(lab, installed)
        job.frankfurt.mount_small_disk(STATE, 8)
        job.start()
        yield job


def test_measuring_goes_on_the_error_is_clear_and_writing_recovers(job: MainJob) -> None:
    host = job.frankfurt
    host.fill(STATE)
    wait_until("failed writes are counted", lambda: job.receiver().total(f"{GOT}_result_write_errors_total") > 0)
    job.wait_live()
    errors = [event for event in host.events(RECEIVER) if event["level"] in ("error", "warning") and "file" in event]
    said = json.dumps(errors)
    assert f"{STATE}/results.csv" in said
    assert "No space left" in said
    assert len(errors) < 10, "a full disk is told, not repeated for every row"
    assert host.restarts(RECEIVER) == 0

    host.free(STATE)
    written = job.receiver().total(f"{GOT}_result_rows_total")
    wait_until("rows are written again", lambda: job.receiver().total(f"{GOT}_result_rows_total") > written + 100)
    job.quiet()
    page = job.receiver()
    counted = page.total(f"{GOT}_events_total")
    host.systemctl("stop", "latency-receiver.socket", RECEIVER)
    assert host.property(RECEIVER, "Result") == "success"
    results = json.loads(host.shell(f"cat {STATE}/results.json"))
    lines = host.shell(f"cat {STATE}/results.csv").splitlines()
    assert all(line.count(",") == lines[0].count(",") for line in lines), "only whole rows"
    assert sum(path["events"] for path in results["paths"].values()) == counted
    assert results["csv"]["rows"] == len(lines) - 1
    assert results["csv"]["rows"] + results["csv"]["rows_lost"] == counted


def test_results_that_cannot_be_written_at_the_end_are_told(job: MainJob) -> None:
    host = job.frankfurt
    host.fill(STATE)
    host.systemctl("stop", "latency-receiver.socket", RECEIVER)
    said = json.dumps(host.events(RECEIVER))
    assert f"{STATE}/results.json" in said
    assert "No space left" in said
    # Exit code 5 is that of ResultsError.
    assert host.property(RECEIVER, "ExecMainStatus") == "5"
