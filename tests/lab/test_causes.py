"""What put real programs' slowest events there, over a real kernel's TCP and a link with a distance, is what was done.

The judgement itself is held to the truth event by event in tests/daemons/measurement/tail; here the evidence is real. A
machine has stalls of its own, which are told as such: so what counts is of what most of the excess is, and of what
nearly all is that no stall of a program explains.
"""

import json
import re
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from math import isnan
from pathlib import Path

import pytest

from tests.lab.lab import Lab, Site
from tests.lab.namespace import Namespace
from tests.lab.shape import Shape
from tests.lab.wan import WideAreaLink
from tests.namespaces import entered
from tests.processes import Program, until
from tests.programs import Metrics, forwarder, log_lines, receiver, scrape, simulator

pytestmark = pytest.mark.lab

RATE = 500
FEED_MS, WAY_MS = 40.0, 20.0
FEED_PORT, LINK_PORT = 9443, 8080
STOPS = 8
STOPPED_SECONDS = 0.15
EXCESS = "latency_receiver_tail_excess_seconds_total"
STALLS = {"receiver_busy", "forwarder_busy"}
"""What a machine that does much else adds of itself."""
FOLLOWS = {"network": {"own_queue"}}
"""Over a slower way acknowledgements come later, and TCP with a small window waits for them."""


@dataclass
class Bridge:
    """A link path of whole programs: an exchange in the north, a forwarder in the west, a receiver in the east."""

    feed: WideAreaLink
    wan: WideAreaLink
    west: Namespace
    east: Namespace
    sender: Program
    receiver: Program

    def page(self) -> Metrics:
        with entered(self.east.name):
            return scrape(self.receiver)

    def excess(self) -> Counter[str]:
        return Counter(self.page().by(EXCESS, "cause"))


@pytest.fixture
def path(tmp_path: Path) -> Iterator[Bridge]:
    with Lab() as lab, ExitStack() as stack:
        north, west, east = (lab.site(name, f"10.83.{at}.0/24") for at, name in enumerate(("north", "west", "east")))
        feed, wan = lab.link(north, west, Shape(delay_ms=FEED_MS)), lab.link(west, east, Shape(delay_ms=WAY_MS))

        def run(where: Site, program: AbstractContextManager[Program]) -> Program:
            with entered(where.router.name):
                return stack.enter_context(program)

        to = f"{east.gateway}:{LINK_PORT}"
        sink = run(east, receiver("--mode", "aws-backbone", "--listen", to, "--allow", "0.0.0.0/0"))
        exchange = run(north, simulator("--rate", str(RATE), "--listen", f"{north.gateway}:{FEED_PORT}"))
        source = tmp_path / "forwarder.toml"
        source.write_text(f'[[destination]]\naddress = "{to}"\n')
        sender = run(west, forwarder("--feed-url", f"ws://{exchange.ready['near']}", "--config", str(source)))
        yield Bridge(feed, wan, west.router, east.router, sender, sink)


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
        path.wan.shape(direction=0, delay_ms=WAY_MS)
        time.sleep(1)


def fill_the_queue(path: Bridge) -> None:
    """What comes here is as quick as ever; TCP waits for acknowledgements, and the forwarder for TCP."""
    for _time in range(3):
        path.wan.shape(direction=1, delay_ms=800.0)
        time.sleep(1)
        path.wan.shape(direction=1, delay_ms=WAY_MS)
        time.sleep(1)


@contextmanager
def refused(where: Namespace, port: int) -> Iterator[None]:
    """Have all connections to a port reset, as by a firewall that has lost them."""
    rule = f"tcp dport {port} reject with tcp reset"
    chain = f"type filter hook output priority 0\n{rule}"
    where.run("nft", "-f", "-", stdin=f"table inet cut {{\nchain out {{\n{chain}\n}}\n}}\n")
    try:
        yield
    finally:
        where.run("nft", "delete", "table", "inet", "cut")


def connect_anew(path: Bridge) -> None:
    with refused(path.west, LINK_PORT):
        time.sleep(0.5)


def lose_before_the_forwarder(path: Bridge) -> None:
    path.feed.shape(direction=0, loss=0.02)
    time.sleep(3)
    path.feed.shape(direction=0, loss=0.0)


def has_connected(sender: Program, times: int) -> bool:
    return len(log_lines(sender, "feed connected")) >= times


def feed_anew(path: Bridge) -> None:
    """The new connection begins on a slow way, which is over within its first second."""
    for connected in (2, 3, 4):
        with refused(path.west, FEED_PORT):
            time.sleep(0.1)
            path.feed.shape(direction=0, delay_ms=120.0)
        until(partial(has_connected, path.sender, connected), "the feed is back")
        time.sleep(0.3)
        path.feed.shape(direction=0, delay_ms=FEED_MS)
        time.sleep(1)


@pytest.mark.parametrize(
    ("disturb", "causes"),
    [
        (stop_receiver, {"receiver_busy"}),
        (stop_forwarder, {"forwarder_busy"}),
        (lose, {"retransmission", "behind_retransmission"}),
        (slow_down, {"network"}),
        (fill_the_queue, {"own_queue"}),
        (connect_anew, {"reconnect"}),
        (lose_before_the_forwarder, {"feed_retransmission"}),
        (feed_anew, {"feed_reconnect"}),
    ],
)
def test_most_of_the_excess_is_of_what_was_done(
    path: Bridge, disturb: Callable[[Bridge], None], causes: set[str]
) -> None:
    def known() -> bool:
        thresholds = path.page().by("latency_receiver_tail_threshold_seconds", "of")
        return not all(isnan(value) for value in thresholds.values())

    until(known, "a percentile is known")
    before = path.excess()
    disturb(path)
    until(lambda: sum((path.excess() - before)[cause] for cause in causes) > 1.0, f"{causes} show")
    found = path.excess() - before
    done = sum(found[cause] for cause in causes)
    assert done > 0.5 * found.total(), found
    besides = causes.union(STALLS, *(FOLLOWS.get(cause, set()) for cause in causes))
    others = sum(excess for cause, excess in found.items() if cause not in besides)
    assert done >= 0.8 * (done + others), found


@dataclass(frozen=True)
class Shown:
    """What ss of iproute2 shows of one end of the link, or a program's page."""

    send_queue: float
    retransmitted: float
    reordering: float
    reorderings: float
    out_of_order: float

    @classmethod
    def by_ss(cls, where: Namespace, end: str) -> "Shown":
        shown = where.run("ss", "-Htinm", "state", "established", f"{end} = :{LINK_PORT}")
        fields = dict(re.findall(r"(\w+):(\S+)", shown))
        return cls(
            float(shown.split()[1]),
            float(fields.get("retrans", "0/0").split("/")[1]),
            float(fields.get("reordering", 3)),
            float(fields.get("reord_seen", 0)),
            float(fields.get("rcv_ooopack", 0)),
        )

    @classmethod
    def by_page(cls, where: Namespace, program: Program, side: str) -> "Shown":
        with entered(where.name):
            page = scrape(program)
        return cls(
            *(
                page.sum(f"latency_tcp_{name}", side=side)
                for name in (
                    "send_queue_bytes",
                    "retransmitted_segments_total",
                    "reordering_segments",
                    "reorderings_total",
                    "out_of_order_segments_total",
                )
            )
        )


def test_what_the_pages_say_of_tcp_is_what_ss_shows(path: Bridge) -> None:
    path.sender.wait_for_log('"event": "link connected"')
    to = json.loads(path.receiver.wait_for_log('"event": "listening"'))["address"]

    def both() -> tuple[Shown, Shown]:
        return Shown.by_ss(path.west, "dport"), Shown.by_ss(path.east, "sport")

    path.wan.shape(direction=0, loss=0.01, reorder=0.05)
    until(
        lambda: all((both()[0].retransmitted, both()[0].reorderings, both()[1].out_of_order)),
        "there were losses and reorderings",
    )
    path.wan.shape(direction=0, loss=0.0, reorder=0.0)
    # Nothing arrives at the forwarder, and what it still says is acknowledged late, within what it bears of silence.
    path.feed.cut()
    path.wan.shape(direction=1, delay_ms=3000.0)
    compared: list[tuple[Shown, Shown]] = []

    def at_rest() -> bool:
        before = both()
        pages = Shown.by_page(path.west, path.sender, to), Shown.by_page(path.east, path.receiver, "backbone")
        compared[:] = [*zip(before, pages, strict=True)]
        return before == both() and before[0].send_queue > 0

    until(at_rest, "the connection was at rest while the pages were read")
    for by_ss, by_page in compared:
        assert by_page == by_ss
