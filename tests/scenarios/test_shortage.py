"""Whole daemons with few descriptors, or with a standard error that is stuck, broken or closed: they measure on."""

import contextlib
import fcntl
import os
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.processes import until
from tests.programs import Metrics, forwarder, free_port, port_of, receiver, scrape, settled, simulator

pytestmark = pytest.mark.process

F_SETPIPE_SZ = 1031
DEADLINE_SECONDS = 20.0


class Bare:
    """A receiver whose standard error is what the test makes of it, so that only its pages tell of it."""

    def __init__(self, standard_error: int | None) -> None:
        self.port, self.metrics_port = free_port(), free_port()
        command = [
            *(sys.executable, "-m", "daemons.receiver.main", "--mode", "aws-backbone", "--allow-unsynchronized-clock"),
            *("--listen", f"127.0.0.1:{self.port}", "--metrics", f"127.0.0.1:{self.metrics_port}"),
        ]
        if standard_error is None:
            command = ["/bin/sh", "-c", 'exec "$@" 2>&-', "sh", *command]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=standard_error)

    def page(self) -> Metrics | None:
        """Read the metrics page; None while nobody serves it."""
        assert self.process.poll() is None, "it has ended"
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.metrics_port}/metrics", timeout=10) as page:
                return Metrics(page.read().decode())
        except (urllib.error.URLError, ConnectionError):
            return None

    def until_it_says(self, name: str, value: float, **labels: str) -> None:
        def said() -> bool:
            page = self.page()
            return page is not None and sum(page.matching(name, **labels)) == value

        until(said, f"{name} {labels} is {value}", DEADLINE_SECONDS)

    def terminate(self) -> int:
        self.process.terminate()
        return self.process.wait(DEADLINE_SECONDS)


@contextmanager
def bare(standard_error: int | None) -> Iterator[Bare]:
    made = Bare(standard_error)
    try:
        yield made
    finally:
        made.process.kill()
        made.process.wait(DEADLINE_SECONDS)


def measured(program: Bare) -> None:
    """Send a thousand events to it, and see that all are measured, in spite of strangers who make it talk."""
    with simulator("--rate", "1000", "--wait-for-clients", "1", "--stop-after-events", "1000") as exchange:
        program.until_it_says("latency_receiver_link_connected", 0)
        for _number in range(50):
            with socket.create_connection(("127.0.0.1", program.port)) as stranger:
                stranger.sendall(b"GET / HTTP/1.1\r\n\r\n")
        with forwarder(
            "--feed-url", f"ws://{exchange.ready['near']}", "--destination", f"127.0.0.1:{program.port}"
        ) as sender:
            settled(sender, "latency_forwarder_events_forwarded_total", 1000)
        program.until_it_says("latency_receiver_events_total", 1000)
    program.until_it_says("latency_receiver_link_refusals_total", 50, reason="garbage")


def test_standard_error_that_nobody_reads() -> None:
    read, write = os.pipe()
    try:
        fcntl.fcntl(write, F_SETPIPE_SZ, 4096)
        # Full before the first line.
        os.set_blocking(write, False)
        with contextlib.suppress(BlockingIOError):
            while True:
                os.write(write, b"\n" * 4096)
        os.set_blocking(write, True)
        with bare(write) as program:
            measured(program)
            # A stop tries for a moment to have its last words heard, and ends all the same.
            assert program.terminate() == 0
    finally:
        os.close(read)
        os.close(write)


def test_standard_error_that_is_broken() -> None:
    read, write = os.pipe()
    os.close(read)
    try:
        with bare(write) as program:
            measured(program)
            page = program.page()
            assert page is not None
            assert page.sum("latency_log_lines_dropped_total", reason="unread") >= 5
            program.process.send_signal(signal.SIGHUP)
            assert program.terminate() == 0
    finally:
        os.close(write)


def test_standard_error_that_is_closed() -> None:
    with bare(None) as program:
        measured(program)
        assert program.terminate() == 0


def test_64_descriptors_and_a_crowd_at_every_door() -> None:
    with (
        simulator("--rate", "500", "--wait-for-clients", "1") as exchange,
        receiver("--mode", "aws-backbone") as program,
    ):
        subprocess.run(["prlimit", "--pid", str(program.pid), "--nofile=64:"], check=True, timeout=30)
        port = port_of(program)
        with forwarder("--feed-url", f"ws://{exchange.ready['near']}", "--destination", f"127.0.0.1:{port}") as sender:
            until(lambda: scrape(program).sum("latency_receiver_link_connected") == 1, "the forwarder is in")
            with contextlib.ExitStack() as crowd:
                for _number in range(100):
                    crowd.enter_context(socket.create_connection(("127.0.0.1", port)))
                until(
                    lambda: (
                        scrape(program).sum("latency_receiver_link_refusals_total", reason="limit")
                        + scrape(program).sum("latency_receiver_link_refusals_total", reason="descriptors")
                        > 0
                    ),
                    "strangers are refused",
                )
            exchange.terminate()
            settled(sender, "latency_forwarder_feed_connected", 0)
            received = scrape(sender).sum("latency_forwarder_events_received_total")
            settled(program, "latency_receiver_events_total", received)
            assert scrape(program).sum("latency_receiver_link_connections_total") == 1
        # And whoever comes after the crowd is let in.
        with (
            simulator("--rate", "500", "--wait-for-clients", "1") as another,
            forwarder("--feed-url", f"ws://{another.ready['near']}", "--destination", f"127.0.0.1:{port}"),
        ):
            until(lambda: scrape(program).sum("latency_receiver_link_connections_total") == 2, "a new one is in")
        assert sum(scrape(program).matching("latency_unexpected_errors_total")) == 0


def test_a_forwarder_without_descriptors_waits_for_them() -> None:
    """Its feed and its links cannot be dialled meanwhile; what keeps them trying is not lost."""
    with simulator("--rate", "500") as exchange, receiver("--mode", "aws-backbone") as program:
        destination = f"127.0.0.1:{free_port()}"
        with forwarder(
            *("--feed-url", f"ws://{exchange.ready['near']}"),
            *("--destination", destination, "--destination", f"127.0.0.1:{port_of(program)}"),
            *("--transport", "tcp"),
        ) as sender:
            until(lambda: scrape(program).sum("latency_receiver_link_connected") == 1, "connected")
            highest = max(int(name) for name in os.listdir(f"/proc/{sender.pid}/fd"))  # noqa: PTH208
            subprocess.run(["prlimit", "--pid", str(sender.pid), f"--nofile={highest + 3}:"], check=True)
            link = scrape(sender).sum("latency_forwarder_reconnects_total", side=destination)
            until(
                lambda: scrape(sender).sum("latency_forwarder_reconnects_total", side=destination) > link + 1,
                "tried again",
            )
            subprocess.run(["prlimit", "--pid", str(sender.pid), "--nofile=1024:"], check=True)
            before = scrape(program).sum("latency_receiver_events_total")
            until(lambda: scrape(program).sum("latency_receiver_events_total") > before, "events go on")
            assert sum(scrape(sender).matching("latency_unexpected_errors_total")) == 0
