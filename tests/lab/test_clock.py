"""What a daemon in its sandbox learns of its host's clock, where chrony keeps it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.deadline import wait_until
from tests.lab.host import Host
from tests.lab.lab import Lab
from tests.lab.main_job import GOT, RECEIVER
from tests.lab.scrape import scrape

pytestmark = pytest.mark.lab

OFFSET_SECONDS = 0.0123
STRATUM, SKEW_PPM = 2, 9
"""Columns of ``chronyc -c tracking`` (chronyc(1))."""
CONFIG = """
[[path]]
name = "backbone"
kind = "link"
listen = "0.0.0.0:8080"
allowed_sources = ["10.84.0.0/16"]
"""


@pytest.fixture
def host(installed: tuple[Path, ...]) -> Iterator[Host]:
    with Lab() as lab:
        site = lab.site("here", "10.84.1.0/24")
        server = lab.time_server(site, offset_seconds=OFFSET_SECONDS)
        host = lab.host("clock", {site: "10.84.1.11"}, layers=installed)
        host.write("/etc/latency/receiver.toml", CONFIG)
        host.follow(server)
        yield host


def knows_the_rate(host: Host) -> bool:
    """Ask chrony, which until its third answer admits an error that grows by a second per second."""
    tracking = host.run("chronyc", "-c", "tracking").stdout.split(",")
    return tracking[STRATUM] == "3" and float(tracking[SKEW_PPM]) < 10_000


def test_the_receiver_knows_the_offset_and_its_bound_from_chrony(host: Host) -> None:
    wait_until("chrony knows its server's time and rate", lambda: knows_the_rate(host))
    host.systemctl("start", RECEIVER)

    def learnt() -> tuple[float, float, float]:
        page = scrape(host, 9472)
        return (
            page.total(f"{GOT}_clock_synchronized"),
            abs(page.total(f"{GOT}_clock_offset_seconds")),
            page.total(f"{GOT}_clock_error_bound_seconds"),
        )

    def right() -> bool:
        synchronized, offset, bound = learnt()
        return (
            synchronized == 1
            and offset == pytest.approx(OFFSET_SECONDS, abs=0.002)
            and OFFSET_SECONDS * 0.9 < bound < 1.0
        )

    # A stall of the server during one of chrony's few questions is in its first offset, and wears off.
    wait_until("the receiver has the offset and its bound", right)


def test_without_chrony_the_clock_is_known_to_be_unsynchronised(host: Host) -> None:
    host.systemctl("stop", "chrony.service")
    host.systemctl("start", RECEIVER)
    assert scrape(host, 9472).total(f"{GOT}_clock_synchronized") == 0
