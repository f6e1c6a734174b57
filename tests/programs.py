"""The daemons as whole programs, and what they say of themselves."""

import contextlib
import csv
import json
import re
import secrets
import socket
import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from tests.processes import DEADLINE_SECONDS, Program, running, until

__all__ = [
    "Metrics",
    "address_of",
    "delivered",
    "dropped_datagrams",
    "filled",
    "forwarder",
    "free_port",
    "log_lines",
    "missing",
    "mounted",
    "port_of",
    "read",
    "receiver",
    "resident_bytes",
    "rows_of",
    "scrape",
    "settled",
    "silences",
    "simulator",
]


_FIRST_PORT, _LAST_PORT = 10_000, 32_768
_given: set[int] = set()


def simulator(*arguments: str) -> AbstractContextManager[Program]:
    """Run an exchange on a free port; its address is in ``ready["near"]``."""
    return running("daemons.simulator.main", "--listen", "127.0.0.1:0", *arguments)


@contextmanager
def forwarder(*arguments: str, exit_code: int = 0) -> Iterator[Program]:
    """Run a forwarder until it serves."""
    module = "daemons.forwarder.main"
    with running(module, "--metrics", "127.0.0.1:0", *arguments, exit_code=exit_code) as program:
        yield program


@contextmanager
def receiver(*arguments: str, exit_code: int = 0) -> Iterator[Program]:
    """Run a receiver until it serves; on a free port unless told otherwise."""
    listen = () if {"--listen", "--port", "--config", "baseline"} & set(arguments) else ("--listen", "127.0.0.1:0")
    fixed = ("--metrics", "127.0.0.1:0", "--allow-unsynchronized-clock", *listen)
    with running("daemons.receiver.main", *fixed, *arguments, exit_code=exit_code) as program:
        yield program


def free_port() -> int:
    """Return a TCP port that is free, and stays so.

    It is below the ports that the kernel picks by itself (ip(7), ``ip_local_port_range``): no connection that is made
    meanwhile gets it, and no caller gets it twice.
    """
    lowest = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    # Where the kernel takes nearly all of them, nothing can be done.
    end = lowest if lowest > 2 * _FIRST_PORT else _LAST_PORT
    for _attempt in range(1000):
        port = _FIRST_PORT + secrets.randbelow(end - _FIRST_PORT)
        if port in _given:
            continue
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            _given.add(port)
            return port
    raise OSError(f"no free port found between {_FIRST_PORT} and {end}")


def log_lines(program: Program, event: str) -> list[dict[str, Any]]:
    """Return the log lines so far of one event."""
    found = [json.loads(line) for line in program.log.splitlines() if line.startswith("{")]
    return [line for line in found if line["event"] == event]


def address_of(program: Program, event: str = "listening") -> str:
    """Return the address that a program bound: ``listening`` for links, ``metrics`` for the page."""
    address: str = json.loads(program.wait_for_log(f'"event": "{event}"'))["address"]
    return address


def port_of(program: Program) -> int:
    """Return the port of a receiver's link."""
    return int(address_of(program).rpartition(":")[2])


class Metrics:
    """One scrape."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]

    def sum(self, name: str, **labels: str) -> float:
        """Return the sum of a metric's samples with these labels; there must be one."""
        found = self.matching(name, **labels)
        assert found, f"{name} {labels} is not on the page"
        return sum(found)

    def matching(self, name: str, **labels: str) -> list[float]:
        """Return a metric's samples with these labels."""
        return [
            sample.value for sample in self.samples if sample.name == name and labels.items() <= sample.labels.items()
        ]

    def by(self, name: str, label: str) -> dict[str, float]:
        """Return a metric's samples other than zero, by one label."""
        return {sample.labels[label]: sample.value for sample in self.samples if sample.name == name and sample.value}


def scrape(program: Program) -> Metrics:
    """Read a program's metrics page."""
    return read(f"http://{address_of(program, 'metrics')}/metrics")


def read(url: str) -> Metrics:
    """Read a metrics page."""
    with urllib.request.urlopen(url, timeout=300) as page:
        return Metrics(page.read().decode())


def rows_of(file: Path) -> list[dict[str, str]]:
    """Read a CSV file of results, whose every row must be whole."""
    text = file.read_text()
    assert text == "" or text.endswith("\n")
    with file.open(newline="") as handle:
        rows = list(csv.DictReader(handle))
    assert all(None not in row and None not in row.values() for row in rows)
    return rows


@contextmanager
def mounted(where: Path, options: str) -> Iterator[Path]:
    """Mount a file system of its own for a folder; needs root, as in CI."""
    where.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(where)], check=True)
    try:
        yield where
    finally:
        subprocess.run(["umount", str(where)], check=True)


@contextmanager
def filled(folder: Path, size: int) -> Iterator[Path]:
    """Fill a disk with what is not ours, and may go away again."""
    ballast = folder / "ballast"
    ballast.write_bytes(bytes(size))
    yield ballast


def resident_bytes(pid: int) -> int:
    """Return the resident memory of a process."""
    found = re.search(r"^VmRSS:\s+(\d+) kB$", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    assert found is not None
    return int(found[1]) * 1024


def silences(sink: Program, *senders: Program) -> int:
    """Count the links that one end gave up for the other's silence: each is a connection more than a test asked for.

    On a machine that gives a process no turn for five seconds that is right, and none of what a test does to the link.
    """
    theirs: int = sum(line["why"] == "silent" for line in log_lines(sink, "forwarder disconnected"))
    return theirs + sum(
        round(sample.value)
        for sender in senders
        for sample in scrape(sender).samples
        if sample.name == "latency_forwarder_reconnects_total"
        and sample.labels["side"] != "feed"
        # Whoever dials anew may wait in vain as well.
        and sample.labels["reason"] in ("silent", "timeout")
    )


def missing(page: Metrics) -> float:
    """How many events of forwarders a receiver knows of and has not got: what was missed, but for what came late."""
    missed, late = (
        sum(page.matching(f"latency_receiver_{name}_total")) for name in ("sequence_gap_events", "late_events")
    )
    return missed - late


def dropped_datagrams(program: Program) -> float:
    """How many datagrams the kernel dropped for a receiver, by its own count.

    Where a machine gives the receiver no turn its buffer overflows: that is none of what a test does to the link.
    """
    return sum(scrape(program).matching("latency_receiver_socket_dropped_datagrams_total"))


def delivered(program: Program, count: float) -> float:
    """Wait until a receiver has all events of a forwarder, but for what its kernel dropped; return how many it has."""
    got = 0.0

    def accounted() -> bool:
        nonlocal got
        page = scrape(program)
        got = sum(page.matching("latency_receiver_events_total"))
        # What is told as sent may be missing for a moment, and come late.
        explained = missing(page) == 0 or dropped_datagrams(program) > 0
        return explained and got + missing(page) == count

    until(accounted, f"{count:.0f} events are there, or missing where the kernel dropped datagrams")
    return got


def settled(
    program: Program,
    name: str,
    value: float,
    deadline_seconds: float = DEADLINE_SECONDS,
    every_seconds: float = 0.05,
    **labels: str,
) -> None:
    """Wait until a metric has a value; streams appear on the page with their first event."""
    until(
        lambda: sum(scrape(program).matching(name, **labels)) == value, f"{name} {labels} is {value}", deadline_seconds
    )
