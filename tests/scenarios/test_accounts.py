"""Whatever happens to forwarders, links and receivers, every counter is what a model that remembers every event says.

The parts are the programs' own: buffers, senders, the format with its signatures, sessions, accounts. Between them are
scripted carriers and a clock that stands still, so that thousands of histories take seconds.
"""

import asyncio
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, Literal, cast

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from daemons.link.events import datagram_events
from daemons.link.messages import Ack, Bye, GaveUp, Heartbeat, Hello, Transport
from daemons.link.sending.buffer import BufferLimits, Pending
from daemons.link.sending.sender import LinkSender
from daemons.link.sending.settings import DestinationSection, LinkSettings
from daemons.link.session import ForwarderSession, Introduction, Offer, ReceiverSession, TimeReport
from daemons.measurement.account import MAX_STREAMS, PathAccount
from daemons.measurement.figures import Instruments
from daemons.measurement.histogram import BucketHistogram, octaves
from daemons.receiver.forwarders import TAIL_NS, Forwarders
from daemons.receiver.metrics import _by_label
from daemons.records import UNKNOWN_CLOCK, EventKind, FeedEvent, LinkEvent, Numbering, Stamp, StampKind
from daemons.secret import Secret
from daemons.stream.departures import Departed
from tests.daemons.link.listening import listener_settings

EPOCH_NS = 1_700_000_000_000_000_000
TRADE = EventKind("trade", Numbering.CONTIGUOUS)
STREAMS = 1024
LIVES = 6
"""So many sessions are begun in one history at most: fewer than a path remembers."""


class Clock:
    """Time that passes when the history says so."""

    def __init__(self) -> None:
        self.now_ns = 0

    def monotonic_ns(self) -> int:
        return self.now_ns

    def wall_ns(self) -> int:
        return EPOCH_NS + self.now_ns


def histogram(_stream: str = "") -> BucketHistogram:
    return BucketHistogram(octaves(-4, 4))


@dataclass
class Segment:
    """What is known of one stretch of a session's numbers: which of them came, were announced, were never sent."""

    base: int
    lossless: bool
    came: set[int] = field(default_factory=set)
    given_up: set[int] = field(default_factory=set)
    announced: int = 0
    duplicates: int = 0
    reordered: int = 0

    @property
    def highest(self) -> int:
        return max(self.base, self.announced, *self.came)

    def arrive(self, number: int) -> None:
        if number in self.came:
            self.duplicates += 1
            return
        self.reordered += any(other > number for other in self.came)
        self.came.add(number)

    def figures(self) -> dict[str, int]:
        missing = set(range(self.base + 1, self.highest + 1)) - self.came
        given_up = missing if self.lossless else missing & self.given_up
        assert not self.came & self.given_up
        return {
            "unique": len(self.came),
            "missing": len(missing),
            "given_up": len(given_up),
            "duplicates": self.duplicates,
            "reordered": self.reordered,
        }


class Life:
    """A receiver's life: its path, and the model of that."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        instruments = Instruments(histogram, histogram, histogram(), histogram())
        self.account = PathAccount("backbone", 0, link=True, instruments=instruments)
        self.state = Forwarders(self.account, listener_settings(), histogram(), lambda: UNKNOWN_CLOCK)
        self.segments: dict[int, list[Segment]] = {}
        self.tails: list[tuple[int, int, int]] = []
        self.streams: dict[str, int] = {}

    def take(self, session: int, happened: Any, stamp: Stamp) -> None:
        """Give the path what came, and the model too."""
        match happened:
            case LinkEvent():
                self.state.on_link_events(session, [happened], stamp, together=True)
                self.segments[session][-1].arrive(happened.sequence)
                self.streams[happened.stream] = self.streams.get(happened.stream, 0) + 1
            case Hello():
                self.state.on_hello(session, happened.acknowledged, happened)
                self._begin(session, happened)
            case Heartbeat():
                self.state.on_heartbeat(session, happened, stamp)
                self._announce(session, happened.highest, stamp.steady_ns)
            case GaveUp():
                self.state.on_gave_up(session, happened, stamp)
                segment = self.segments[session][-1]
                for first, last in happened.ranges:
                    segment.announced = max(segment.announced, last)
                    segment.given_up.update(range(first, last + 1))
            case Bye():
                self.state.on_bye(session, happened.highest, stamp)
                self._announce(session, happened.highest, stamp.steady_ns)
            case TimeReport():
                self.state.on_time(session, happened)

    def _begin(self, session: int, hello: Hello) -> None:
        segments = self.segments.setdefault(session, [])
        lossless = hello.transport is Transport.TCP
        if not segments:
            segments.append(Segment(hello.acknowledged, lossless))
        elif hello.acknowledged > segments[-1].highest or lossless != segments[-1].lossless:
            segments.append(Segment(max(hello.acknowledged, segments[-1].highest), lossless))

    def _announce(self, session: int, highest: int, now_ns: int) -> None:
        segment = self.segments[session][-1]
        if segment.lossless:
            segment.announced = max(segment.announced, highest)
        else:
            self.tails.append((now_ns, session, highest))

    def tick(self) -> None:
        now_ns = self._clock.now_ns
        self.state.expire(now_ns)
        self.account.expire(now_ns)
        self._ripen(now_ns - TAIL_NS)

    def _ripen(self, until_ns: int) -> None:
        for said_ns, session, highest in self.tails:
            if said_ns <= until_ns:
                segment = self.segments[session][-1]
                segment.announced = max(segment.announced, highest)
        self.tails = [tail for tail in self.tails if tail[0] > until_ns]

    def finish(self) -> None:
        self.state.finish()
        self.account.finish()
        self._ripen(self._clock.now_ns)
        lost = self.account.total("missing") - self.account.total("given_up")
        assert self.account.total("gap_events") - self.account.total("late") == lost

    def check(self) -> None:
        """Compare every counter."""
        expected = dict.fromkeys(("unique", "missing", "given_up", "duplicates", "reordered"), 0)
        for segments in self.segments.values():
            for segment in segments:
                for name, value in segment.figures().items():
                    expected[name] += value
        assert {name: self.account.total(name) for name in expected} == expected
        assert self.account.sessions.seen == len(self.segments)
        assert self.account.events == sum(self.streams.values()) == sum(self.account.stamps.values())
        assert not any(self.account.invalid.values())
        for session, segments in self.segments.items():
            assert self.state.progress(session).highest == segments[-1].highest
        labels = {label: events for label, (events, _timeless) in _by_label(self.account).items()}
        named = dict(list(self.streams.items())[:MAX_STREAMS])
        rest = sum(self.streams.values()) - sum(named.values())
        assert labels == (named | {"other": rest} if rest else named)


class Wire:
    """A connection between a sender and a receiver's life; what is on the way can be lost as its transport allows."""

    paced = False

    def __init__(self, sender: LinkSender, life: Life, clock: Clock, rng: random.Random, handed: set[int]) -> None:
        self.sender, self.life, self._clock, self._rng, self._handed = sender, life, clock, rng, handed
        self.blocked = False
        self.stream: list[bytes] = []
        self.datagrams: list[bytes] = []
        key = sender.settings.key
        self.udp = sender.settings.transport is Transport.UDP
        introduction = Introduction(
            key, sender._session, "", sender.settings.transport, sender.buffer.acknowledged, rng.randbytes(16)
        )
        self._far = ReceiverSession(
            lambda: [
                Offer(
                    keys=() if key is None else (key,),
                    path="backbone",
                    transports=frozenset((Transport.TCP, Transport.UDP)),
                    highest_of=lambda session: life.state.progress(session).highest,
                )
            ],
            nonce=rng.randbytes(16),
            token=rng.getrandbits(64),
        )
        self._near = ForwarderSession(introduction, UNKNOWN_CLOCK)
        sender.buffer.given_up.tell_again()
        self._back()
        self._take(self._near.data_to_send())
        self._back()
        assert self._near.welcome is not None
        sender._control = cast("Any", self)
        sender.buffer.acknowledge(self._near.welcome.highest)
        sender._carrier = self
        sender._catching_up = sender.connected = True
        sender._drain(self)

    def write(self, frames: bytes) -> None:
        """Be the sender's control connection."""
        self.stream.append(self._near.seal(frames))

    def send(self, pendings: Sequence[Pending], told: Departed | None = None) -> int:
        """Be the sender's carrier, of a kernel that tells of no departures."""
        del told
        self._handed.update(pending.sequence for pending in pendings)
        if self.udp:
            self.datagrams += [self._near.datagrams.wrap(pending.frame) for pending in pendings]
        else:
            self.stream.append(self._near.seal(b"".join([pending.frame for pending in pendings])))
        return len(pendings)

    def deliver(self, count: int) -> None:
        """Bring some of what is on the way: a stream in order, datagrams as they like."""
        for _turn in range(count):
            if self.stream:
                self._take(self.stream.pop(0))
            if not self.datagrams:
                continue
            data = self.datagrams.pop(self._rng.randrange(min(4, len(self.datagrams))))
            fate = self._rng.random()
            for _copy in range(0 if fate < 0.1 else 2 if fate > 0.9 and self.sender.settings.key is None else 1):
                _token, events = datagram_events(
                    data, lambda _token, number, data: self._far.datagrams.end_of_events(number, data)
                )
                for event in events:
                    self.life.take(self.sender._session, event, self._stamp())

    def acknowledge(self) -> None:
        self._far.acknowledge(self.life.state.progress(self.sender._session))
        self._back()

    def beat(self) -> None:
        self.write(self.sender._heartbeat())

    def cut(self) -> None:
        """End; what is on the way is lost."""
        self.sender._carrier = self.sender._control = None
        self.sender.connected = False
        self.sender.buffer.connection_lost()
        self.life.state.on_leave(self.sender._session)

    def _stamp(self) -> Stamp:
        return Stamp(self._clock.wall_ns() + 1, StampKind.KERNEL, self._clock.wall_ns() + 1, self._clock.now_ns)

    def _take(self, data: bytes) -> None:
        for happened in self._far.receive_data(data, self._stamp()):
            self.life.take(self.sender._session, happened, self._stamp())

    def _back(self) -> None:
        for ack in self._near.receive_data(self._far.data_to_send(), self._stamp(), self._clock.wall_ns):
            assert isinstance(ack, Ack)
            while self.sender.buffer.acknowledge(ack.highest, 3):
                pass
            self.sender._on_writable()


class Link:
    """A forwarder's destination: the sender, its connection if there is one, and what became of each number."""

    def __init__(self, forwarder: "Source", receiver: int, transport: Transport) -> None:
        self.forwarder, self.receiver, self.transport = forwarder, receiver, transport
        self.wire: Wire | None = None
        self.sender: LinkSender | None = None
        self.offered = 0
        self.open()

    def open(self) -> None:
        world = self.forwarder.world
        key = Secret(b"0123456789abcdef") if self.receiver else None
        limits = BufferLimits(events=12, age_ns=5 * TAIL_NS)
        carried: Literal["tcp", "udp"] = "udp" if self.transport is Transport.UDP else "tcp"
        section = DestinationSection(address="r", transport=carried)
        settings = LinkSettings(section, "r", 1, key=key, limits=limits)
        self.handed: set[int] = set()
        self.begin = self.forwarder.sequence
        earlier = self.sender
        self.sender = LinkSender(
            settings,
            self.forwarder.session,
            cast("Any", SimpleNamespace(clock=world.clock)),
            world.rng,
            histogram(),
            histogram(),
            lambda: UNKNOWN_CLOCK,
            begin=self.begin,
            counts=None if earlier is None else earlier.counts,
        )
        self.present = True

    def connect(self) -> None:
        if self.present and self.wire is None:
            assert self.sender is not None
            world = self.forwarder.world
            # What was used before it was there is nobody's loss on it, and so it says.
            assert self.sender.buffer.acknowledged >= self.begin
            self.wire = Wire(self.sender, world.lives[self.receiver], world.clock, world.rng, self.handed)

    def cut(self) -> None:
        if self.wire is not None:
            self.wire.cut()
            self.wire = None

    def close(self) -> None:
        """Be taken away by a reload: what is left gets no time here, and what is on the way may still arrive."""
        if not self.present:
            return
        assert self.sender is not None
        asyncio.run(self.sender.drain(0))
        if self.wire is not None:
            self.wire.deliver(self.forwarder.world.rng.choice((0, 2, 100)))
        self.cut()
        self.present = False

    def check(self) -> None:
        assert self.sender is not None
        buffer = self.sender.buffer
        assert buffer.counts.offered == self.offered
        assert buffer.counts.offered == buffer.counts.forwarded + sum(buffer.counts.dropped.values()) + buffer.buffered
        if not self.present:
            assert not buffer.buffered
            return
        never = set(range(self.begin + 1, self.forwarder.sequence + 1)) - self.handed
        waiting = {pending.sequence for pending in buffer._waiting}
        assert waiting <= never
        given_up = never - waiting
        told = {number for first, last in buffer.given_up._ranges for number in range(first, last + 1)}
        assert told == (given_up if self.transport is Transport.UDP else set())
        segments = self.forwarder.world.lives[self.receiver].segments.get(self.forwarder.session, [])
        if self.wire is not None and segments and self.transport is Transport.TCP:
            # All that is missing there was given up here, whatever broke in between.
            segment = segments[-1]
            missing = set(range(max(segment.base, self.begin) + 1, segment.highest + 1)) - segment.came
            assert missing <= given_up


class Source:
    """A forwarder's life."""

    def __init__(self, world: "World") -> None:
        self.world = world
        self.session = world.rng.getrandbits(64)
        world.sessions += 1
        self.sequence = 0
        self.links = [Link(self, receiver, world.rng.choice(tuple(Transport))) for receiver in range(2)]

    def feed(self, count: int) -> None:
        rng, clock = self.world.rng, self.world.clock
        # Of as many streams as there are, some more often.
        names = [f"s{min(rng.randrange(STREAMS), rng.randrange(STREAMS))}@trade" for _event in range(count)]
        events = [FeedEvent(name, "", TRADE, None, None, None, b"{}") for name in names]
        stamp = Stamp(clock.wall_ns(), StampKind.KERNEL, clock.wall_ns(), clock.now_ns)
        first = self.sequence + 1
        self.sequence += count
        for link in self.links:
            if link.present:
                assert link.sender is not None
                link.offered += count
                link.sender.offer(first, events, stamp)


class World:
    """Two forwarders, two receivers, a link from each to each; and a history of what happens to them."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.clock = Clock()
        self.sessions = 0
        self.lives = [Life(self.clock) for _receiver in range(2)]
        self.sources = [Source(self) for _forwarder in range(2)]

    def step(self, action: str, which: int) -> None:
        """Let something happen to one of the links, as far as it can."""
        link = self.sources[which & 1].links[which >> 1 & 1]
        if action in ("deliver", "beat", "acknowledge", "stall") and link.wire is None:
            return
        getattr(self, f"_{action}")(link, which >> 2)

    def _feed(self, link: Link, amount: int) -> None:
        link.forwarder.feed(1 + amount % 9)

    def _connect(self, link: Link, _amount: int) -> None:
        link.connect()

    def _deliver(self, link: Link, amount: int) -> None:
        assert link.wire is not None
        link.wire.deliver(1 + amount % 20)

    def _beat(self, link: Link, _amount: int) -> None:
        assert link.wire is not None
        link.wire.beat()

    def _acknowledge(self, link: Link, _amount: int) -> None:
        assert link.wire is not None
        link.wire.acknowledge()

    def _stall(self, link: Link, _amount: int) -> None:
        assert link.wire is not None
        assert link.sender is not None
        link.wire.blocked = not link.wire.blocked
        link.sender._on_writable()

    def _cut(self, link: Link, _amount: int) -> None:
        link.cut()

    def _wait(self, _link: Link, amount: int) -> None:
        self.clock.now_ns += (1 + amount % 30) * TAIL_NS // 10
        for life in self.lives:
            life.tick()
        for one in (one for source in self.sources for one in source.links):
            assert one.sender is not None
            if one.present:
                one.sender.expire()

    def _remove(self, link: Link, _amount: int) -> None:
        link.close()

    def _add(self, link: Link, _amount: int) -> None:
        if not link.present:
            link.open()

    def _change(self, link: Link, amount: int) -> None:
        link.close()
        link.transport = tuple(Transport)[amount & 1]
        link.open()

    def _restart_forwarder(self, link: Link, _amount: int) -> None:
        if self.sessions < LIVES:
            for one in link.forwarder.links:
                one.close()
            self.sources[self.sources.index(link.forwarder)] = Source(self)

    def _restart_receiver(self, link: Link, _amount: int) -> None:
        for source in self.sources:
            source.links[link.receiver].cut()
        self.lives[link.receiver] = Life(self.clock)

    def check(self) -> None:
        for life in self.lives:
            life.check()
        for source in self.sources:
            for link in source.links:
                link.check()

    def settle(self) -> None:
        """Let everything come to rest: then all is delivered, lost on the way, or given up."""
        for source in self.sources:
            for link in source.links:
                link.connect()
                if link.wire is not None and link.sender is not None:
                    link.wire.blocked = False
                    link.sender._on_writable()
                    for _turn in range(6):
                        link.wire.beat()
                        link.wire.deliver(10_000)
                        link.wire.acknowledge()
                    assert link.sender.buffer.buffered == 0
        self.clock.now_ns += 2 * TAIL_NS
        for life in self.lives:
            life.tick()
        self.check()
        for life in self.lives:
            life.finish()
        self.check()


RARE = ("stall", "cut", "remove", "change", "restart_forwarder", "restart_receiver")
WEIGHTED = (*("feed", "deliver", "connect") * 5, *("beat", "acknowledge", "wait", "add") * 3, *RARE)
HISTORIES = st.lists(st.tuples(st.sampled_from(WEIGHTED), st.integers(0, 127)), min_size=20, max_size=100)


def lived(seed: int, history: list[tuple[str, int]]) -> None:
    world = World(seed)
    for action, which in history:
        world.step(action, which)
        world.check()
    world.settle()


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.integers(0, 1 << 32), HISTORIES)
def test_every_counter_is_the_models_at_every_scrape(seed: int, history: list[tuple[str, int]]) -> None:
    lived(seed, history)


@pytest.mark.exhaustive
def test_thousands_of_long_histories() -> None:
    rng = random.Random(23)
    for seed in range(2_000):
        lived(seed, [(rng.choice(WEIGHTED), rng.randrange(128)) for _step in range(rng.choice((20, 80, 250)))])


def test_a_thousand_streams_of_two_forwarders_share_labels_and_no_account() -> None:
    world = World(1)
    for round_ in range(120):
        for which in range(4):
            world.step("connect", which)
            world.step("feed", which | 31 << 2)
            world.step("deliver", which | 19 << 2)
            world.step("acknowledge", which)
        if round_ % 50 == 0:
            world.check()
    world.settle()
    assert all(len(life.streams) > MAX_STREAMS for life in world.lives)
