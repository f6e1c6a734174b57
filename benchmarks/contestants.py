"""What is compared: each contestant is a forwarder that reads the feeder, and a receiver that measures what comes."""

import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import observed
from benchmarks.certificate import issue
from benchmarks.feeder import STREAM
from benchmarks.machine import READY_SECONDS, Process, free_port, http_get

__all__ = ["JSON", "MIXED", "Chain", "Contestant", "Feed", "build_native", "contestants", "ours", "running"]

FORWARDER_CORE = 1
RECEIVER_CORE = 0
"""Shared with the feeder, which sleeps while its event is on the way."""

MIXED = "native to ours"
"""The native forwarder before our receiver."""

NATIVE = Path(__file__).parent / "native"


@dataclass(frozen=True, slots=True)
class Feed:
    """What the feeder serves.

    Attributes:
        suffix: of the names of those who read it.
        tls: over TLS 1.3.
        sbe: binary messages instead of JSON.
    """

    suffix: str = ""
    tls: bool = False
    sbe: bool = False


JSON = Feed()
TLS = Feed(" tls", tls=True)
SBE = Feed(" sbe", tls=True, sbe=True)
"""With a key, which goes over TLS alone."""


@dataclass(frozen=True, slots=True)
class Contestant:
    """A forwarder and a receiver.

    Attributes:
        name: in tables.
        about: what it is, in a line.
        forwarder, receiver: make the commands, given URL, destination and a folder, or address and sample file.
        feed: what it reads; those of one feed are compared.
        our_forwarder, our_receiver: whether it is this project's, with metrics page and log.
        busy: whether it uses a whole core even when nothing happens, so that its CPU time says nothing.
    """

    name: str
    about: str
    forwarder: Callable[[str, str, Path], list[str]]
    receiver: Callable[[str, Path], list[str]]
    feed: Feed = JSON
    our_forwarder: bool = False
    our_receiver: bool = False
    busy: bool = False


def build_native() -> Path | None:
    """Build the native peer; None where there is no cargo."""
    cargo = shutil.which("cargo") or shutil.which("cargo", path=str(Path.home() / ".cargo/bin"))
    if cargo is None:
        return None
    subprocess.run([cargo, "build", "--release", "--quiet"], cwd=NATIVE, check=True)
    return NATIVE / "target/release/native-peer"


def contestants(native: Path | None) -> list[Contestant]:
    """Return all contestants that this machine can run."""
    found = [
        ours("udp", "binary"),
        ours("tcp", "binary"),
        ours("udp", "json"),
        ours("udp", "binary", busy=True),
        ours("udp", "binary", feed=TLS),
        ours("udp", "binary", feed=SBE),
    ]
    if native is not None:
        peer = _native(native, JSON)
        mixed = Contestant(
            MIXED,
            "the native forwarder before our receiver, whose kernel stamps then judge both forwarders alike",
            peer.forwarder,
            ours("udp", "json").receiver,
            our_receiver=True,
        )
        found += [peer, mixed, _native(native, TLS), _native(native, SBE)]
    for name, about in (
        ("plain", "websockets' client API, json; JSON by UDP"),
        ("relay", "blocking sockets, bytes unread: the floor"),
    ):
        found.append(_script(name, about))
    return found


def _native(program: Path, feed: Feed) -> Contestant:
    about = "tokio, tungstenite, serde_json; JSON by UDP"
    if feed.tls:
        about += f"; {'SBE' if feed.sbe else 'JSON'} over TLS by rustls"
    return Contestant(
        "native" + feed.suffix,
        about,
        lambda url, to, _folder: [str(program), "forward", url, to],
        lambda at, file: [str(program), "receive", at, str(file)],
        feed,
    )


def _script(name: str, about: str) -> Contestant:
    module = [sys.executable, "-m", f"benchmarks.{name}"]
    return Contestant(
        name,
        about,
        lambda url, to, _folder: [*module, "forward", url, to],
        lambda at, file: [*module, "receive", at, str(file)],
    )


def ours(
    transport: str, wire_format: str, *, busy: bool = False, key: Path | None = None, feed: Feed = JSON
) -> Contestant:
    """Return this project's own, with one of its settings; ``key`` is the link's key file."""
    link = ["--transport", transport, "--format", wire_format, *(["--key-file", str(key)] if key else [])]
    # The receiver shares its core with the feeder, which it must let run.
    poll = ["--busy-poll"] if busy else []
    python = [sys.executable, "-m"]
    receive = ["--mode", "aws-backbone", *link]
    words = ["ours", transport, *(["json"] if wire_format == "json" else []), *(["busy"] if busy else [])]
    about = f"latency-forwarder and latency-receiver, {wire_format} by {transport.upper()}"
    if busy:
        about += ", the forwarder polling busily"
    if feed.tls:
        about += f", {'SBE' if feed.sbe else 'JSON'} over TLS"

    def forward(url: str, to: str, folder: Path) -> list[str]:
        source = ["--feed-url", url]
        if feed.sbe:
            secret, file = folder / "api.key", folder / "forwarder.toml"
            secret.write_text("0123456789abcdef" * 4)
            secret.chmod(0o600)
            file.write_text(f'[feed]\nurl = "{url}"\nencoding = "sbe"\napi_key_file = "{secret}"\n')
            source = ["--config", str(file)]
        return [*python, "daemons.forwarder.main", *source, "--destination", to, *link, *poll]

    return Contestant(
        " ".join(words) + feed.suffix,
        about,
        forward,
        lambda at, _file: [*python, "benchmarks.observed", "--listen", at, *receive],
        feed,
        our_forwarder=True,
        our_receiver=True,
        busy=busy,
    )


@dataclass(slots=True)
class Chain:
    """A running feeder, forwarder and receiver.

    Attributes:
        samples: where the receiver leaves its samples when it ends.
        metrics_ports: of our forwarder and receiver; None where one of them is another's.
    """

    feeder: Process
    forwarder: Process
    receiver: Process
    samples: Path
    metrics_ports: tuple[int, int] | None

    def feed(self, rate: int, seconds: float) -> dict[str, Any]:
        """Send events; return what the feeder says it sent, with the CPU time it cost the others."""
        before = (self.forwarder.cpu_seconds(), self.receiver.cpu_seconds())
        self.feeder.order(rate=rate, seconds=seconds)
        done = self.feeder.answer(seconds * 20 + 30)
        self._settle()
        after = (self.forwarder.cpu_seconds(), self.receiver.cpu_seconds())
        return {
            **done,
            "forwarder_cpu_us": (after[0] - before[0]) * 1e6 / done["sent"],
            "receiver_cpu_us": (after[1] - before[1]) * 1e6 / done["sent"],
        }

    def received(self) -> int | None:
        """Return how many events our receiver has counted; None for the others, whose samples tell at the end."""
        if self.metrics_ports is None:
            return None
        page = http_get(self.metrics_ports[1])
        lines = [line for line in page.splitlines() if line.startswith("latency_receiver_events_total{")]
        return sum(round(float(line.rsplit(" ", 1)[1])) for line in lines)

    def _settle(self) -> None:
        """Wait until the receiver has nothing left to do, as its CPU time shows."""
        before = -1.0
        for _turn in range(200):
            time.sleep(0.05)
            now = self.receiver.cpu_seconds()
            if now - before < 0.002:
                return
            before = now


@contextmanager
def running(
    contestant: Contestant,
    folder: Path,
    *,
    realtime: bool = False,
    witness: bool = True,
    receiver_flags: tuple[str, ...] = (),
    under: Callable[[str], list[str]] = lambda _role: [],
    ready_seconds: float = READY_SECONDS,
) -> Iterator[Chain]:
    """Run a contestant behind a feeder.

    Args:
        contestant: who.
        folder: where samples go.
        realtime: run all three ahead of everything else.
        witness: for ours, record when each event had been accounted for; else the program runs quite alone.
        receiver_flags: more flags for our receiver.
        under: the words before a command that put the ``forwarder`` or ``receiver`` under an instrument.
        ready_seconds: how long each may take to begin.
    """
    samples = folder / "samples"
    link = f"127.0.0.1:{free_port()}"
    ports = (free_port(), free_port())
    served, trust = _served(contestant.feed, folder)
    with ExitStack() as stack:

        def start(command: list[str], core: int) -> Process:
            env = {observed.FILE_VARIABLE: str(samples), "PYTHONPATH": str(Path(__file__).parent.parent), **trust}
            return stack.enter_context(Process(command, core=core, env=env, realtime=realtime))

        feeder = start([sys.executable, "-m", "benchmarks.feeder", *served], RECEIVER_CORE)
        scheme = "wss" if contestant.feed.tls else "ws"
        url = f"{scheme}://127.0.0.1:{feeder.answer()['port']}/stream?streams={STREAM}"
        receive, forward = contestant.receiver(link, samples), contestant.forwarder(url, link, folder)
        if contestant.our_forwarder:
            forward += ["--metrics", f"127.0.0.1:{ports[0]}"]
        if contestant.our_receiver:
            receive += ["--metrics", f"127.0.0.1:{ports[1]}", *receiver_flags]
            if not witness:
                receive = ["daemons.receiver.main" if word == "benchmarks.observed" else word for word in receive]
        receiver = start([*under("receiver"), *receive], RECEIVER_CORE)
        if contestant.our_receiver:
            receiver.wait_for_log("serving", ready_seconds)
        else:
            receiver.answer(ready_seconds)
        forwarder = start([*under("forwarder"), *forward], FORWARDER_CORE)
        feeder.answer(ready_seconds)
        if contestant.our_forwarder:
            forwarder.wait_for_log("link connected", ready_seconds)
        else:
            forwarder.answer(ready_seconds)
        ours = contestant.our_forwarder and contestant.our_receiver
        yield Chain(feeder, forwarder, receiver, samples, ports if ours else None)


def _served(feed: Feed, folder: Path) -> tuple[list[str], dict[str, str]]:
    """Return the feeder's options, and what the environment of those who read it needs."""
    options = ["--sbe"] if feed.sbe else []
    if not feed.tls:
        return options, {}
    authority, certificate, private = issue(folder)
    # OpenSSL's own variable, which rustls' native roots know as well.
    return [*options, "--tls", str(certificate), str(private)], {"SSL_CERT_FILE": str(authority)}
