"""What is known of one path: every event that arrived on it, accounted for and measured.

Each event is counted once, checked, and measured as far as it can be: end to end (exchange to arrival here),
over the backbone (arrival at the forwarder to arrival here), and against the other paths in the race. What cannot be
measured is counted under a reason and stays out of the histograms.
"""

from collections.abc import Callable, Hashable, Iterable, Sequence
from enum import StrEnum
from typing import Final

from daemons.formats.rows import Row
from daemons.measurement.figures import Figures, Instruments
from daemons.measurement.identity import MAX_JUMP, IdAccount, Sighting
from daemons.measurement.jitter import InterarrivalJitter
from daemons.measurement.judgement import DISRUPTED, Figure, backbone_of, end_to_end_of, possible
from daemons.measurement.race import RaceTable
from daemons.measurement.segments import Arrived, Segments
from daemons.measurement.sequence import Outcome, Tally
from daemons.measurement.sessions import Sessions
from daemons.measurement.stream_account import StreamAccount
from daemons.measurement.tail.tail import Tail
from daemons.measurement.time_step import STEPS_NS, finer_step_ns
from daemons.records import NO_HARDWARE, WARMUP, FeedEvent, LinkEvent, Stamp, StampKind, Validity, exact, shared

__all__ = ["MAX_IDENTITIES", "InvalidReason", "PathAccount"]

MAX_STREAMS: Final = 256
"""Streams with a label of their own; the others share one. It bounds what Prometheus sees, and no accounting."""
OTHER_STREAM: Final = "other"
MAX_IDENTITIES: Final = 8192
"""Streams accounted for on a path, eight times what an exchange allows on a connection; events beyond are counted."""


class InvalidReason(StrEnum):
    """Why a figure of an event was refused; a feed's or listener's own reasons are counted beside them."""

    NEGATIVE_END_TO_END = "negative_end_to_end"
    ABSURD_END_TO_END = "absurd_end_to_end"
    NEGATIVE_BACKBONE = "negative_backbone"
    ABSURD_BACKBONE = "absurd_backbone"
    CLOCK_STEP = "clock_step"
    CLOCK_DISRUPTED = "clock_disrupted"
    WARMUP = "warmup"
    NO_HARDWARE_STAMP = "no_hardware_stamp"
    ABSURD_SEQUENCE = "absurd_sequence"
    ABSURD_ANNOUNCEMENT = "absurd_announcement"
    TOO_MANY_STREAMS = "too_many_streams"


_END_TO_END: Final = {
    Validity.CLOCK_STEP: InvalidReason.CLOCK_STEP,
    Validity.CLOCK_DISRUPTED: InvalidReason.CLOCK_DISRUPTED,
    Validity.WARMUP: InvalidReason.WARMUP,
    Validity.NO_HARDWARE_STAMP: InvalidReason.NO_HARDWARE_STAMP,
    Validity.NEGATIVE: InvalidReason.NEGATIVE_END_TO_END,
    Validity.ABSURD: InvalidReason.ABSURD_END_TO_END,
}
_BACKBONE: Final = {
    Validity.NEGATIVE: InvalidReason.NEGATIVE_BACKBONE,
    Validity.ABSURD: InvalidReason.ABSURD_BACKBONE,
}
_OK: Final = Validity.OK
_DUPLICATE: Final = Outcome.DUPLICATE
_STALE: Final = Outcome.STALE
_NEW: Final = Sighting.NEW
_REPEATED: Final = Sighting.REPEATED


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
        wall_ns: reads the wall clock, for the end of a sampled event's way; by default there is none to read.

    Attributes:
        events: all arrivals, duplicates included.
        delayed: events that waited in an outage.
        invalid: figures refused, by reason.
        stamps: events by the kind of their arrival stamp.
        forwarder_step_ns: in what step the forwarder tells its stamps, as they have shown.
        tail: its slowest events, and why they were.
        disrupted: this host's clock is not to be believed: nothing is measured with it.
        disrupted_sessions: those of forwarders of whose clocks the same holds.
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
        wall_ns: Callable[[], int | None] = lambda: None,
    ) -> None:
        self.name = name
        self.index = index
        self.is_link = link
        self._instruments = instruments
        self._host_delay = instruments.host_delay
        self._race = race
        self.figures = figures
        self._row = row
        self._identify = identify
        self._symbol_of = symbol_of
        self._wall_ns = wall_ns
        self.streams: dict[str, StreamAccount] = {}
        self._labels: set[str] = set()
        self._overflow: StreamAccount | None = None
        self.segments = Segments(instruments.segments, keep=figures is not None) if link else None
        self.invalid: dict[str, int] = dict.fromkeys(InvalidReason, 0)
        self.sessions = Sessions(self.invalid)
        self.tail = Tail()
        self._least_of_read_ns: int | None = None
        self._sampled: list[tuple[Hashable, LinkEvent]] = []
        self.events = 0
        self.delayed = 0
        self.disrupted = False
        self.disrupted_sessions: set[Hashable] = set()
        self.forwarder_step_ns = STEPS_NS[0]
        self.stamps = dict.fromkeys(StampKind, 0)
        self.last_event_ns = 0
        self.least_one_way_ns: dict[Hashable, int] = {}
        """Per session, the least one-way delay since it was last taken out, to be checked against the RTT."""

    # Sequences

    def expire(self, now_ns: int) -> int:
        """Declare lost what has been missing long enough; return how many events that was. To be called often."""
        self.tail.tend(now_ns, self.events)
        lost = sum(tracker.expire(now_ns) for tracker in self.sessions.trackers.values())
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
        self.tail.renew()
        for name in tuple(self.streams) if names is None else names:
            stream = self.streams.get(name)
            if stream is None:
                continue
            stream.interrupt()

    def total(self, attribute: str) -> int:
        """Sum one counter of :class:`Tally` over all sessions, or streams whose holes are losses, ever seen."""
        return sum(getattr(tracker, attribute) for tracker in (self.sessions.closed, *self._trackers()))

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
        return self.sessions.leaps + sum(ids.leaps for ids in self._ids())

    def jitter_ns(self, of: Callable[[StreamAccount], InterarrivalJitter]) -> float | None:
        """Give the jitter of the run: the mean change between successive events of a stream; None before there is one.

        RFC 3550 defines jitter for one stream: transit times of different streams do not succeed each other.
        """
        known = [of(stream) for stream in self.streams.values()]
        changes = sum(one.changes for one in known)
        return sum(one.total_ns for one in known) / changes if changes else None

    def _trackers(self) -> list[Tally]:
        return [*self.sessions.trackers.values(), *self._id_trackers()]

    def _ids(self) -> list[IdAccount]:
        return [ids for stream in self.streams.values() for ids in stream.ids.values()]

    def _id_trackers(self) -> list[Tally]:
        return [tracker for ids in self._ids() for tracker in ids.trackers]

    # Events

    def expect(self, streams: Iterable[str]) -> None:
        """Make the accounts of streams that are subscribed to, so that they show zeros before their first event."""
        for name in streams:
            self._stream(name)

    def observe_feed(self, events: Sequence[FeedEvent], stamp: Stamp) -> None:
        """Take in the events of one read of a feed."""
        self._count_read(stamp, len(events))
        tail = self.tail
        recent, stride = tail.timed, tail.stride
        last = len(events) - 1
        disrupted = self.disrupted
        early = shared(stamp.kind)
        for index, event in enumerate(events):
            kind = stamp.kind if index == last else early
            stream = self.streams.get(event.stream) or self._stream(event.stream)
            self.events += 1
            stream.events += 1
            self.stamps[kind] += 1
            duplicate = event.event_id is not None and stream is not self._overflow and self._seen(stream, event, stamp)
            figure = DISRUPTED if disrupted else end_to_end_of(event.event_time_ns, stamp, kind)
            end_to_end_ns = self._take_end_to_end(stream, event.event_time_ns, figure, live=not duplicate)
            if end_to_end_ns is not None and figure[1] is _OK and not duplicate:
                if not self.events % stride:
                    recent.record(end_to_end_ns)
                if end_to_end_ns > recent.above_ns:
                    tail.judge_feed(end_to_end_ns, events, index, stamp, kind)
            if not duplicate and self._race is not None and event.event_id is not None and stream.name:
                key = (stream.symbol or event.symbol, stream.kind, event.event_id)
                self._race.observe(key, self.index, stamp.steady_ns, live=not stamp.step_ns)
            if self._row is not None:
                validity = _DUPLICATE.value if duplicate else figure[1]
                figures, place = (end_to_end_ns, None), (self.events, None)
                self._row(self._row_of(stream, event.symbol, event, stamp, kind, figures, validity, place))

    def observe_link(
        self, key: Hashable, events: Sequence[LinkEvent], stamp: Stamp, *, together: bool, left_ns: int = 0
    ) -> None:
        """Take in the events of one read of a link.

        Args:
            key: the forwarder's session.
            events: the events.
            stamp: of the read's last packet.
            together: whether all of them came in that packet.
            left_ns: when what the read brought after them left the forwarder, by its clock; 0 where it is not known.
        """
        sessions = self.sessions
        tracker = sessions.trackers.get(key) or sessions.open(key, events[0].sequence - 1)
        sessions.hear(key)
        self._least_of_read_ns = None
        before, tail, last = self.events, self.tail, len(events) - 1
        stride, disrupted = tail.stride, self.disrupted
        either_disrupted = disrupted or key in self.disrupted_sessions
        early = stamp.kind if together else shared(stamp.kind)
        for index, event in enumerate(events):
            # Far behind as well: what came before was nonsense, and must not make duplicates of all that follows.
            if not -MAX_JUMP <= event.sequence - tracker.highest <= MAX_JUMP:
                if (followed := sessions.follow(key, event.sequence)) is None:
                    continue
                tracker = followed
            kind = stamp.kind if index == last else early
            stream = self.streams.get(event.stream) or self._stream(event.stream)
            self.events += 1
            stream.events += 1
            self.stamps[kind] += 1
            outcome = tracker.observe(event.sequence, stamp.steady_ns)
            duplicate = outcome is _DUPLICATE or outcome is _STALE
            live = not (duplicate or event.delayed)
            if event.delayed and not duplicate:
                self._take_delayed(event, stamp, measured=not (either_disrupted or stamp.step_ns))
            figure = DISRUPTED if disrupted else end_to_end_of(event.event_time_ns, stamp, kind)
            end_to_end_ns = self._take_end_to_end(stream, event.event_time_ns, figure, live=live)
            validity: str = figure[1] if live else outcome.value if duplicate else Validity.DELAYED
            timed = figure[1] is _OK and not duplicate
            backbone_ns: int | None = None
            if live:
                figure = DISRUPTED if either_disrupted else backbone_of(event, stamp, kind)
                backbone_ns = self._take_backbone(key, stream, event, stamp, kind, figure)
                validity = validity if figure[1] is _OK else figure[1]
            recent, delay_ns = (tail.timed, end_to_end_ns) if timed else (tail.untimed, backbone_ns)
            if delay_ns is not None and (delay_ns > recent.above_ns or not self.events % stride):
                sample = live and not self.events % stride
                tail.take_link(recent, delay_ns, events, index, stamp, kind, sample=sample, left_ns=left_ns)
            symbol = stream.symbol or ("" if event.event_id is None else self._symbol_of(event.payload))
            if not duplicate and self._race is not None and event.event_id is not None and stream.name:
                identity = (symbol, stream.kind, event.event_id)
                self._race.observe(identity, self.index, stamp.steady_ns, live=live and not stamp.step_ns)
            if self._row is not None:
                figures, place = (end_to_end_ns, backbone_ns), (event.sequence, sessions.numbers[key])
                self._row(self._row_of(stream, symbol, event, stamp, kind, figures, validity, place))
        if counted := self.events - before:
            self._count_read(stamp, counted)
        self._keep_least(key)
        self._keep_sampled(stamp)

    def _row_of(
        self,
        stream: StreamAccount,
        symbol: str,
        event: FeedEvent | LinkEvent,
        stamp: Stamp,
        kind: StampKind,
        figures: tuple[int | None, int | None],
        validity: str,
        place: tuple[int, int | None],
    ) -> Row:
        """Make the row of an event.

        Args:
            stream: which it is of.
            symbol: likewise.
            event: itself.
            stamp: of its read.
            kind: of its own stamp.
            figures: its end-to-end and backbone latency in nanoseconds.
            validity: of them.
            place: its number on the path or in its session, and the session's.
        """
        forwarder_ns = departure_ns = None
        delayed = False
        if isinstance(event, LinkEvent):
            forwarder_ns, departure_ns, delayed = event.receive_ns, event.departure_ns, event.delayed
        cause, rtt_ns, retransmitted, out_of_order = self.tail.explanation(event, stamp)
        # By position, in the order of its fields: names take seven times as long, and a row is made of every event.
        return Row(
            self.name,
            stream.named_for(symbol),
            place[0],
            event.event_id,
            event.event_time_ns,
            forwarder_ns,
            departure_ns,
            stamp.ns,
            figures[0],
            figures[1],
            kind,
            validity,
            delayed,
            stream.kind,
            place[1],
            cause,
            rtt_ns,
            retransmitted,
            out_of_order,
        )

    def _keep_least(self, key: Hashable) -> None:
        if (least_ns := self._least_of_read_ns) is not None:
            self.least_one_way_ns[key] = min(least_ns, self.least_one_way_ns.get(key, least_ns))

    def _count_read(self, stamp: Stamp, events: int) -> None:
        """Note when we got to the events of a read, behind their stamp."""
        self.last_event_ns = stamp.ns
        if stamp.step_ns:
            return
        host_delay_ns = stamp.handled_ns - stamp.ns
        self._host_delay.observe(host_delay_ns, events)
        if self.figures is not None:
            for _event in range(events):
                self.figures.host_delay.record(host_delay_ns)

    def _seen(self, stream: StreamAccount, event: FeedEvent, stamp: Stamp) -> bool:
        """Account for an event's id; return whether it is to be measured no more: it came before, or is nonsense."""
        assert event.event_id is not None
        ids = stream.ids.get(event.symbol)
        if ids is None:
            if len(stream.ids) >= MAX_IDENTITIES:
                self.invalid[InvalidReason.TOO_MANY_STREAMS] += 1
                return False
            ids = stream.ids[event.symbol] = IdAccount(event.kind.numbering)
        sighting = ids.observe(event.event_id, event.previous_id, event.event_time_ns, stamp.steady_ns)
        if sighting is _NEW:
            return False
        if sighting is not _REPEATED:
            self.invalid[InvalidReason.ABSURD_SEQUENCE] += 1
        return sighting is not Sighting.FIRST_SOUND

    # What takes figures

    def _take_end_to_end(
        self, stream: StreamAccount, event_time_ns: int | None, figure: Figure, *, live: bool
    ) -> int | None:
        """Measure the delay from the exchange, or count why not; return what a row shows.

        Of what is not live only what the clocks got wrong is counted: it may have been on its way for long.
        """
        delay_ns, validity = figure
        if delay_ns is not None and validity is _OK:
            if live:
                if event_time_ns is not None and event_time_ns % stream.step_ns:
                    stream.step_ns = finer_step_ns(stream.step_ns, event_time_ns)
                stream.end_to_end.observe(delay_ns)
                stream.end_to_end_jitter.observe(delay_ns)
                if self.figures is not None:
                    self.figures.end_to_end.record(delay_ns)
            return delay_ns
        stream.without_event_time += event_time_ns is None
        if validity is Validity.CLOCK_STEP or validity is Validity.CLOCK_DISRUPTED:
            stream.end_to_end_jitter.interrupt()
        if validity is Validity.ABSURD and not live:
            return delay_ns
        if (reason := _END_TO_END.get(validity)) is not None:
            self.invalid[reason] += 1
        return None

    def _take_delayed(self, event: LinkEvent, stamp: Stamp, *, measured: bool) -> None:
        """Count an event that waited in an outage, and measure how long it was on its way if the clocks allow that."""
        self.delayed += 1
        if not measured:
            return
        delay_ns = stamp.ns - event.receive_ns
        if (validity := possible(delay_ns)) is _OK:
            self._instruments.delayed.observe(delay_ns)
        else:
            self.invalid[_BACKBONE[validity]] += 1

    def _take_backbone(
        self, session: Hashable, stream: StreamAccount, event: LinkEvent, stamp: Stamp, kind: StampKind, figure: Figure
    ) -> int | None:
        """Measure the delay from the forwarder, or count why not; return what a row shows."""
        delay_ns, validity = figure
        if delay_ns is None:
            stream.backbone_jitter.interrupt()
            # Where our own stamp is to blame, the end-to-end figure is refused for it, and one reason counts once.
            ours_is_unfit = kind is WARMUP or kind is NO_HARDWARE
            if not (stamp.step_ns or self.disrupted or ours_is_unfit):
                self.invalid[_END_TO_END[validity]] += 1
            return None
        one_way_ns = delay_ns if event.departure_ns is None else stamp.ns - event.departure_ns
        least_ns = self._least_of_read_ns
        if least_ns is None or one_way_ns < least_ns:
            self._least_of_read_ns = one_way_ns
        if validity is not _OK:
            self.invalid[_BACKBONE[validity]] += 1
            return None
        if event.sampled:
            self._sample(session, event, stamp, kind)
            feed_ns = None if event.event_time_ns is None else event.receive_ns - event.event_time_ns
            self.tail.told(delay_ns - one_way_ns, feed_ns)
        if event.receive_ns % self.forwarder_step_ns:
            self.forwarder_step_ns = finer_step_ns(self.forwarder_step_ns, event.receive_ns)
        assert stream.backbone is not None
        stream.backbone.observe(delay_ns)
        stream.backbone_jitter.observe(delay_ns)
        if self.figures is not None:
            self.figures.backbone.record(delay_ns)
            if event.departure_ns is not None:
                self.figures.hold.record(delay_ns - one_way_ns)
                self.figures.one_way.record(one_way_ns)
        return delay_ns

    def _sample(self, session: Hashable, event: LinkEvent, stamp: Stamp, kind: StampKind) -> None:
        """Take an event whose departure is told later, if both of its arrival stamps are its own."""
        both_exact = exact(kind) and exact(event.receive_kind) and not stamp.step_ns
        if both_exact and event.departure_ns is not None and self.segments is not None:
            self._sampled.append((session, event))

    def _keep_sampled(self, stamp: Stamp) -> None:
        """Keep the stamps of the read's events whose departure is told later, now that all of it is accounted for."""
        if not self._sampled or self.segments is None:
            return
        counted_ns = self._wall_ns()
        for session, event in self._sampled:
            assert event.departure_ns is not None
            sent = (event.event_time_ns, event.receive_ns, event.departure_ns)
            self.segments.arrived(session, event.sequence, Arrived(*sent, stamp.ns, stamp.handled_ns, counted_ns))
        self._sampled.clear()

    def _stream(self, name: str) -> StreamAccount:
        """Make the account of a stream: labels are few, identities many; events beyond both bounds are only counted."""
        if len(self.streams) >= MAX_IDENTITIES:
            self.invalid[InvalidReason.TOO_MANY_STREAMS] += 1
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
