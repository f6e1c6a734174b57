"""Delays stay true while the receiver's process does not run: the kernel stamps each datagram as it arrives."""

import csv
import json
import statistics
from collections.abc import Iterator
from pathlib import Path

import pytest

from daemons.link.wire import datagram_events
from tests.lab.capture import Capture
from tests.lab.deadline import wait_until
from tests.lab.lab import Lab
from tests.lab.main_job import BACKBONE, GOT, RECEIVER, SENT, MainJob

pytestmark = pytest.mark.lab

RATE = 1000
STOP_SECONDS = 0.2
LAG_SECONDS = 0.19
"""What the host delay must show: the stop, but for the time until the first datagram comes."""

LINK_TOLERANCE_MS = 10.0
"""What the link's process may add to its delay, in the median, on a busy machine. Had the receiver stamped by itself,
the median datagram of the stop would be late by half of it: ten times as much."""


@pytest.fixture
def job(installed: tuple[Path, ...]) -> Iterator[MainJob]:
    with Lab() as lab:
        job = MainJob(lab, installed, rate=RATE, transport="udp")
        job.backbone.shape(jitter_ms=0.0)
        job.start()
        yield job


def test_a_receiver_that_is_stopped_for_200_ms_reports_true_delays_and_its_own_lag(job: MainJob) -> None:
    host = job.frankfurt
    before = lagging(job)
    capture = Capture(host, 8080)
    pid = host.main_pid(RECEIVER)
    said = host.shell(f"kill -STOP {pid}; date +%s%N; sleep {STOP_SECONDS}; date +%s%N; kill -CONT {pid}")
    stopped_ns, continued_ns = map(int, said.split())
    wait_until("the lag is seen", lambda: lagging(job) > before)
    job.wait_live()
    job.quiet()
    received = job.forwarder().total(f"{SENT}_events_received_total")
    assert job.accounted() == (received, 0), "nothing was lost"
    captured = {
        event.sequence: stamp_ns
        for stamp_ns, payload in capture.datagrams()
        for event in datagram_events(payload, lambda _token: True)[1]
    }
    host.systemctl("stop", "latency-receiver.socket", RECEIVER)

    with host.path("/var/lib/latency/results.csv").open(newline="") as lines:
        rows = [row for row in csv.DictReader(lines) if row["path"] == "backbone"]
    during = [row for row in rows if stopped_ns < int(row["frankfurt_time"]) < continued_ns]
    assert len(during) > RATE * STOP_SECONDS / 2
    assert {(row["stamp"], row["delayed"]) for row in during} == {("kernel", "0")}
    # Book tickers have no event time, hence no end-to-end latency; the link's they have.
    assert {row["validity"] for row in during} == {"ok", "without_event_time"}
    # Not about when, but to the nanosecond when, the kernel saw the datagram come in.
    reported = {int(row["sequence_id"]): int(row["frankfurt_time"]) for row in rows}
    assert {int(row["sequence_id"]) for row in during} <= captured.keys()
    assert {sequence: reported[sequence] for sequence in captured} == captured
    delays = [float(row["backbone_latency_ms"]) for row in during]
    assert BACKBONE.delay_ms <= min(delays)
    assert statistics.median(delays) < BACKBONE.delay_ms + LINK_TOLERANCE_MS

    path = json.loads(host.path("/var/lib/latency/results.json").read_text())["paths"]["backbone"]
    assert path["host_delay_ms"]["max_ms"] >= LAG_SECONDS * 1e3
    assert path["dropped_datagrams"] == 0


def lagging(job: MainJob) -> float:
    """Return how many of the link's events were handled so long after their arrival, by the nearest bucket below."""
    counts = {
        float(its["le"]): value
        for sample, its, value in job.receiver().samples
        if sample == f"{GOT}_host_delay_seconds_bucket" and its["path"] == "backbone"
    }
    return counts[float("inf")] - counts[max(le for le in counts if le <= LAG_SECONDS)]
