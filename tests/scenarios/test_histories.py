"""A random history of real daemons: forwarders, receivers, reloads, restarts, stalls. At rest all is accounted for.

The histories of ``test_accounts.py`` are longer and their carriers lose; here the kernel and the processes are real.
"""

import contextlib
import json
import random
import signal
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.processes import Program, until
from tests.programs import Metrics, forwarder, free_port, log_lines, receiver, scrape, settled, simulator

pytestmark = pytest.mark.process

RATE = 400
STEPS = 8
TRANSPORTS = ("tcp", "udp")
RECEIVED = "latency_forwarder_events_received_total"
FORWARDED = "latency_forwarder_events_forwarded_total"
DROPPED = "latency_forwarder_events_dropped_total"
BUFFERED = "latency_forwarder_buffer_events"


class Sink:
    """A receiver, life after life on the same port, and what its lives have said at their ends."""

    def __init__(self, folder: Path, transport: str, end: contextlib.ExitStack) -> None:
        self.transport, self._folder = transport, folder
        self._port = free_port()
        self.link = f"127.0.0.1:{self._port}"
        self.unique = self.lost = self.given_up = 0
        self._lives = 0
        end.push(self._leave)
        self.begin()

    def begin(self) -> None:
        self._lives += 1
        self._output = self._folder / f"{self.transport}-{self._lives}.json"
        self._stack = contextlib.ExitStack()
        arguments = ("--mode", "aws-backbone", "--transport", self.transport, "--listen", self.link)
        self.program = self._stack.enter_context(receiver(*arguments, "--output", str(self._output)))

    def _leave(self, *error: Any) -> None:
        self._stack.__exit__(*error)

    def end(self) -> None:
        self._stack.close()
        path = json.loads(self._output.read_text())["paths"]["backbone"]
        assert path["events"] == path["unique"] + path["duplicates"]
        self.unique += path["unique"]
        self.lost += path["events_lost"]
        self.given_up += path["given_up_by_forwarder"]


@dataclass
class Totals:
    """What became of a link's events, added up over the lives of forwarders."""

    forwarded: int = 0
    dropped: int = 0


class Source:
    """An exchange and its forwarder, life after life; each life of the one is one of the other."""

    def __init__(self, folder: Path, sinks: list[Sink], end: contextlib.ExitStack) -> None:
        self._file = folder / "forwarder.toml"
        folder.mkdir()
        self._sinks = sinks
        self.present = {sink.link for sink in sinks}
        self.totals = {sink.link: Totals() for sink in sinks}
        self.before: dict[str, float] = {}
        """What was received before each link was there, since a reload brought it back."""
        self.told: list[dict[str, Any]] = []
        end.push(self._leave)
        self.begin()

    def begin(self) -> None:
        self._stack = contextlib.ExitStack()
        arguments = ("--rate", str(RATE), "--wait-for-clients", "1")
        self.exchange = self._stack.enter_context(simulator(*arguments))
        self._write()
        self.program = self._stack.enter_context(forwarder("--config", str(self._file)))
        self.before = dict.fromkeys(self.present, 0.0)

    def _leave(self, *error: Any) -> None:
        self._stack.__exit__(*error)

    def _write(self) -> None:
        text = f'drain_seconds = 60.0\n[feed]\nurl = "ws://{self.exchange.ready["near"]}"\nsilence_seconds = 600.0\n'
        for sink in self._sinks:
            if sink.link in self.present:
                text += f'[[destination]]\naddress = "{sink.link}"\ntransport = "{sink.transport}"\n'
                text += "reconnect_max_seconds = 0.2\n"
        self._file.write_text(text)

    def toggle(self, link: str) -> None:
        """Take a destination away by a reload, or bring it back; the last stays, for there must be one."""
        if self.present == {link}:
            (link,) = self.totals.keys() - {link}
        self.present ^= {link}
        self._write()
        reloads = len(log_lines(self.program, "reloaded"))
        self.program.send_signal(signal.SIGHUP)
        until(lambda: len(log_lines(self.program, "reloaded")) > reloads, "reloaded")
        shown = {link} & self.present
        until(lambda: bool(scrape(self.program).matching(BUFFERED, link=link)) == bool(shown), "taken")
        if shown:
            page = scrape(self.program)
            self.before[link] = page.sum(RECEIVED) - self.done(page, link)

    @staticmethod
    def done(page: Metrics, link: str) -> float:
        return sum(page.sum(name, link=link) for name in (FORWARDED, DROPPED, BUFFERED))

    def check(self) -> None:
        """See that the books of every link balance on one page."""
        page = scrape(self.program)
        received = sum(page.matching(RECEIVED))
        for link in self.present:
            assert received - self.done(page, link) == self.before[link], link

    def flow(self, count: int) -> None:
        """Wait for more events."""
        goal = sum(scrape(self.program).matching(RECEIVED)) + count

        def come() -> bool:
            self.check()
            return sum(scrape(self.program).matching(RECEIVED)) >= goal

        until(come, f"{count} more events")

    def drain(self) -> None:
        """Wait until every link has delivered what it has."""
        settled(self.program, BUFFERED, 0)
        until(
            lambda: all(scrape(self.program).sum("latency_forwarder_link_connected", link=one) for one in self.present),
            "all links are up",
        )

    def end(self) -> None:
        """End the exchange, then the forwarder, which has all that was sent."""
        self.exchange.terminate()
        sent = self.exchange.last_json()["near"]["messages_sent"]
        settled(self.program, RECEIVED, sent)
        self.drain()
        self.check()
        whole = {link for link in self.present if not self.before[link]}
        self.program.terminate()
        (line,) = log_lines(self.program, "totals")
        assert line["received"] == sent
        self.told.append(line["links"])
        for link, total in line["links"].items():
            self.totals[link].forwarded += total["forwarded"]
            self.totals[link].dropped += sum(total["dropped"].values())
            if link in whole:
                assert total["forwarded"] + sum(total["dropped"].values()) == sent
        self._stack.close()


@dataclass
class World:
    """Two forwarders, two receivers, and chance."""

    rng: random.Random
    sinks: list[Sink]
    sources: list[Source]
    told: list[str] = field(default_factory=list)

    def step(self) -> None:
        action = self.rng.choice(
            (self.flow, self.stall, self.stall, self.toggle, self.toggle, self.renew, self.restart)
        )
        self.told.append(action.__name__)
        action()

    def flow(self) -> None:
        for source in self.sources:
            source.flow(self.rng.randrange(1, 2 * RATE))

    def toggle(self) -> None:
        self.rng.choice(self.sources).toggle(self.rng.choice(self.sinks).link)

    def stall(self) -> None:
        """Let a receiver or a forwarder stand still while the others go on."""
        programs = [*(sink.program for sink in self.sinks), *(source.program for source in self.sources)]
        still = self.rng.choice(programs)
        other = self.rng.choice([source for source in self.sources if source.program is not still])
        with frozen(still):
            other.flow(self.rng.randrange(1, RATE))

    def renew(self) -> None:
        """Restart a forwarder: a new session, with the exchange's numbers from one again."""
        source = self.rng.choice(self.sources)
        source.end()
        source.begin()

    def restart(self) -> None:
        """Restart a receiver while nothing is on the way: what one life has is what the next begins after."""
        sink = self.rng.choice(self.sinks)
        with contextlib.ExitStack() as quiet:
            for source in self.sources:
                quiet.enter_context(frozen(source.exchange))
            for source in self.sources:
                source.drain()
            sink.end()
            sink.begin()
            for source in self.sources:
                source.drain()


@contextlib.contextmanager
def frozen(program: Program) -> Iterator[None]:
    program.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        program.send_signal(signal.SIGCONT)


def lived(seed: int, tmp_path: Path, steps: int = STEPS) -> None:
    with contextlib.ExitStack() as end:
        sinks = [Sink(tmp_path, transport, end) for transport in TRANSPORTS]
        sources = [Source(tmp_path / name, sinks, end) for name in ("first", "second")]
        world = World(random.Random(seed), sinks, sources)
        try:
            for _step in range(steps):
                world.step()
                world.flow()
            for source in sources:
                source.end()
            for sink in sinks:
                sink.end()
                reconcile(sink, [source.totals[sink.link] for source in sources])
        except AssertionError as error:
            error.add_note(f"the history of {seed}: {', '.join(world.told)}; {[source.told for source in sources]}")
            raise


def reconcile(sink: Sink, totals: list[Totals]) -> None:
    """Compare what a receiver's lives have told with what the forwarders' have."""
    forwarded, dropped = sum(total.forwarded for total in totals), sum(total.dropped for total in totals)
    assert dropped == sink.given_up == 0
    assert sink.unique + sink.lost == forwarded
    if sink.transport == "tcp":
        assert sink.lost == 0


@pytest.mark.parametrize("seed", [1, 2])
def test_all_that_was_sent_is_accounted_for(seed: int, tmp_path: Path) -> None:
    lived(seed, tmp_path)


@pytest.mark.exhaustive
@pytest.mark.parametrize("seed", range(3, 15))
def test_longer_histories(seed: int, tmp_path: Path) -> None:
    lived(seed, tmp_path, 2 * STEPS)
