"""Delays stay true while the receiver's process does not run: the kernel stamps each datagram as it arrives."""

import csv
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from daemons.link.events import datagram_events
from daemons.link.seal import TAG_BYTES
from tests.lab.capture import Capture
from tests.lab.deadline import wait_until
from tests.lab.lab import Lab
from tests.lab.main_job import BACKBONE, GOT, RECEIVER, SENT, MainJob

pytestmark = pytest.mark.lab

RATE = 1000
STOP_SECONDS = 0.2
LAG_SECONDS = 0.19
"""What the host delay must show: the stop, which begins when the first datagram waits, by the nearest bucket below."""

STOP = """
queued() {{ echo $((0x$(awk '$2 ~ /:1F90$/ {{ sub(".*:", "", $5); print $5 }}' /proc/net/udp))); }}
kill -STOP {pid}
date +%s%N
before=$(queued)
until [ $(queued) -gt $before ]; do sleep 0.01; done
sleep {seconds}
until [ $(queued) -gt $((before + {bytes})) ]; do sleep 0.01; done
date +%s%N
kill -CONT {pid}
"""
"""Stops the receiver for as long as its socket's first datagram has to wait, and until enough of them do."""

WAITING_BYTES = 100_000
"""What the events of half a stop take in the socket's queue, at most: a small datagram counts 768 bytes."""


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
    said = host.shell(STOP.format(pid=pid, seconds=STOP_SECONDS, bytes=WAITING_BYTES))
    stopped_ns, continued_ns = map(int, said.split())
    wait_until("the lag is seen", lambda: lagging(job) > before)
    job.wait_live()
    job.quiet()
    received = job.forwarder().total(f"{SENT}_events_received_total")
    assert job.accounted() == (received, 0), "nothing was lost"
    captured: dict[int, int] = {}
    entered: dict[int, int] = {}
    for stamp_ns, payload in capture.datagrams():
        # The tag, which the link's key makes, comes after the events.
        for event in datagram_events(payload, lambda _token, _number, data: len(data) - TAG_BYTES)[1]:
            captured[event.sequence], entered[event.sequence] = stamp_ns, event.receive_ns
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
    # From the forwarder's stamp, which came with the datagram, to the kernel's: the stop is in no delay.
    for row in during:
        delay_ns = captured[int(row["sequence_id"])] - entered[int(row["sequence_id"])]
        assert row["backbone_latency_ms"] == f"{delay_ns / 1e6:.6f}"
        assert delay_ns >= BACKBONE.delay_ms * 1e6

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
