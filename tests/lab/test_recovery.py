"""What production does to a daemon, and that nothing is lost without being counted. No test has a manual step."""

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.deadline import wait_until
from tests.lab.lab import Lab
from tests.lab.main_job import FORWARDER, GOT, RECEIVER, SENT, SIMULATOR, MainJob
from tests.stretches import stretches

pytestmark = pytest.mark.lab

RATE = 200
CUT_SECONDS = 30.0
BACKOFF_SECONDS = 2.0
"""The longest wait between attempts, as the hosts are configured."""

START_SECONDS = 120.0
"""What a daemon's first connection and our own looking at it may take on a machine with many times its load."""

SEAM_SECONDS = 0.25 + 0.1 + 3.0
"""Rows wait for a quarter of a second, acknowledgements for a tenth; what a stall of the link has held back comes at
once on top of that."""

KILLS = 10


@pytest.fixture
def job(installed: tuple[Path, ...]) -> Iterator[MainJob]:
    with Lab() as lab:
        job = MainJob(lab, installed, rate=RATE)
        job.start()
        yield job


def reconcile_forwarder(job: MainJob, dropped: int = 0) -> int:
    """Check the forwarder's account, and return how many events it has received."""
    page = job.forwarder()
    received = page.total(f"{SENT}_events_received_total")
    assert page.total(f"{SENT}_events_dropped_total") == dropped
    assert page.total(f"{SENT}_buffer_events") == 0
    assert page.total(f"{SENT}_events_forwarded_total") == received - dropped
    return int(received)


def reconcile_lives(job: MainJob, received: int) -> None:
    """Check that the rows of the receiver's two lives are the forwarder's events 1 to N, without holes in either.

    Where the first life ended without warning there is a seam: it may take rows with it that it had acknowledged and
    not yet written, and events whose acknowledgement was still to leave come again to the second.
    """
    first, second = job.sequences()
    assert stretches(first) == [(1, len(first))]
    assert stretches(second) == [(second[0], received)]
    assert abs(second[0] - first[-1] - 1) <= RATE * SEAM_SECONDS
    assert job.accounted() == (len(second), 0)


def test_a_receiver_that_hangs_is_restarted_and_the_counters_reconcile(job: MainJob) -> None:
    host = job.frankfurt
    job.wait_written()
    host.kill(RECEIVER, "STOP")
    wait_until("systemd restarts it", lambda: host.restarts(RECEIVER) == 1)
    said = [str(entry["MESSAGE"]) for entry in host.journal(RECEIVER)]
    assert any("Watchdog timeout" in line for line in said)
    host.wait_for(RECEIVER)
    job.wait_live(seconds=BACKOFF_SECONDS + START_SECONDS)
    assert job.forwarder().total(f"{SENT}_link_connected") == 1
    job.quiet()
    reconcile_lives(job, reconcile_forwarder(job))


def test_a_receiver_that_loses_its_power_comes_back_with_its_host(job: MainJob) -> None:
    job.wait_written()
    job.frankfurt.crash()
    job.frankfurt.wait_for(RECEIVER)
    job.wait_live(seconds=BACKOFF_SECONDS + START_SECONDS)
    job.quiet()
    reconcile_lives(job, reconcile_forwarder(job))


def test_a_receiver_whose_host_is_rebooted_loses_nothing_at_all(job: MainJob) -> None:
    job.frankfurt.reboot()
    job.frankfurt.wait_for(RECEIVER)
    job.wait_live(seconds=BACKOFF_SECONDS + START_SECONDS)
    job.quiet()
    received = reconcile_forwarder(job)
    assert stretches(itertools.chain.from_iterable(job.sequences())) == [(1, received)]


def test_an_exchange_that_restarts_is_found_again(job: MainJob) -> None:
    job.exchange.systemctl("restart", SIMULATOR)
    # Else events of the time before, that a link still holds, would do.
    wait_until("the feed is lost", lambda: job.forwarder().total(f"{SENT}_reconnects_total", side="feed") >= 1)
    wait_until("so is the other", lambda: job.receiver().total(f"{GOT}_reconnects_total", side="direct") >= 1)
    job.wait_live(seconds=BACKOFF_SECONDS + START_SECONDS)
    job.quiet()
    assert job.accounted() == (reconcile_forwarder(job), 0)


def test_a_link_that_is_cut_and_restored_delivers_all_that_waited(job: MainJob) -> None:
    job.backbone.cut()
    before = job.receiver().total(f"{GOT}_events_total", path="backbone")
    direct = job.live("direct")
    # The other path shows that time passes and the exchange goes on.
    wait_until("the cut has lasted", lambda: job.live("direct") - direct >= RATE * CUT_SECONDS, CUT_SECONDS * 2, 0.5)
    assert job.receiver().total(f"{GOT}_events_total", path="backbone") - before <= RATE
    waiting = job.forwarder().total(f"{SENT}_buffer_events")
    assert waiting >= RATE * CUT_SECONDS * 0.9
    job.backbone.restore()
    # An outage is found by retransmission time-outs as well as by our own: both grow with its length.
    job.wait_live("backbone", seconds=CUT_SECONDS + BACKOFF_SECONDS + START_SECONDS)
    job.quiet()
    page = job.receiver()
    assert job.accounted() == (reconcile_forwarder(job), 0)
    assert page.total(f"{GOT}_delayed_events_total", path="backbone") >= waiting * 0.9
    # An outage is not the path's delay: what waited has a histogram of its own.
    live = page.total(f"{GOT}_backbone_seconds_sum", path="backbone")
    assert live / page.total(f"{GOT}_backbone_seconds_count", path="backbone") < 1.0
    late = page.total(f"{GOT}_delayed_seconds_sum", path="backbone")
    assert late / page.total(f"{GOT}_delayed_seconds_count", path="backbone") > CUT_SECONDS / 4


def test_a_forwarder_killed_ten_times_comes_back_each_time_and_every_life_is_accounted(job: MainJob) -> None:
    host = job.tokyo
    for kill in range(1, KILLS + 1):
        host.kill(FORWARDER, "KILL")
        wait_until("systemd notices", lambda kill=kill: host.restarts(FORWARDER) == kill)  # type: ignore[misc]
        host.wait_for(FORWARDER)
        # Else events of the life before, that the link still holds, would do.
        wait_until(
            "the new life is known",
            lambda kill=kill: job.receiver().total(f"{GOT}_sessions_total", path="backbone") == kill + 1,  # type: ignore[misc]
        )
        job.wait_live("backbone", seconds=BACKOFF_SECONDS + START_SECONDS)
    # A daemon that keeps failing is started ever later, by what restart-delay says of itself.
    told = [str(entry["MESSAGE"]) for entry in host.journal(FORWARDER)]
    waits = [int(line.split()[1]) for line in told if line.startswith("waiting ")]
    assert waits[:4] == [1, 2, 4, 8]
    assert set(waits[4:]) == {15}
    job.quiet()
    page = job.receiver()
    assert page.total(f"{GOT}_sessions_total", path="backbone") == KILLS + 1
    # What was in a killed forwarder, and had not been sent, is not known to anyone; what was sent has no holes.
    unique, missing = job.accounted()
    assert missing == 0
    (rows,) = job.sequences()
    assert len(rows) == unique
    lives = [life for life in split_at_ones(rows) if life]
    assert len(lives) == KILLS + 1
    assert [stretches(life) for life in lives] == [[(1, len(life))] for life in lives]
    assert len(lives[-1]) == reconcile_forwarder(job)


def split_at_ones(sequences: list[int]) -> list[list[int]]:
    lives: list[list[int]] = [[]]
    for sequence in sequences:
        if sequence == 1:
            lives.append([])
        lives[-1].append(sequence)
    return lives


def test_a_cut_longer_than_the_buffer_loses_what_both_ends_count(installed: tuple[Path, ...]) -> None:
    with Lab() as lab:
        job = MainJob(lab, installed, rate=RATE, buffer_seconds=3.0)
        job.start()
        job.backbone.cut()
        wait_until(
            "events grow too old",
            lambda: job.forwarder().total(f"{SENT}_events_dropped_total", reason="age") >= RATE * 5,
        )
        job.backbone.restore()
        job.wait_live("backbone")
        job.quiet()
        dropped = int(job.forwarder().total(f"{SENT}_events_dropped_total"))
        received = reconcile_forwarder(job, dropped)
        assert job.accounted() == (received - dropped, dropped)


def test_udp_over_a_lossy_link_loses_what_the_link_lost(installed: tuple[Path, ...]) -> None:
    with Lab() as lab:
        job = MainJob(lab, installed, rate=RATE, transport="udp")
        job.start()
        job.backbone.shape(direction=0, loss=0.02, reorder=0.02)
        job.wait_live()
        wait_until("losses are seen", lambda: job.accounted()[1] >= 20)
        wait_until(
            "events overtake others",
            lambda: job.receiver().total(f"{GOT}_reordered_events_total", path="backbone") > 0,
        )
        job.backbone.shape(direction=0, loss=0.0, reorder=0.0)
        job.wait_live()
        job.quiet()
        received = reconcile_forwarder(job)
        unique, missing = job.accounted()
        assert unique + missing == received
