"""What is known of one path: every event that arrived on it, accounted for and measured.

Each event is counted once, checked, and measured as far as it can be: end to end (exchange to arrival here),
over the backbone (arrival at the forwarder to arrival here), and against the other paths in the race. What cannot be
measured is counted under a reason and stays out of the histograms.
"""

from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Final

from daemons.measurement.figures import Figures, Instruments, Row
from daemons.measurement.histogram import BucketHistogram
from daemons.measurement.jitter import InterarrivalJitter
from daemons.measurement.race import RaceTable
from daemons.measurement.sequence import Outcome, SequenceTracker
from daemons.records import WARMUP, FeedEvent, LinkEvent, Stamp, StampKind, Validity, shared

__all__ = [
    "INVALID_REASONS",
    "PathAccount",
    "StreamAccount",
]

ABSURD_NS: Final = 3_600_000_000_000
"""No path takes an hour: such a delay is a clock or a unit gone wrong."""

MAX_STREAMS: Final = 256
OTHER_STREAM: Final = "other"
MAX_SESSIONS: Final = 16

INVALID_REASONS = (
    "negative_end_to_end",
    "absurd_end_to_end",
    "negative_backbone",
    "absurd_backbone",
    "clock_step",
    "warmup",
    "absurd_sequence",
)
"""Why a figure of an event was refused; a feed's or listener's own reasons are counted beside them."""

MAX_JUMP: Final = 1_000_000_000
"""A sequence that leaps further is not a gap but nonsense."""

_OK: Final = Validity.OK
_DUPLICATE: Final = Outcome.DUPLICATE
_STALE: Final = Outcome.STALE


class StreamAccount:
    """One stream on one path."""

    __slots__ = (
        "backbone",
        "backbone_jitter",
        "end_to_end",
        "end_to_end_jitter",
        "events",
        "ids",
        "last_id",
        "name",
        "without_event_time",
    )

    def __init__(self, name: str, end_to_end: BucketHistogram, backbone: BucketHistogram | None) -> None:
        self.name = name
        self.events = 0
        self.without_event_time = 0
        self.end_to_end = end_to_end
        self.backbone = backbone
        self.end_to_end_jitter = InterarrivalJitter()
        self.backbone_jitter = InterarrivalJitter()
        self.ids: SequenceTracker | None = None
        self.last_id = -1


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

    Attributes:
        events: all arrivals, duplicates included.
        delayed: events that waited in an outage.
        invalid: figures refused, by reason.
        stamps: events by the kind of their arrival stamp.
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
    ) -> None:
        self.name = name
        self.index = index
        self.is_link = link
        self._instruments = instruments
        self._race = race
        self.figures = figures
        self._row = row
        self.streams: dict[str, StreamAccount] = {}
        self.sessions: dict[Hashable, SequenceTracker] = {}
        self.sessions_seen = 0
        self._closed = SequenceTracker()
        self.events = 0
        self.delayed = 0
        self.repeated_ids = 0
        self.invalid = dict.fromkeys(INVALID_REASONS, 0)
        self.stamps = dict.fromkeys(StampKind, 0)
        self.last_event_ns = 0
        self.least_backbone_ns: int | None = None
        """Least one-way delay since this was last set to None, for the plausibility check against the RTT."""

    # Sequences

    def open_session(self, key: Hashable, base: int) -> SequenceTracker:
        """Return the account of a session, begun after ``base`` if it is new."""
        tracker = self.sessions.get(key)
        if tracker is None:
            while len(self.sessions) >= MAX_SESSIONS:
                self._fold(self.sessions.pop(next(iter(self.sessions))))
            tracker = self.sessions[key] = SequenceTracker(base)
            self.sessions_seen += 1
        return tracker

    def announce(self, key: Hashable, highest: int, now_ns: int) -> None:
        """Take in that a session has sent up to ``highest``."""
        tracker = self.sessions.get(key)
        if tracker is not None and highest - tracker.highest <= MAX_JUMP:
            tracker.announce(highest, now_ns)

    def expire(self, now_ns: int) -> int:
        """Declare lost what has been missing long enough; return how many events that was."""
        lost = sum(tracker.expire(now_ns) for tracker in self.sessions.values())
        return lost + sum(stream.ids.expire(now_ns) for stream in self.streams.values() if stream.ids is not None)

    def finish(self) -> None:
        """Declare lost all that is missing: the run is over."""
        for tracker in self._trackers():
            tracker.finish()

    def interrupt(self) -> None:
        """Note that the next event does not succeed the last (a reconnect): jitter starts anew."""
        for stream in self.streams.values():
            stream.end_to_end_jitter.interrupt()
            stream.backbone_jitter.interrupt()

    def total(self, attribute: str) -> int:
        """Sum one counter of :class:`SequenceTracker` over all sessions, or streams of contiguous ids, ever seen."""
        return sum(getattr(tracker, attribute) for tracker in (self._closed, *self._trackers()))

    @property
    def duplicates(self) -> int:
        """Events that this path brought again."""
        return self.total("duplicates") + self.repeated_ids

    def _trackers(self) -> list[SequenceTracker]:
        ids = [stream.ids for stream in self.streams.values() if stream.ids is not None]
        return [*self.sessions.values(), *ids]

    def _fold(self, tracker: SequenceTracker) -> None:
        tracker.finish()
        for name in ("unique", "missing", "duplicates", "reordered", "stale", "gaps", "gap_events", "late"):
            setattr(self._closed, name, getattr(self._closed, name) + getattr(tracker, name))

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
            duplicate = event.event_id is not None and self._seen(stream, event, stamp.steady_ns)
            end_to_end_ns, validity = self._end_to_end(stream, event.event_time_ns, stamp, kind, duplicate=duplicate)
            if not duplicate and self._race is not None and event.event_id is not None:
                self._race.observe((stream.name, event.event_id), self.index, stamp.steady_ns, live=not stamp.step_ns)
            if self._row is not None:
                self._row(
                    Row(
                        path=self.name,
                        stream=stream.name,
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
        last = len(events) - 1
        early = stamp.kind if together else shared(stamp.kind)
        for index, event in enumerate(events):
            if event.sequence - tracker.highest > MAX_JUMP:
                self.invalid["absurd_sequence"] += 1
                continue
            kind = stamp.kind if index == last else early
            stream = self.streams.get(event.stream) or self._stream(event.stream)
            self._count(stream, stamp, kind)
            outcome = tracker.observe(event.sequence, stamp.steady_ns)
            duplicate = outcome is _DUPLICATE or outcome is _STALE
            live = not (duplicate or event.delayed)
            if event.delayed and not duplicate:
                self.delayed += 1
                if not stamp.step_ns and self._judge(stamp.ns - event.receive_ns) is _OK:
                    self._instruments.delayed.observe(stamp.ns - event.receive_ns)
            end_to_end_ns, validity = self._end_to_end(stream, event.event_time_ns, stamp, kind, duplicate=not live)
            backbone_ns, backbone_validity = self._backbone(stream, event, stamp, kind) if live else (None, _OK)
            if not duplicate and self._race is not None and event.event_id is not None:
                self._race.observe(
                    (stream.name, event.event_id), self.index, stamp.steady_ns, live=live and not stamp.step_ns
                )
            if self._row is not None:
                if duplicate or event.delayed:
                    validity = outcome.value if duplicate else Validity.DELAYED
                elif backbone_validity is not _OK:
                    validity = backbone_validity
                self._row(
                    Row(
                        path=self.name,
                        stream=stream.name,
                        sequence=event.sequence,
                        event_id=event.event_id,
                        event_time_ns=event.event_time_ns,
                        forwarder_ns=event.receive_ns,
                        departure_ns=event.departure_ns,
                        arrival_ns=stamp.ns,
                        end_to_end_ns=end_to_end_ns,
                        backbone_ns=backbone_ns,
                        stamp=kind,
                        validity=validity,
                        delayed=event.delayed,
                    )
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

    def _seen(self, stream: StreamAccount, event: FeedEvent, now_ns: int) -> bool:
        """Account for an event's id; return whether this path brought it before."""
        assert event.event_id is not None
        assert event.first_id is not None
        if not event.contiguous:
            # Ids that leap say nothing of gaps, but one that does not advance is a repetition.
            repeated = event.event_id <= stream.last_id
            stream.last_id = max(stream.last_id, event.event_id)
            self.repeated_ids += repeated
            return repeated
        tracker = stream.ids
        if tracker is None:
            tracker = stream.ids = SequenceTracker(event.first_id - 1)
        elif event.event_id - tracker.highest > MAX_JUMP:
            self.invalid["absurd_sequence"] += 1
            return True
        elif tracker.highest - event.event_id > MAX_JUMP:
            # The nonsense came first: what follows must not be stale for ever.
            self.invalid["absurd_sequence"] += 1
            self._fold(tracker)
            tracker = stream.ids = SequenceTracker(event.first_id - 1)
        outcome = tracker.observe(event.event_id, now_ns, event.first_id)
        return outcome is _DUPLICATE or outcome is _STALE

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
        stream.end_to_end.observe(figure_ns)
        stream.end_to_end_jitter.observe(figure_ns)
        if self.figures is not None:
            self.figures.end_to_end.record(figure_ns)
            self.figures.end_to_end_jitter.observe(figure_ns)
        return figure_ns, _OK

    def _backbone(
        self, stream: StreamAccount, event: LinkEvent, stamp: Stamp, kind: StampKind
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
        if self.least_backbone_ns is None or one_way_ns < self.least_backbone_ns:
            self.least_backbone_ns = one_way_ns
        if (validity := self._judge(figure_ns)) is not _OK:
            return None, validity
        assert stream.backbone is not None
        stream.backbone.observe(figure_ns)
        stream.backbone_jitter.observe(figure_ns)
        if self.figures is not None:
            self.figures.backbone.record(figure_ns)
            if event.departure_ns is not None:
                self.figures.hold.record(figure_ns - one_way_ns)
                self.figures.one_way.record(one_way_ns)
            self.figures.backbone_jitter.observe(figure_ns)
        return figure_ns, _OK

    def _judge(self, backbone_ns: int) -> Validity:
        """Say whether a path can have such a delay; count it if not."""
        if 0 <= backbone_ns <= ABSURD_NS:
            return _OK
        validity = Validity.NEGATIVE if backbone_ns < 0 else Validity.ABSURD
        self.invalid[f"{validity}_backbone"] += 1
        return validity

    def _stream(self, name: str) -> StreamAccount:
        """Make the account of a stream; past the bound, streams share one, so that labels stay few."""
        if len(self.streams) >= MAX_STREAMS:
            name = OTHER_STREAM
            if name in self.streams:
                return self.streams[name]
        made = StreamAccount(
            name,
            self._instruments.end_to_end(name),
            self._instruments.backbone(name) if self.is_link else None,
        )
        self.streams[name] = made
        return made
