"""What put real programs' slowest events there, over a real kernel's TCP and a link with a distance, is what was done.

The judgement itself is held to the truth event by event in tests/daemons/measurement/tail; here the evidence is real. A
machine has stalls of its own, which are told as such: so what counts is of what most of the excess is.
"""

import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import isnan
from pathlib import Path

import pytest

from tests.lab.lab import Lab
from tests.lab.shape import Shape
from tests.lab.wan import WideAreaLink
from tests.namespaces import entered
from tests.processes import Program, until
from tests.programs import Metrics, forwarder, receiver, scrape, simulator

pytestmark = pytest.mark.lab

RATE = 500
STOPS = 8
STOPPED_SECONDS = 0.15
EXCESS = "latency_receiver_tail_excess_seconds_total"


@dataclass
class Bridge:
    """A link path of whole programs at two sites."""

    wan: WideAreaLink
    west: str
    east: str
    sender: Program
    receiver: Program

    def page(self) -> Metrics:
        with entered(self.east):
            return scrape(self.receiver)

    def excess(self) -> Counter[str]:
        return Counter(self.page().by(EXCESS, "cause"))


@pytest.fixture
def path(tmp_path: Path) -> Iterator[Bridge]:
    with Lab() as lab:
        west, east = lab.site("west", "10.83.1.0/24"), lab.site("east", "10.83.2.0/24")
        wan = lab.link(west, east, Shape(delay_ms=20.0))
        with running_at(wan, west.router.name, east.router.name, east.gateway, tmp_path) as made:
            yield made


@contextmanager
def running_at(wan: WideAreaLink, west: str, east: str, address: str, folder: Path) -> Iterator[Bridge]:
    config = folder / "forwarder.toml"
    with entered(east):
        sink = receiver("--mode", "aws-backbone", "--listen", f"{address}:8080", "--allow", "0.0.0.0/0")
        ended = sink.__enter__()
    try:
        with entered(west):
            config.write_text(f'[[destination]]\naddress = "{address}:8080"\n')
            with (
                simulator("--rate", str(RATE)) as exchange,
                forwarder("--feed-url", f"ws://{exchange.ready['near']}", "--config", str(config)) as sender,
            ):
                yield Bridge(wan, west, east, sender, ended)
    finally:
        with entered(east):
            sink.__exit__(None, None, None)


def stop(program: Program) -> None:
    """Stop a process again and again for a while; how long is the subject, and no synchronisation."""
    for _stop in range(STOPS):
        program.send_signal(signal.SIGSTOP)
        time.sleep(STOPPED_SECONDS)
        program.send_signal(signal.SIGCONT)
        time.sleep(STOPPED_SECONDS)


def stop_receiver(path: Bridge) -> None:
    stop(path.receiver)


def stop_forwarder(path: Bridge) -> None:
    stop(path.sender)


def lose(path: Bridge) -> None:
    path.wan.shape(direction=0, loss=0.02)
    time.sleep(3)
    path.wan.shape(direction=0, loss=0.0)


def slow_down(path: Bridge) -> None:
    for _time in range(3):
        path.wan.shape(direction=0, delay_ms=120.0)
        time.sleep(1)
        path.wan.shape(direction=0, delay_ms=20.0)
        time.sleep(1)


@pytest.mark.parametrize(
    ("disturb", "causes"),
    [
        (stop_receiver, {"receiver_busy"}),
        (stop_forwarder, {"forwarder_busy"}),
        (lose, {"retransmission", "behind_retransmission"}),
        (slow_down, {"network"}),
    ],
)
def test_most_of_the_excess_is_of_what_was_done(
    path: Bridge, disturb: Callable[[Bridge], None], causes: set[str]
) -> None:
    def known() -> bool:
        thresholds = path.page().by("latency_receiver_tail_threshold_seconds", "of")
        return not all(isnan(value) for value in thresholds.values())

    until(known, "a percentile is known", 60)
    before = path.excess()
    disturb(path)
    until(lambda: sum((path.excess() - before)[cause] for cause in causes) > 1.0, f"{causes} show", 30)
    found = path.excess() - before
    assert sum(found[cause] for cause in causes) >= 0.8 * found.total(), found
