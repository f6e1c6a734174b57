"""Whole daemons with few descriptors, or with a standard error that is stuck, broken, full or closed: they go on."""

import contextlib
import fcntl
import os
import signal
import socket
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.processes import DEADLINE_SECONDS, running, until
from tests.programs import (
    Metrics,
    address_of,
    filled,
    forwarder,
    free_port,
    mounted,
    port_of,
    read,
    receiver,
    scrape,
    settled,
    silences,
    simulator,
)

pytestmark = pytest.mark.process

F_SETPIPE_SZ = 1031
EVENTS = 1000


@dataclass(frozen=True)
class Trouble:
    """A standard error on which nothing can be written.

    Attributes:
        descriptor: for the daemon; None for a closed one.
        drops: lines are dropped and counted at once.
        mend: puts an end to the trouble and returns what tells what has been written; None where there is no end.
    """

    descriptor: int | None
    drops: bool = False
    mend: Callable[[], Callable[[], bytes]] | None = None


@contextmanager
def unread(_folder: Path) -> Iterator[Trouble]:
    """Give a pipe that is full before the first line."""
    read, write = os.pipe()

    def mend() -> Callable[[], bytes]:
        os.set_blocking(read, False)
        heard = bytearray()

        def listen() -> bytes:
            with contextlib.suppress(BlockingIOError):
                heard.extend(os.read(read, 1 << 16))
            return bytes(heard)

        return listen

    try:
        fcntl.fcntl(write, F_SETPIPE_SZ, 4096)
        os.set_blocking(write, False)
        with contextlib.suppress(BlockingIOError):
            while True:
                os.write(write, b"\n" * 4096)
        os.set_blocking(write, True)
        yield Trouble(write, mend=mend)
    finally:
        os.close(read)
        os.close(write)


@contextmanager
def broken(_folder: Path) -> Iterator[Trouble]:
    """Give a pipe whose reader has gone."""
    read, write = os.pipe()
    os.close(read)
    try:
        yield Trouble(write, drops=True)
    finally:
        os.close(write)


@contextmanager
def closed(_folder: Path) -> Iterator[Trouble]:
    """Give none."""
    yield Trouble(None)


@contextmanager
def full(folder: Path) -> Iterator[Trouble]:
    """Give a file on a disk that has no room."""
    with mounted(folder / "small", "size=64k") as small:
        file = small / "log"
        file.touch()
        with filled(small, 64 << 10) as ballast, file.open("ab", buffering=0) as log:

            def mend() -> Callable[[], bytes]:
                ballast.unlink()
                return file.read_bytes

            yield Trouble(log.fileno(), drops=True, mend=mend)


class Bare:
    """A daemon whose standard error is what the test makes of it, so that only its pages tell of it."""

    def __init__(self, daemon: str, standard_error: int | None, *arguments: str) -> None:
        self.daemon, self.metrics_port = daemon, free_port()
        command = [sys.executable, "-m", f"daemons.{daemon}.main", "--metrics", f"127.0.0.1:{self.metrics_port}"]
        command += arguments
        if standard_error is None:
            command = ["/bin/sh", "-c", 'exec "$@" 2>&-', "sh", *command]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=standard_error)

    def page(self) -> Metrics | None:
        """Read the metrics page; None while nobody serves it."""
        assert self.process.poll() is None, "it has ended"
        try:
            return read(f"http://127.0.0.1:{self.metrics_port}/metrics")
        except (urllib.error.URLError, ConnectionError):
            return None

    def until_it_says(self, name: str, value: float, **labels: str) -> None:
        """Wait until a metric is at least that."""

        def said() -> bool:
            page = self.page()
            return page is not None and sum(page.matching(name, **labels)) >= value

        until(said, f"{name} {labels} is {value}")

    def reload(self) -> None:
        """Have it read its configuration again, of which it has a word to say."""
        at = f"latency_{self.daemon}_config_last_reload_success_timestamp_seconds"
        page = self.page()
        assert page is not None
        before = page.sum(at)
        self.process.send_signal(signal.SIGHUP)
        until(lambda: (after := self.page()) is not None and after.sum(at) > before, "reloaded")

    def terminate(self) -> int:
        self.process.terminate()
        return self.process.wait(DEADLINE_SECONDS)


@contextmanager
def bare(daemon: str, standard_error: int | None, *arguments: str) -> Iterator[Bare]:
    made = Bare(daemon, standard_error, *arguments)
    try:
        yield made
    finally:
        made.process.kill()
        made.process.wait(DEADLINE_SECONDS)


@contextmanager
def keeping(port: int) -> Iterator[None]:
    """Serve HTTP on a port, on as many connections as come, each kept open."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle(self) -> None:
            # A probe that ends cuts what it kept.
            with contextlib.suppress(ConnectionError):
                super().handle()

        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", port), Handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield
        finally:
            server.shutdown()
            thread.join(DEADLINE_SECONDS)


@contextmanager
def bare_receiver(standard_error: int | None) -> Iterator[Bare]:
    """Run a receiver that measures a thousand events, in spite of strangers who make it talk."""
    port = free_port()
    arguments = ("--mode", "aws-backbone", "--allow-unsynchronized-clock", "--listen", f"127.0.0.1:{port}")
    with (
        bare("receiver", standard_error, *arguments) as program,
        simulator("--rate", "1000", "--wait-for-clients", "1", "--stop-after-events", str(EVENTS)) as exchange,
    ):
        program.until_it_says("latency_receiver_link_connected", 0)
        until(lambda: program.page() is not None, "it serves")
        for _number in range(50):
            with socket.create_connection(("127.0.0.1", port)) as stranger:
                stranger.sendall(b"GET / HTTP/1.1\r\n\r\n")
        with forwarder("--feed-url", f"ws://{exchange.ready['near']}", "--destination", f"127.0.0.1:{port}") as sender:
            settled(sender, "latency_forwarder_events_forwarded_total", EVENTS)
        program.until_it_says("latency_receiver_events_total", EVENTS)
        program.until_it_says("latency_receiver_link_refusals_total", 50, reason="garbage")
        yield program


@contextmanager
def bare_forwarder(standard_error: int | None) -> Iterator[Bare]:
    """Run a forwarder that brings a thousand events to one receiver, and talks of another that is not there."""
    with (
        simulator("--rate", "1000", "--wait-for-clients", "1", "--stop-after-events", str(EVENTS)) as exchange,
        receiver("--mode", "aws-backbone") as sink,
    ):
        link, absent = f"127.0.0.1:{port_of(sink)}", f"127.0.0.1:{free_port()}"
        arguments = ("--feed-url", f"ws://{exchange.ready['near']}", "--destination", link, "--destination", absent)
        with bare("forwarder", standard_error, *arguments) as program:
            program.until_it_says("latency_forwarder_events_forwarded_total", EVENTS, link=link)
            program.until_it_says("latency_forwarder_reconnects_total", 2, side=absent)
            settled(sink, "latency_receiver_events_total", EVENTS)
            yield program


@contextmanager
def bare_probe(standard_error: int | None) -> Iterator[Bare]:
    """Run a probe of a page that answers and of one that does not."""
    with receiver("--mode", "aws-backbone") as server:
        good, bad = f"http://{address_of(server, 'metrics')}/-/healthy", f"http://127.0.0.2:{free_port()}/"
        arguments = ("--target", good, "--target", bad, "--interval", "0.1")
        with bare("probe", standard_error, *arguments) as program:
            program.until_it_says("latency_probe_successes_total", 10)
            program.until_it_says("latency_probe_failures_total", 10, reason="connect_refused")
            yield program


@pytest.mark.parametrize("made", [bare_receiver, bare_forwarder, bare_probe], ids=lambda made: made.__name__)
@pytest.mark.parametrize("troubled", [unread, broken, closed, full], ids=lambda troubled: troubled.__name__)
def test_a_standard_error_on_which_nothing_can_be_written(
    made: Callable[[int | None], AbstractContextManager[Bare]],
    troubled: Callable[[Path], AbstractContextManager[Trouble]],
    tmp_path: Path,
) -> None:
    with troubled(tmp_path) as trouble, made(trouble.descriptor) as program:
        program.reload()
        if trouble.drops:
            program.until_it_says("latency_log_lines_dropped_total", 2, reason="unread")
        if trouble.mend is not None:
            heard = trouble.mend()
            program.reload()
            until(lambda: b'"event": "reloaded"' in heard(), "it is heard again")
        # Where nobody reads, a stop tries for a moment to have its last words heard, and ends all the same.
        assert program.terminate() == 0


def test_64_descriptors_and_a_crowd_at_every_door() -> None:
    with (
        simulator("--rate", "500", "--wait-for-clients", "1") as exchange,
        receiver("--mode", "aws-backbone") as program,
    ):
        subprocess.run(["prlimit", "--pid", str(program.pid), "--nofile=64:"], check=True, timeout=300)
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
            before = scrape(program).sum("latency_receiver_link_connections_total")
            assert before - 1 <= silences(program, sender)
        # And whoever comes after the crowd is let in.
        with (
            simulator("--rate", "500", "--wait-for-clients", "1") as another,
            forwarder("--feed-url", f"ws://{another.ready['near']}", "--destination", f"127.0.0.1:{port}"),
        ):
            until(lambda: scrape(program).sum("latency_receiver_link_connections_total") > before, "a new one is in")
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


NAMED, NUMBERED = 24, 40


def test_a_probe_of_more_targets_than_it_has_descriptors_for(tmp_path: Path) -> None:
    """Each kept connection takes one. What gets none, or cannot look its name up, says so; all comes back."""
    port = free_port()
    file = tmp_path / "probe.toml"
    file.write_text(
        "".join(
            f'[[target]]\nname = "t{number}"\nurl = "http://{host}:{port}/"\nconnections = "{kind}"\n'
            "interval_seconds = 0.25\ntimeout_seconds = 20.0\n"
            for number in range(NAMED + NUMBERED)
            for host in ["localhost" if number < NAMED else "127.0.0.1"]
            for kind in ["both" if number % 4 == 0 else "warm"]
        )
    )
    with running("daemons.probe.main", "--metrics", "127.0.0.1:0", "--config", str(file)) as probe:
        subprocess.run(["prlimit", "--pid", str(probe.pid), "--nofile=64:"], check=True, timeout=300)

        def page() -> Metrics:
            with urllib.request.urlopen(f"http://{probe.ready['metrics']}/metrics", timeout=DEADLINE_SECONDS) as answer:
                lines = answer.read().decode().splitlines()
            # Of tens of thousands of lines, mostly buckets, only those that are looked at are worth to be parsed.
            found = Metrics("".join(f"{line}\n" for line in lines if "_total{" in line))
            slots, sent, missed, successes, failures = (
                sum(found.matching(f"latency_probe_{name}_total"))
                for name in ("slots", "attempts", "missed_slots", "successes", "failures")
            )
            assert slots == sent + missed
            assert successes + failures <= sent
            return found

        def failed(reason: str) -> float:
            return sum(page().matching("latency_probe_failures_total", reason=reason))

        until(lambda: failed("connect_refused") > 0, "it probes")
        with keeping(port):
            lack = "run out of file descriptors: raise LimitNOFILE"
            until(lambda: lack in probe.log, "it says what it lacks")
            until(lambda: failed("local") > NAMED, "counted")
            assert failed("dns") == 0
            subprocess.run(["prlimit", "--pid", str(probe.pid), "--nofile=1024:"], check=True, timeout=300)
            before = page()

            def all_answer() -> bool:
                now = page()
                return all(
                    now.sum("latency_probe_successes_total", target=f"t{number}")
                    > before.sum("latency_probe_successes_total", target=f"t{number}")
                    for number in range(NAMED + NUMBERED)
                )

            until(all_answer, "every target answers", every_seconds=0.2)
            assert not any(page().matching("latency_unexpected_errors_total"))


@pytest.mark.parametrize("program", ["forwarder", "receiver", "probe", "simulator"])
@pytest.mark.parametrize("trouble", [unread, broken])
def test_a_program_that_cannot_start_says_so_by_its_exit_code_whatever_becomes_of_its_words(
    program: str, trouble: Callable[[Path], AbstractContextManager[Trouble]], tmp_path: Path
) -> None:
    bad = tmp_path / "bad.toml"
    bad.write_text("[nobody]\n")
    options = ["--listen", "nowhere"] if program == "simulator" else ["--config", str(bad)]
    with trouble(tmp_path) as found:
        done = subprocess.run(
            [sys.executable, "-m", f"daemons.{program}.main", *options],
            stderr=found.descriptor,
            timeout=300,
            check=False,
        )
    assert done.returncode == 2
