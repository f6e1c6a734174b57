"""The topology of the main job: an exchange, Tokyo with the forwarder, Frankfurt with the receiver and a monitor."""

import csv
import secrets
import time
from functools import partial
from pathlib import Path

from tests.lab.deadline import wait_until
from tests.lab.lab import Lab
from tests.lab.scrape import Scrape, scrape
from tests.lab.shape import Shape
from tests.processes import DEADLINE_SECONDS

__all__ = ["BACKBONE", "FORWARDER", "GOT", "PROMETHEUS", "RECEIVER", "SENT", "SIMULATOR", "MainJob"]

SIMULATOR, FORWARDER, RECEIVER = "latency-simulator.service", "latency-forwarder.service", "latency-receiver.service"
PROMETHEUS = "prometheus.service"
SENT, GOT = "latency_forwarder", "latency_receiver"
STREAMS = ("btcusdt@trade", "btcusdt@bookTicker")

NEAR = Shape(delay_ms=2.0, jitter_ms=0.2)
BACKBONE = Shape(delay_ms=50.0, jitter_ms=1.0)
PUBLIC = Shape(delay_ms=60.0, jitter_ms=8.0)
"""One-way delays: a quarter of the world's, so that reconnects and round trips do not make up the test's time."""

FORWARDER_CONFIG = """
[feed]
url = "ws://exchange:9443"
streams = {streams}
reconnect_max_seconds = 2.0

[[destination]]
address = "frankfurt:8080"
path_name = "backbone"
transport = "{transport}"
key_file = "credential:link.key"
reconnect_max_seconds = 2.0
buffer_seconds = {buffer_seconds}

[metrics]
listen = "0.0.0.0:9471"
"""

RECEIVER_CONFIG = """
[[path]]
name = "backbone"
kind = "link"
transport = "{transport}"
key_file = "credential:link.key"
allowed_sources = ["10.70.1.11/32"]

[[path]]
name = "direct"
kind = "feed"
url = "ws://exchange:9443"
streams = {streams}
reconnect_max_seconds = 2.0

[run]
output = "/var/lib/latency/results.json"
csv_output = "/var/lib/latency/results.csv"

[metrics]
listen = "0.0.0.0:9472"
"""


PROMETHEUS_CONFIG = """
global: {scrape_interval: 1s}
scrape_configs:
  - job_name: latency
    static_configs: [{targets: ["tokyo:9471", "frankfurt:9472"]}]
"""


class MainJob:
    """The four hosts and three links, with everything configured and nothing started.

    Args:
        lab: where they are made.
        layers: a host on which the release is installed.
        rate: events a second, both streams together.
        transport: of the link.
        buffer_seconds: how old an event may grow in the forwarder.
    """

    def __init__(
        self,
        lab: Lab,
        layers: tuple[Path, ...],
        *,
        rate: int = 200,
        transport: str = "tcp",
        buffer_seconds: float = 300.0,
    ) -> None:
        exchange, tokyo = lab.site("exchange", "10.70.0.0/24"), lab.site("tokyo", "10.70.1.0/24")
        frankfurt = lab.site("frankfurt", "10.70.2.0/24")
        self.near = lab.link(exchange, tokyo, NEAR)
        self.backbone = lab.link(tokyo, frankfurt, BACKBONE)
        self.public = lab.link(exchange, frankfurt, PUBLIC)
        places = {
            "exchange": (exchange, "10.70.0.11"),
            "tokyo": (tokyo, "10.70.1.11"),
            "frankfurt": (frankfurt, "10.70.2.11"),
        }
        places["monitor"] = (frankfurt, "10.70.2.12")
        hosts = {
            name: lab.host(name, {site: address}, layers=layers, boot=False) for name, (site, address) in places.items()
        }
        self.exchange, self.tokyo = hosts["exchange"], hosts["tokyo"]
        self.frankfurt, self.monitor = hosts["frankfurt"], hosts["monitor"]
        names = "".join(f"{address} {name}\n" for name, (_, address) in places.items())
        key = secrets.token_hex(32)
        streams = "[" + ", ".join(f'"{name}"' for name in STREAMS) + "]"
        for host in hosts.values():
            host.write("/etc/hosts", f"127.0.0.1 localhost\n{names}")
        for host in (self.tokyo, self.frankfurt):
            host.write("/etc/latency/link.key", key, 0o600)
        flags = " ".join(f"--stream {name}" for name in STREAMS)
        self.exchange.write(
            "/etc/latency/simulator.env", f"SIMULATOR_FLAGS=--listen 0.0.0.0:9443 {flags} --rate {rate}\n"
        )
        self.tokyo.write(
            "/etc/latency/forwarder.toml",
            FORWARDER_CONFIG.format(streams=streams, transport=transport, buffer_seconds=buffer_seconds),
        )
        self.frankfurt.write("/etc/latency/receiver.toml", RECEIVER_CONFIG.format(streams=streams, transport=transport))
        self.monitor.write("/etc/prometheus/prometheus.yml", PROMETHEUS_CONFIG)
        for host in hosts.values():
            host.machine.boot()

    def start(self) -> None:
        """Enable and start the daemons, as an operator does, and wait until events arrive by both paths."""
        self.monitor.systemctl("enable", "--now", PROMETHEUS)
        self.exchange.systemctl("enable", "--now", SIMULATOR)
        self.frankfurt.systemctl("enable", "--now", RECEIVER)
        self.tokyo.systemctl("enable", "--now", FORWARDER)
        self.wait_live()

    def forwarder(self) -> Scrape:
        """Read the forwarder's metrics."""
        return scrape(self.tokyo, 9471)

    def receiver(self) -> Scrape:
        """Read the receiver's metrics."""
        return scrape(self.frankfurt, 9472)

    def live(self, path: str) -> float:
        """Return how many events have come by a path without waiting anywhere; none while the receiver is away."""
        try:
            page = self.receiver()
        except AssertionError:
            return 0.0
        events = sum(page.values("latency_receiver_events_total", path=path))
        return events - page.total("latency_receiver_delayed_events_total", path=path)

    def wait_live(self, *paths: str, seconds: float = DEADLINE_SECONDS) -> float:
        """Wait until live events arrive by these paths, or by both; return how many seconds that took."""
        begin = time.monotonic()
        before = {path: self.live(path) for path in paths or ("backbone", "direct")}
        for path, count in before.items():
            wait_until(f"events arrive by {path}", partial(self._moved, path, count), seconds)
        return time.monotonic() - begin

    def wait_written(self) -> None:
        """Wait until the receiver has written rows of the link: a life that ends before has left nothing to check."""
        wait_until("rows are written", lambda: any(self.sequences()))

    def quiet(self) -> None:
        """Stop the exchange, and wait until all that it sent was delivered or given up, and is in the results."""
        self.exchange.systemctl("stop", SIMULATOR)
        wait_until("the forwarder's buffer is empty", lambda: self.forwarder().total(f"{SENT}_buffer_events") == 0)
        before = (-1.0, -1.0)

        def settled() -> bool:
            nonlocal before
            page, then = self.receiver(), before
            events = page.total(f"{GOT}_events_total")
            rows = page.total(f"{GOT}_result_rows_total") + page.total(f"{GOT}_result_rows_lost_total")
            before = (events, page.total(f"{GOT}_sequence_gap_events_total", path="backbone"))
            # A thread writes the rows, and may be behind.
            return before == then and rows == events

        # Longer than the second that a hole may stay open before it is declared lost.
        wait_until("the receiver's account is settled", settled, every=1.5)

    def accounted(self) -> tuple[float, float]:
        """Return how many different events the receiver has from forwarders, and how many it knows it has missed."""
        page, path = self.receiver(), {"path": "backbone"}
        unique = sum(page.values(f"{GOT}_events_total", **path)) - page.total(f"{GOT}_duplicate_events_total", **path)
        lost = page.total(f"{GOT}_sequence_gap_events_total", **path) - page.total(f"{GOT}_late_events_total", **path)
        return unique, lost + page.total(f"{GOT}_given_up_events_total", **path)

    def sequences(self) -> list[list[int]]:
        """Return the sequence numbers of the link's rows in each CSV file, in the order of the receiver's lives."""
        place = self.frankfurt.path("/var/lib/latency")
        lives = []
        for file in sorted(place.glob("results*.csv"), key=lambda file: file.stat().st_mtime_ns):
            text = file.read_text()
            # The row that is being written, or that was when the power went, counts when it is whole.
            whole = text[: text.rfind("\n") + 1]
            rows = [row for row in csv.DictReader(whole.splitlines()) if row["path"] == "backbone"]
            lives.append([int(row["sequence_id"]) for row in rows])
        return lives

    def _moved(self, path: str, count: float) -> bool:
        # A receiver that was restarted counts from zero again.
        now = self.live(path)
        return now > count or 0 < now < count
