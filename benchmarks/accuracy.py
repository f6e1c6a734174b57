"""Accuracy: what the receiver says a datagram's one-way delay was, against a delay that is known.

A forwarder made for this speaks the link's own protocol and claims to have received each event a known time before it
hands it to the kernel. On the loopback a datagram is in the receiver's socket before ``send`` returns, so the truth
lies between the clock readings around the call. Two errors are reported, of all events: the least, by which a stamp
lies outside of that interval, and the most, its distance from the interval's beginning, which blames the receiver for
the sender's own interruptions as well.
"""

import os
import secrets
import socket
import sys
import time
from contextlib import ExitStack, nullcontext
from pathlib import Path
from typing import Any

from rich.table import Table

from benchmarks import observed
from benchmarks.bench import Bench
from benchmarks.contestants import FORWARDER_CORE, RECEIVER_CORE
from benchmarks.feeder import TIME_AT
from benchmarks.machine import Process, burning, free_port
from benchmarks.samples import Samples, quantiles
from daemons.link.events import encode_event
from daemons.link.messages import Transport
from daemons.link.seal import DatagramSealer
from daemons.link.session import ForwarderSession, Introduction
from daemons.records import UNKNOWN_CLOCK, Stamp, StampKind

__all__ = ["measure", "tables"]

INJECTED_NS = 50_000_000
RATE = 1_000
SECONDS = 4.0
SENDER_CORE, RECEIVING_CORE = FORWARDER_CORE, RECEIVER_CORE


def measure(bench: Bench) -> dict[str, Any]:
    """Measure with nothing else to do, with the sender's core busy, and with the receiver's own core busy."""
    cases = {"idle": None, "other core busy": SENDER_CORE, "receiver's core busy": RECEIVING_CORE}
    figures = {}
    for name, core in cases.items():
        bench.say(f"accuracy: {name}")
        figures[name] = _case(bench, core)
    return figures


def _case(bench: Bench, busy_core: int | None) -> dict[str, Any]:
    samples = bench.folder / "accuracy"
    port = free_port()
    address = f"127.0.0.1:{port}"
    command = [sys.executable, "-m", "benchmarks.observed", "--mode", "aws-backbone", "--transport", "udp"]
    env = {observed.FILE_VARIABLE: str(samples), "PYTHONPATH": str(Path(__file__).parent.parent)}
    with ExitStack() as stack:
        receiver = Process(
            [*command, "--listen", address, "--metrics", ""], core=RECEIVING_CORE, env=env, realtime=bench.realtime
        )
        stack.enter_context(receiver)
        receiver.wait_for_log("serving")
        with nullcontext() if busy_core is None else burning(busy_core):
            truths = _send(port, round(RATE * SECONDS * bench.scale))
    figures: dict[str, Any] = {"sent": len(truths)}
    for name, file in (("kernel", observed.kernel_file(samples)), ("user", observed.user_file(samples))):
        found = Samples.load(file)
        least: list[int] = []
        most: list[int] = []
        for claimed_ns, measured_ns in zip(found.event_ns, found.measured_ns, strict=True):
            before_ns, after_ns = truths[claimed_ns]
            least.append(max(0, before_ns - measured_ns, measured_ns - after_ns))
            # The event's time is the claimed one; the reported delay minus the injected one ought to be nothing.
            most.append(abs(measured_ns - claimed_ns - INJECTED_NS))
        if not found.event_ns:
            raise RuntimeError("the receiver has accounted for none of the events: see its log")
        figures[name] = {"received": len(found.event_ns), "least": quantiles(least), "most": quantiles(most)}
    figures["interval"] = quantiles([after_ns - before_ns for before_ns, after_ns in truths.values()])
    return figures


def _send(port: int, count: int) -> dict[int, tuple[int, int]]:
    """Send datagrams; return, by claimed event time, the clock readings around each send."""
    own = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {SENDER_CORE % (os.cpu_count() or 1)})
    truths: dict[int, tuple[int, int]] = {}
    try:
        with socket.create_connection(("127.0.0.1", port)) as control, socket.socket(type=socket.SOCK_DGRAM) as out:
            wrap = _introduce(control).wrap
            out.connect(("127.0.0.1", port))
            for sequence in range(1, count + 1):
                time.sleep(1 / RATE)
                # A first reading warms the caches, so that the second is close to the send.
                time.time_ns()
                before_ns = time.time_ns()
                claimed_ns = (before_ns - INJECTED_NS) // 1000 * 1000
                # As the witness knows the feeder's JSON: by how it begins, and where it has its time.
                payload = b"{" + b" " * (TIME_AT - 1) + b"%016d" % (claimed_ns // 1000)
                frame = encode_event(
                    sequence, claimed_ns, StampKind.KERNEL, claimed_ns, before_ns, sequence, b"btcusdt@trade", payload
                )
                out.send(wrap(frame))
                truths[claimed_ns] = (before_ns, time.time_ns())
            time.sleep(0.3)
    finally:
        os.sched_setaffinity(0, own)
    return truths


def _introduce(control: socket.socket) -> DatagramSealer:
    session = ForwarderSession(
        Introduction(
            key=None,
            session=secrets.randbits(64),
            path="",
            transport=Transport.UDP,
            acknowledged=0,
            nonce=secrets.token_bytes(16),
        ),
        UNKNOWN_CLOCK,
    )
    while session.welcome is None:
        now_ns = time.time_ns()
        stamp = Stamp(now_ns, StampKind.USER, now_ns, time.monotonic_ns())
        session.receive_data(control.recv(4096), stamp, time.time_ns)
        control.sendall(session.data_to_send())
    return session.datagrams


def tables(figures: dict[str, Any]) -> list[Table]:
    """Show the figures."""
    table = Table(title="error of the reported one-way delay (UDP), µs", title_justify="left")
    for column in ("", "stamp", "least p50", "p99", "p99.9", "max", "most p50", "p99", "p99.9", "max", "received"):
        table.add_column(column, justify="left" if column in ("", "stamp") else "right")
    for name, row in figures.items():
        for kind in ("kernel", "user"):
            of_kind = row[kind]
            cells = [_shown(of_kind[which][key]) for which in ("least", "most") for key in _KEYS]
            table.add_row(name, kind, *cells, f"{of_kind['received']} of {row['sent']}")
        table.add_row(name, "sender's interval", *[""] * 4, *(_shown(row["interval"][key]) for key in _KEYS), "")
    return [table]


def _shown(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"


_KEYS = ("p50_us", "p99_us", "p999_us", "max_us")
