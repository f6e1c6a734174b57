"""What is known of one path: every event that arrived on it, accounted for and measured.

Each event is counted once, checked, and measured as far as it can be: end to end (exchange to arrival here),
over the backbone (arrival at the forwarder to arrival here), and against the other paths in the race. What cannot be
measured is counted under a reason and stays out of the histograms.
"""

from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Final

from daemons.formats.rows import Row
from daemons.measurement.figures import Figures, Instruments
from daemons.measurement.histogram import BucketHistogram
from daemons.measurement.identity import MAX_JUMP, IdAccount, Sighting, confirms
from daemons.measurement.jitter import InterarrivalJitter
from daemons.measurement.race import RaceTable
from daemons.measurement.segments import Arrived, Segments
from daemons.measurement.sequence import Outcome, SequenceTracker, Tally
from daemons.measurement.time_step import STEPS_NS, finer_step_ns
from daemons.records import KERNEL, WARMUP, FeedEvent, LinkEvent, Stamp, StampKind, Validity, shared

__all__ = [
    "INVALID_REASONS",
    "MAX_IDENTITIES",
    "MAX_JUMP",
    "PathAccount",
    "StreamAccount",
]

ABSURD_NS: Final = 3_600_000_000_000
"""No path takes an hour: such a delay is a clock or a unit gone wrong."""

MAX_STREAMS: Final = 256
"""Streams with a label of their own; the others share one. It bounds what Prometheus sees, and no accounting."""
OTHER_STREAM: Final = "other"
MAX_IDENTITIES: Final = 8192
"""Streams accounted for on a path, eight times what an exchange allows on a connection; events beyond are counted."""
MAX_SESSIONS: Final = 16

INVALID_REASONS = (
    "negative_end_to_end",
    "absurd_end_to_end",
    "negative_backbone",
    "absurd_backbone",
    "clock_step",
    "warmup",
    "absurd_sequence",
    "absurd_announcement",
    "too_many_streams",
)
"""Why a figure of an event was refused; a feed's or listener's own reasons are counted beside them."""


_OK: Final = Validity.OK
_DUPLICATE: Final = Outcome.DUPLICATE
_STALE: Final = Outcome.STALE
_NEW: Final = Sighting.NEW
_REPEATED: Final = Sighting.REPEATED


class StreamAccount:
    """One stream on one path.

    Attributes:
        ids: accounts of its ids by symbol: one, but for a stream of all symbols.
        kind: of its events, for their identity; empty while it is not known.
        symbol: of its events; empty for a stream of all symbols.
        step_ns: in what step its event times are told, as they have shown.
    """

    __slots__ = (
        "backbone",
        "backbone_jitter",
        "end_to_end",
        "end_to_end_jitter",
        "events",
        "ids",
        "kind",
        "label",
        "name",
        "step_ns",
        "symbol",
        "without_event_time",
    )

    def __init__(
        self,
        name: str,
        label: str,
        identity: tuple[str, str],
        end_to_end: BucketHistogram,
        backbone: BucketHistogram | None,
    ) -> None:
        self.name = name
        self.label = label
        self.symbol, self.kind = identity
        self.events = 0
        self.without_event_time = 0
        self.step_ns = STEPS_NS[0]
        self.end_to_end = end_to_end
        self.backbone = backbone
        self.end_to_end_jitter = InterarrivalJitter()
        self.backbone_jitter = InterarrivalJitter()
        self.ids: dict[str, IdAccount] = {}

    @property
    def id_resets(self) -> int:
        """How often the exchange began ids anew."""
        return sum(ids.resets for ids in self.ids.values())

    def named_for(self, symbol: str) -> str:
        """Return the name in rows: of a stream of all symbols (``!bookTicker``) the one that brings this symbol's."""
        return self.name if self.symbol or not symbol else f"{symbol}@{self.name[1:]}"


class PathAccount:
    """Everything counted and measured on one path.

    Args:
        name: the path's name.
        index: its number in the race.
        link: whether it is a link; else a feed.
        instruments: the live histograms.
        race: the table in which paths are compared; None when there is only one.
        figures: fine-grained distributions; None when no run keeps them.
        row: is given every event; None when no file is written.
        identify: tells symbol and kind of a stream's events by its name; the symbol is empty for one of all symbols.
        symbol_of: reads the symbol out of an event's payload; asked for streams of all symbols on links.

    Attributes:
        events: all arrivals, duplicates included.
        delayed: events that waited in an outage.
        invalid: figures refused, by reason.
        stamps: events by the kind of their arrival stamp.
        forwarder_step_ns: in what step the forwarder tells its stamps, as they have shown.
    """

    def __init__(
        self,
        name: str,
        index: int,
        *,
        link: bool,
        instruments: Instruments,
        race: RaceTable | None = None,
        figures: Figures | None = None,
        row: Callable[[Row], None] | None = None,
        identify: Callable[[str], tuple[str, str]] = lambda stream: (stream, ""),
        symbol_of: Callable[[bytes], str] = lambda _payload: "",
    ) -> None:
        self.name = name
        self.index = index
        self.is_link = link
        self._instruments = instruments
        self._race = race
        self.figures = figures
        self._row = row
        self._identify = identify
        self._symbol_of = symbol_of
        self.streams: dict[str, StreamAccount] = {}
        self._labels: set[str] = set()
        self._overflow: StreamAccount | None = None
        self.segments = Segments(instruments.segments, keep=figures is not None) if link else None
        self.sessions: dict[Hashable, SequenceTracker] = {}
        self.sessions_seen = 0
        self._closed = SequenceTracker()
        self._unreachable: dict[Hashable, int] = {}
        self._least_of_read_ns: int | None = None
        self.leaps = 0
        """How often a session's numbering moved further than can be told from nonsense by one event."""
        self.events = 0
        self.delayed = 0
        self.forwarder_step_ns = STEPS_NS[0]
        self.invalid = dict.fromkeys(INVALID_REASONS, 0)
        self.stamps = dict.fromkeys(StampKind, 0)
        self.last_event_ns = 0
        self.least_one_way_ns: dict[Hashable, int] = {}
        """Per session, the least one-way delay since it was last taken out, to be checked against the RTT."""
        self._turns = 0
        self._heard: dict[Hashable, int] = {}
        """Per session, in which turn it was last heard of."""

    # Sequences

    def open_session(self, key: Hashable, base: int, *, lossless: bool = False) -> SequenceTracker:
        """Return the account of a session, begun after ``base`` if it is new.

        Where ``base`` is above all that has been seen, what lies between was used before this link was there (its
        destination was taken away and added again): the account goes on after it.

        Args:
            key: the session.
            base: the highest number that is not this account's.
            lossless: whether all that is sent arrives (TCP): what is missing was given up by the forwarder.
        """
        tracker = self.sessions.get(key)
        if tracker is None:
            while len(self.sessions) >= MAX_SESSIONS:
                # Who was heard of last: one that lives does not give way to newcomers, however early it joined.
                self._end_session(min(self.sessions, key=self._heard.__getitem__))
            self.sessions_seen += 1
        elif tracker.lossless != lossless or base > tracker.highest:
            # Or its transport was changed by a reload: what is missing means something else from here on.
            base = max(base, tracker.highest)
            self._end_session(key)
        else:
            return tracker
        self._hear(key)
        tracker = self.sessions[key] = SequenceTracker(base, lossless=lossless)
        return tracker

    def announce(self, key: Hashable, highest: int, now_ns: int) -> None:
        """Take in that a session has sent up to ``highest``."""
        tracker = self.sessions.get(key)
        if tracker is None:
            return
        self._hear(key)
        if highest - tracker.highest > MAX_JUMP:
            self._follow(key, highest, announced=True)
        else:
            tracker.announce(highest, now_ns)

    def give_up(self, key: Hashable, first: int, last: int, now_ns: int) -> None:
        """Take in that a session has used the numbers from ``first`` to ``last`` and never sent them."""
        tracker = self.sessions.get(key)
        if tracker is None:
            return
        if last - tracker.highest > MAX_JUMP:
            self._follow(key, last, announced=True)
        else:
            tracker.give_up(first, last, now_ns)

    def expire(self, now_ns: int) -> int:
        """Declare lost what has been missing long enough; return how many events that was."""
        lost = sum(tracker.expire(now_ns) for tracker in self.sessions.values())
        return lost + sum(tracker.expire(now_ns) for tracker in self._id_trackers())

    def finish(self) -> None:
        """Declare lost all that is missing: the run is over."""
        for tracker in self._trackers():
            tracker.finish()

    def interrupt(self, names: Iterable[str] | None = None) -> None:
        """Note that the next event does not succeed the last (a reconnect): jitter starts anew.

        Args:
            names: the streams that are concerned; None for all.
        """
        for name in tuple(self.streams) if names is None else names:
            stream = self.streams.get(name)
            if stream is None:
                continue
            stream.end_to_end_jitter.interrupt()
            stream.backbone_jitter.interrupt()
            for ids in stream.ids.values():
                ids.rejoin()

    def total(self, attribute: str) -> int:
        """Sum one counter of :class:`Tally` over all sessions, or streams whose holes are losses, ever seen."""
        return sum(getattr(tracker, attribute) for tracker in (self._closed, *self._trackers()))

    @property
    def duplicates(self) -> int:
        """Events that this path brought again."""
        return self.total("duplicates") + sum(ids.repeated for ids in self._ids())

    def event_time_steps_ns(self) -> dict[str, int]:
        """Return the step of the event times of each stream of which two were measured."""
        return {name: one.step_ns for name, one in self.streams.items() if one.end_to_end_jitter.value_ns is not None}

    def all_streams(self) -> list[StreamAccount]:
        """Return the accounts of all streams, and the one of events beyond :data:`MAX_IDENTITIES` once it has any."""
        return [*self.streams.values(), *([self._overflow] if self._overflow is not None else [])]

    @property
    def id_resets(self) -> dict[str, int]:
        """Per stream, how often the exchange began its ids anew; streams without a reset are left out."""
        return {name: count for name, one in self.streams.items() if (count := one.id_resets)}

    @property
    def id_leaps(self) -> int:
        """How often a numbering, of ids or of a session, moved further than could be followed at once."""
        return self.leaps + sum(ids.leaps for ids in self._ids())

    def jitter_ns(self, of: Callable[[StreamAccount], InterarrivalJitter]) -> float | None:
        """Give the jitter of the path: the mean over its streams, by their events; None where no stream has one.

        RFC 3550 defines jitter for one stream: transit times of different streams do not succeed each other.
        """
        streams = self.streams.values()
        known = [(stream.events, value) for stream in streams if (value := of(stream).value_ns) is not None]
        events = sum(count for count, _value in known)
        return sum(count * value for count, value in known) / events if events else None

    def _trackers(self) -> list[Tally]:
        return [*self.sessions.values(), *self._id_trackers()]

    def _ids(self) -> list[IdAccount]:
        return [ids for stream in self.streams.values() for ids in stream.ids.values()]

    def _id_trackers(self) -> list[Tally]:
        return [tracker for ids in self._ids() for tracker in ids.trackers]

    def _end_session(self, key: Hashable) -> None:
        tracker = self.sessions.pop(key)
        tracker.finish()
        self._closed.add(tracker)
        self._unreachable.pop(key, None)
        self._heard.pop(key, None)

    def _hear(self, key: Hashable) -> None:
        self._turns += 1
        self._heard[key] = self._turns

    def _follow(self, key: Hashable, sequence: int, *, announced: bool = False) -> SequenceTracker | None:
        """Judge a number that cannot be reached: None for nonsense, else the account that begins there.

        Args:
            key: the session.
            sequence: the number.
            announced: it is not an event's, but said to be used already; said again it holds.
        """
        before = self._unreachable.get(key)
        self._unreachable[key] = sequence
        if not confirms(sequence + announced, before):
            self.invalid["absurd_announcement" if announced else "absurd_sequence"] += 1
            return None
        # A second one right after it: the forwarder has counted on through a long outage. What that cost it tells.
        lossless = self.sessions[key].lossless
        self._end_session(key)
        self.leaps += 1
        self._hear(key)
        base = sequence if announced else sequence - 1
        tracker = self.sessions[key] = SequenceTracker(base, lossless=lossless)
        return tracker

    # Events

    def expect(self, streams: Iterable[str]) -> None:
        """Make the accounts of streams that are subscribed to, so that they show zeros before their first event."""
        for name in streams:
            self._stream(name)

    def observe_feed(self, events: Sequence[FeedEvent], stamp: Stamp) -> None:
        """Take in the events of one read of a feed."""
        last = len(events) - 1
        early = shared(stamp.kind)
        for index, event in enumerate(events):
            kind = stamp.kind if index == last else early
            stream = self.streams.get(event.stream) or self._stream(event.stream)
            self._count(stream, stamp, kind)
            duplicate = event.event_id is not None and stream is not self._overflow and self._seen(stream, event, stamp)
            end_to_end_ns, validity = self._end_to_end(stream, event.event_time_ns, stamp, kind, duplicate=duplicate)
            if not duplicate and self._race is not None and event.event_id is not None and stream.name:
                key = (stream.symbol or event.symbol, stream.kind, event.event_id)
                self._race.observe(key, self.index, stamp.steady_ns, live=not stamp.step_ns)
            if self._row is not None:
                self._row(
                    Row(
                        path=self.name,
                        stream=stream.named_for(event.symbol),
                        sequence=self.events,
                        event_id=event.event_id,
                        event_time_ns=event.event_time_ns,
                        forwarder_ns=None,
                        departure_ns=None,
                        arrival_ns=stamp.ns,
                        end_to_end_ns=end_to_end_ns,
                        backbone_ns=None,
                        stamp=kind,
                        validity="duplicate" if duplicate else validity,
                        delayed=False,
                    )
                )

    def observe_link(self, key: Hashable, events: Sequence[LinkEvent], stamp: Stamp, *, together: bool) -> None:
        """Take in the events of one read of a link.

        Args:
            key: the forwarder's session.
            events: the events.
            stamp: of the read's last packet.
            together: whether all of them came in that packet.
        """
        tracker = self.sessions.get(key) or self.open_session(key, events[0].sequence - 1)
        self._hear(key)
        self._least_of_read_ns = None
        last = len(events) - 1
        early = stamp.kind if together else shared(stamp.kind)
        for index, event in enumerate(events):
            # Far behind as well: what came before was nonsense, and must not make duplicates of all that follows.
            if not -MAX_JUMP <= event.sequence - tracker.highest <= MAX_JUMP:
                if (followed := self._follow(key, event.sequence)) is None:
                    continue
                tracker = followed
            kind = stamp.kind if index == last else early
            stream = self.streams.get(event.stream) or self._stream(event.stream)
            self._count(stream, stamp, kind)
            outcome = tracker.observe(event.sequence, stamp.steady_ns)
            duplicate = outcome is _DUPLICATE or outcome is _STALE
            live = not (duplicate or event.delayed)
            if event.delayed and not duplicate:
                self._count_delayed(event, stamp)
            end_to_end_ns, validity = self._end_to_end(stream, event.event_time_ns, stamp, kind, duplicate=not live)
            backbone_ns, backbone_validity = self._backbone(key, stream, event, stamp, kind) if live else (None, _OK)
            symbol = stream.symbol or ("" if event.event_id is None else self._symbol_of(event.payload))
            if not duplicate and self._race is not None and event.event_id is not None and stream.name:
                identity = (symbol, stream.kind, event.event_id)
                self._race.observe(identity, self.index, stamp.steady_ns, live=live and not stamp.step_ns)
            if self._row is not None:
                if duplicate or event.delayed:
                    validity = outcome.value if duplicate else Validity.DELAYED
                elif backbone_validity is not _OK:
                    validity = backbone_validity
                name = stream.named_for(symbol)
                self._row(self._link_row(name, event, stamp, kind, (end_to_end_ns, backbone_ns), validity))
        self._keep_least(key)

    def _keep_least(self, key: Hashable) -> None:
        least_ns = self._least_of_read_ns
        if least_ns is not None:
            self.least_one_way_ns[key] = min(least_ns, self.least_one_way_ns.get(key, least_ns))

    def _sample(self, session: Hashable, event: LinkEvent, stamp: Stamp, kind: StampKind) -> None:
        """Keep the stamps of an event whose departure is told later, if both of its arrival stamps are its own."""
        exact = kind is KERNEL and event.receive_kind is KERNEL and not stamp.step_ns
        if exact and event.departure_ns is not None and self.segments is not None:
            times = (event.event_time_ns, event.receive_ns, event.departure_ns, stamp.ns, stamp.handled_ns)
            self.segments.arrived(session, event.sequence, Arrived(*times))

    def _count_delayed(self, event: LinkEvent, stamp: Stamp) -> None:
        self.delayed += 1
        if not stamp.step_ns and self._judge(stamp.ns - event.receive_ns) is _OK:
            self._instruments.delayed.observe(stamp.ns - event.receive_ns)

    def _link_row(
        self,
        name: str,
        event: LinkEvent,
        stamp: Stamp,
        kind: StampKind,
        figures: tuple[int | None, int | None],
        validity: str,
    ) -> Row:
        """Make the row of an event; ``figures`` are its end-to-end and backbone latency in nanoseconds."""
        return Row(
            path=self.name,
            stream=name,
            sequence=event.sequence,
            event_id=event.event_id,
            event_time_ns=event.event_time_ns,
            forwarder_ns=event.receive_ns,
            departure_ns=event.departure_ns,
            arrival_ns=stamp.ns,
            end_to_end_ns=figures[0],
            backbone_ns=figures[1],
            stamp=kind,
            validity=validity,
            delayed=event.delayed,
        )

    def _count(self, stream: StreamAccount, stamp: Stamp, kind: StampKind) -> None:
        self.events += 1
        stream.events += 1
        self.stamps[kind] += 1
        self.last_event_ns = stamp.ns
        if not stamp.step_ns:
            host_delay_ns = stamp.handled_ns - stamp.ns
            self._instruments.host_delay.observe(host_delay_ns)
            if self.figures is not None:
                self.figures.host_delay.record(host_delay_ns)

    def _seen(self, stream: StreamAccount, event: FeedEvent, stamp: Stamp) -> bool:
        """Account for an event's id; return whether it is to be measured no more: it came before, or is nonsense."""
        assert event.event_id is not None
        ids = stream.ids.get(event.symbol)
        if ids is None:
            if len(stream.ids) >= MAX_IDENTITIES:
                self.invalid["too_many_streams"] += 1
                return False
            ids = stream.ids[event.symbol] = IdAccount(event.kind.numbering)
        sighting = ids.observe(event.event_id, event.previous_id, event.event_time_ns, stamp.steady_ns)
        if sighting is _NEW:
            return False
        if sighting is not _REPEATED:
            self.invalid["absurd_sequence"] += 1
        return sighting is not Sighting.FIRST_SOUND

    def _end_to_end(
        self, stream: StreamAccount, event_time_ns: int | None, stamp: Stamp, kind: StampKind, *, duplicate: bool
    ) -> tuple[int | None, str]:
        """Measure from the exchange's event time to arrival; return the figure if it is valid, and its validity."""
        stream.without_event_time += event_time_ns is None
        if stamp.step_ns:
            self.invalid["clock_step"] += 1
            stream.end_to_end_jitter.interrupt()
            return None, Validity.CLOCK_STEP
        if kind is WARMUP:
            self.invalid["warmup"] += 1
            return None, Validity.WARMUP
        if event_time_ns is None:
            return None, Validity.WITHOUT_EVENT_TIME
        figure_ns = stamp.ns - event_time_ns
        if figure_ns < 0:
            self.invalid["negative_end_to_end"] += 1
            return None, Validity.NEGATIVE
        if duplicate:
            return figure_ns, _OK
        if figure_ns > ABSURD_NS:
            self.invalid["absurd_end_to_end"] += 1
            return None, Validity.ABSURD
        if event_time_ns % stream.step_ns:
            stream.step_ns = finer_step_ns(stream.step_ns, event_time_ns)
        stream.end_to_end.observe(figure_ns)
        stream.end_to_end_jitter.observe(figure_ns)
        if self.figures is not None:
            self.figures.end_to_end.record(figure_ns)
        return figure_ns, _OK

    def _backbone(
        self, session: Hashable, stream: StreamAccount, event: LinkEvent, stamp: Stamp, kind: StampKind
    ) -> tuple[int | None, Validity]:
        """Measure from arrival at the forwarder to arrival here; return the figure if it is valid, and its validity."""
        if stamp.step_ns:
            stream.backbone_jitter.interrupt()
            return None, Validity.CLOCK_STEP
        if kind is WARMUP or event.receive_kind is WARMUP:
            stream.backbone_jitter.interrupt()
            if kind is not WARMUP:
                self.invalid["warmup"] += 1
            return None, Validity.WARMUP
        figure_ns = stamp.ns - event.receive_ns
        one_way_ns = figure_ns if event.departure_ns is None else stamp.ns - event.departure_ns
        least_ns = self._least_of_read_ns
        if least_ns is None or one_way_ns < least_ns:
            self._least_of_read_ns = one_way_ns
        if (validity := self._judge(figure_ns)) is not _OK:
            return None, validity
        if event.sampled:
            self._sample(session, event, stamp, kind)
        assert stream.backbone is not None
        if event.receive_ns % self.forwarder_step_ns:
            self.forwarder_step_ns = finer_step_ns(self.forwarder_step_ns, event.receive_ns)
        stream.backbone.observe(figure_ns)
        stream.backbone_jitter.observe(figure_ns)
        if self.figures is not None:
            self.figures.backbone.record(figure_ns)
            if event.departure_ns is not None:
                self.figures.hold.record(figure_ns - one_way_ns)
                self.figures.one_way.record(one_way_ns)
        return figure_ns, _OK

    def _judge(self, backbone_ns: int) -> Validity:
        """Say whether a path can have such a delay; count it if not."""
        if 0 <= backbone_ns <= ABSURD_NS:
            return _OK
        validity = Validity.NEGATIVE if backbone_ns < 0 else Validity.ABSURD
        self.invalid[f"{validity}_backbone"] += 1
        return validity

    def _stream(self, name: str) -> StreamAccount:
        """Make the account of a stream: labels are few, identities many; events beyond both bounds are only counted."""
        if len(self.streams) >= MAX_IDENTITIES:
            self.invalid["too_many_streams"] += 1
            if self._overflow is None:
                self._overflow = self._made("", OTHER_STREAM)
            return self._overflow
        label = name if len(self._labels) < MAX_STREAMS else OTHER_STREAM
        self._labels.add(label)
        made = self.streams[name] = self._made(name, label)
        return made

    def _made(self, name: str, label: str) -> StreamAccount:
        backbone = self._instruments.backbone(label) if self.is_link else None
        return StreamAccount(name, label, self._identify(name), self._instruments.end_to_end(label), backbone)
