"""A receiver's life in simulated time: its metrics page at every scrape, and what truly happened.

Events go through the daemon's own accounts and onto its own page. The truth beside it is written from the events alone.
"""

import heapq
import itertools
import math
import random
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import generate_latest

from daemons.configuration.receiver import FeedPathSection, ReceiverConfig, race_order
from daemons.feed.counts import Door
from daemons.feed.streams import identity_of
from daemons.link.messages import VERSION, Hello, Transport
from daemons.link.receiving.port import LinkPort
from daemons.link.receiving.settings import LinkPathSection, ListenerSettings
from daemons.link.session import TimeReport
from daemons.measurement.account import PathAccount
from daemons.measurement.race import RaceTable
from daemons.receiver.forwarders import Forwarders
from daemons.receiver.histograms import ReceiverHistograms
from daemons.receiver.metrics import ReceiverCollector
from daemons.receiver.paths import FeedPath, LinkPath
from daemons.records import ClockReport, ClockState, EventKind, FeedEvent, LinkEvent, Numbering, Stamp, StampKind
from daemons.service.settings.reload import Reloader
from daemons.stream.stamping import Stamper
from daemons.timing.backoff import AttemptBudget
from daemons.timing.clock import SystemClock
from daemons.timing.exchange import ClockSample

__all__ = ["START", "History", "Observations", "Scrapes", "Way", "receiver_history"]

START = 1_767_225_600
"""2026-01-01 00:00 UTC, in seconds."""

GOOD_CLOCK = ClockState(synchronized=True, offset_ns=1000, error_bound_ns=200_000, source="chrony")
FEED = "ws://127.0.0.1:1/ws/btcusdt@trade"
BILLION = 1_000_000_000
TRADE = EventKind("trade", Numbering.CONTIGUOUS)
Span = tuple[float, float]


class Scrapes:
    """When a target was scraped, and in which of its lives."""

    def __init__(self) -> None:
        self.times: list[float] = []
        self.lives: list[int] = []

    def add(self, time: float, life: int) -> None:
        """Note one."""
        self.times.append(time)
        self.lives.append(life)

    def window(self, end: float, seconds: float) -> tuple[float, float] | None:
        """Return the first and last scrape of a window, both included; None for fewer than two."""
        first = bisect_right(self.times, end - seconds - 1e-6)
        last = bisect_right(self.times, end)
        return (self.times[first], self.times[last - 1]) if last - first >= 2 else None

    def tells(self, time: float, life: int) -> bool:
        """Whether what happened then is on a page that was scraped: the same life was asked once more."""
        index = bisect_right(self.times, time)
        return index < len(self.times) and self.lives[index] == life


@dataclass
class Observations:
    """What happened under one name: moments in ascending order, each with its life and value."""

    rows: list[tuple[float, int, float]] = field(default_factory=list)

    def add(self, time: float, life: int, value: float = 1.0) -> None:
        """Note one."""
        self.rows.append((time, life, value))


class History:
    """What happened, by name and labels, beside what Prometheus could see of it.

    Attributes:
        deployment: the label of that name.
        scrape_seconds: how often a page was asked for.
        kinds: ``feed`` or ``link`` by path.
        pages: scraped text with its moment.
        scrapes: their moments and lives.
        answers: when it was asked for a page, and whether one came: 1 or 0. Not noted by all who write histories.
    """

    def __init__(self, deployment: str, scrape_seconds: float, kinds: Mapping[str, str] | None = None) -> None:
        self.deployment = deployment
        self.scrape_seconds = scrape_seconds
        self.kinds = kinds or {}
        self.pages: list[tuple[float, str, dict[str, str]]] = []
        self.scrapes = Scrapes()
        self.answers: list[tuple[float, float]] = []
        self._seen: dict[tuple[str, tuple[str, ...], float, float], list[float]] = {}
        self._rows: dict[str, dict[tuple[str, ...], Observations]] = defaultdict(lambda: defaultdict(Observations))

    def note(self, name: str, time: float, life: int, value: float = 1.0, *labels: str) -> None:
        """Write down that something happened."""
        self._rows[name][labels].add(time, life, value)

    def labels(self, name: str) -> list[tuple[str, ...]]:
        """Return the label values that a name has ever had."""
        return sorted(self._rows[name])

    def rows(self, name: str, labels: tuple[str, ...]) -> list[tuple[float, int, float]]:
        """Return what happened under a name: moments, lives and values."""
        return self._rows[name][labels].rows

    def seen(self, name: str, labels: tuple[str, ...], end: float, seconds: float) -> list[float]:
        """Return the values that the scrapes of a window can tell of, in the order in which they came."""
        key = (name, labels, end, seconds)
        if key not in self._seen:
            window = self.scrapes.window(end, seconds) or (0.0, 0.0)
            self._seen[key] = [
                value
                for time, life, value in self._rows[name][labels].rows
                if window[0] < time <= window[1] and self.scrapes.tells(time - 1e-9, life)
            ]
        return self._seen[key]

    def stretch(self, end: float, seconds: float) -> float:
        """Return by how much a window is wider than what its scrapes span: rates are extrapolated by at most that."""
        window = self.scrapes.window(end, seconds)
        return math.inf if window is None else seconds / (window[1] - window[0])

    def latest(self, name: str, labels: tuple[str, ...], end: float) -> float | None:
        """Return the value that the last scrape up to a moment saw."""
        index = bisect_right(self.scrapes.times, end) - 1
        if index < 0:
            return None
        moment, life = self.scrapes.times[index], self.scrapes.lives[index]
        found = [value for time, own, value in self._rows[name][labels].rows if time <= moment and own == life]
        return found[-1] if found else None


@dataclass(frozen=True)
class Way:
    """A path as it is in truth.

    Attributes:
        name, kind: as configured.
        delay: seconds from the exchange to here, by the time since the start and a source of chance.
        down: spans in which it brings nothing.
        lost: every so many events one is lost; 0 for none.
    """

    name: str
    kind: Literal["feed", "link"]
    delay: Callable[[float, random.Random], float]
    down: tuple[Span, ...] = ()
    lost: int = 0


class _Life:
    """One life of the daemon: its accounts, as :class:`~daemons.receiver.program.Receiver` holds them."""

    def __init__(self, ways: Sequence[Way], clock: ClockState) -> None:
        config = ReceiverConfig(
            path=tuple(
                FeedPathSection(name=way.name, url=FEED) if way.kind == "feed" else LinkPathSection(name=way.name)
                for way in ways
            )
        )
        self.histograms = ReceiverHistograms()
        self.race = RaceTable(len(ways), order=race_order(config)) if len(ways) > 1 else None
        for pair in self.race.pairs if self.race is not None else ():
            pair.lead = self.histograms.lead.labels(ways[pair.path].name, ways[pair.reference].name)
        self.accounts = [
            PathAccount(
                way.name,
                index,
                link=way.kind == "link",
                instruments=self.histograms.instruments(way.name),
                race=self.race,
                identify=identity_of,
            )
            for index, way in enumerate(ways)
        ]
        self.feeds: dict[str, FeedPath] = {}
        self.links: dict[str, LinkPath] = {}
        stamper, rng, budget = Stamper(SystemClock()), random.Random(1), AttemptBudget()
        for index, (section, account) in enumerate(zip(config.path, self.accounts, strict=True)):
            if isinstance(section, FeedPathSection):
                self.feeds[section.name] = FeedPath(section, f"path[{index}]", account, stamper, rng, budget)
                continue
            settings = ListenerSettings(section)
            forwarders = Forwarders(account, settings, self.histograms.rtt.labels(section.name), lambda: clock)
            port = LinkPort(None, None, stamper)
            self.links[section.name] = LinkPath(account, index, forwarders, port.serve(settings, forwarders), port)
            forwarders.on_hello("forwarder", 0, Hello(VERSION, Transport.TCP, 1, bytes(16), 0, section.name, clock))
        # Nothing is read from a socket here.
        stamper.close()
        paths = [(self.feeds | self.links)[way.name] for way in ways]
        reloader = Reloader(config, lambda: config, "latency_receiver")
        self._registry = CollectorRegistry()
        self._registry.register(ReceiverCollector(paths, self.race, None, None, lambda: ClockReport(clock), reloader))

    def page(self) -> str:
        """Return the metrics page."""
        pieces = [generate_latest(self._registry)]
        for family in self.histograms.families():
            pieces += family.render()
        return b"".join(pieces).decode()


def receiver_history(
    deployment: str,
    ways: Sequence[Way],
    *,
    seconds: float,
    rate: float,
    scrape_seconds: float = 5.0,
    down: Sequence[Span] = (),
    unscraped: Sequence[Span] = (),
    clock: ClockState = GOOD_CLOCK,
    seed: int = 1,
) -> History:
    """Let a receiver live.

    Args:
        deployment: its label.
        ways: its paths, in the order of its configuration.
        seconds: how long.
        rate: events a second.
        scrape_seconds: how often it is scraped.
        down: spans in which the daemon is down; after each it begins anew.
        unscraped: spans in which nobody scrapes.
        clock: of the receiver and of its forwarders.
        seed: of all chance.
    """
    return _Simulation(deployment, ways, rate, scrape_seconds, down, unscraped, clock, seed).run(seconds)


class _Simulation:
    def __init__(
        self,
        deployment: str,
        ways: Sequence[Way],
        rate: float,
        scrape_seconds: float,
        down: Sequence[Span],
        unscraped: Sequence[Span],
        clock: ClockState,
        seed: int,
    ) -> None:
        self._history = History(deployment, scrape_seconds, {way.name: way.kind for way in ways})
        self._ways, self._rate, self._clock = ways, rate, clock
        self._down, self._unscraped = down, unscraped
        self._seed = seed
        self._life = 0
        self._daemon = _Life(ways, clock)
        self._truth: dict[int, dict[int, float]] = {}
        """Of the present life: arrivals by event and path, until all paths have brought it."""

    def run(self, seconds: float) -> History:
        rng = random.Random(self._seed)
        moments: list[tuple[float, int, Callable[[float], None]]] = []
        order = itertools.count()
        for moment, act in itertools.chain(
            self._arrivals(seconds, rng), self._exchanges(seconds, rng), self._scrapes(seconds)
        ):
            heapq.heappush(moments, (moment, next(order), act))
        for _begin, end in self._down:
            heapq.heappush(moments, (end, -1, self._restart))
        while moments:
            moment, _order, act = heapq.heappop(moments)
            if moment <= seconds:
                act(moment)
        return self._history

    def _restart(self, _moment: float) -> None:
        self._life += 1
        self._daemon = _Life(self._ways, self._clock)
        self._truth.clear()

    def _scrapes(self, seconds: float) -> Iterator[tuple[float, Callable[[float], None]]]:
        step = self._history.scrape_seconds
        for index in range(1, int(seconds / step) + 1):
            # Off the whole seconds, at which things happen.
            yield index * step - 0.0625, self._scrape

    def _scrape(self, moment: float) -> None:
        if _within(moment, self._unscraped):
            return
        labels = {"instance": "receiver:9472", "role": "receiver"}
        if _within(moment, self._down):
            self._history.pages.append((START + moment, "up 0\n", labels))
            return
        now_ns = self._ns(moment)
        for account in self._daemon.accounts:
            account.expire(now_ns)
        for way in self._ways:
            connected = not _within(moment, way.down)
            if way.kind == "feed":
                self._daemon.feeds[way.name].counts.doors = (
                    {0: Door("192.0.2.1", tls=False, encoding="json")} if connected else {}
                )
            else:
                self._daemon.links[way.name].listener.counts.peers = int(connected)
            self._history.note("connected", moment, self._life, float(connected), way.name)
        self._history.pages.append((START + moment, self._daemon.page() + "up 1\n", labels))
        self._history.scrapes.add(moment, self._life)

    def _exchanges(self, seconds: float, rng: random.Random) -> Iterator[tuple[float, Callable[[float], None]]]:
        for way in self._ways:
            if way.kind == "link":
                for second in range(1, int(seconds)):
                    rtt = 2 * way.delay(second, rng)
                    yield second + 0.5, lambda moment, way=way, rtt=rtt: self._exchange(moment, way, rtt)  # type: ignore[misc]

    def _exchange(self, moment: float, way: Way, rtt: float) -> None:
        if _within(moment, self._down) or _within(moment, way.down):
            return
        rtt_ns = round(rtt * BILLION)
        self._daemon.links[way.name].forwarders.on_time("forwarder", TimeReport(ClockSample(0, rtt_ns)))
        self._history.note("rtt", moment, self._life, rtt_ns / BILLION, way.name)

    def _arrivals(self, seconds: float, rng: random.Random) -> Iterator[tuple[float, Callable[[float], None]]]:
        newest = [0.0] * len(self._ways)
        for event in range(1, int(seconds * self._rate)):
            sent = event / self._rate
            for index, way in enumerate(self._ways):
                # A path keeps its order.
                newest[index] = arrived = max(newest[index] + 1e-6, sent + way.delay(sent, rng))
                if (way.lost and event % way.lost == 0) or _within(sent, way.down):
                    continue
                host = rng.uniform(20e-6, 200e-6)
                yield (
                    arrived,
                    lambda moment, event=event, index=index, sent=sent, host=host: self._arrive(  # type: ignore[misc]
                        moment, event, index, sent, host
                    ),
                )

    def _arrive(self, moment: float, event: int, index: int, sent: float, host: float) -> None:
        if _within(moment, self._down):
            return
        way, account = self._ways[index], self._daemon.accounts[index]
        arrival_ns, sent_ns, host_ns = self._ns(moment), self._ns(sent), round(host * BILLION)
        stamp = Stamp(arrival_ns, StampKind.KERNEL, arrival_ns + host_ns, arrival_ns)
        stream = "btcusdt@trade"
        if way.kind == "feed":
            account.observe_feed([FeedEvent(stream, "btcusdt", TRADE, event, event - 1, sent_ns, b"")], stamp)
        else:
            forwarder_ns = sent_ns + 2_000_000
            passed = LinkEvent(
                event,
                forwarder_ns,
                StampKind.KERNEL,
                sent_ns,
                forwarder_ns,
                event,
                stream,
                False,
                b"",
            )
            account.observe_link("forwarder", [passed], stamp, together=True)
            self._note("backbone", moment, (arrival_ns - forwarder_ns) / BILLION, way.name, stream)
        self._note("event", moment, 1.0, way.name, stream)
        self._note("end_to_end", moment, (arrival_ns - sent_ns) / BILLION, way.name, stream)
        self._note("host_delay", moment, host_ns / BILLION, way.name)
        self._race(moment, event, index, arrival_ns)

    def _race(self, moment: float, event: int, index: int, arrival_ns: int) -> None:
        others = self._truth.setdefault(event, {})
        for other, stamp_ns in others.items():
            lead = (stamp_ns - arrival_ns) / BILLION
            one, two = self._ways[index].name, self._ways[other].name
            self._note("lead", moment, lead, one, two)
            self._note("lead", moment, -lead, two, one)
            if lead:
                self._note("win", moment, 1.0, *((one, two) if lead > 0 else (two, one)))
        others[index] = arrival_ns
        if len(others) == len(self._ways):
            del self._truth[event]

    def _note(self, name: str, moment: float, value: float, *labels: str) -> None:
        self._history.note(name, moment, self._life, value, *labels)

    @staticmethod
    def _ns(moment: float) -> int:
        return START * BILLION + round(moment * BILLION)


def _within(moment: float, spans: Sequence[Span]) -> bool:
    return any(begin <= moment < end for begin, end in spans)
