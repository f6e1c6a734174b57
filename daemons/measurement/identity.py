"""What one stream's ids say on one path: new, seen before, lost in between, or begun anew by the exchange.

Three kinds of ids, see :class:`daemons.records.Numbering`: contiguous ones (trades), whose holes are so many losses;
chained ones (depth), where a hole is a loss of unknown size; and those that only increase (bookTicker), of which one
that does not advance is a repetition. All can start over: a test network is reset, a symbol moves to another engine. An
id that came before does then belong to a new event, which its event time shows: a copy carries the time of the
original, and a new event a later one.
"""

from enum import Enum
from typing import Final

from daemons.measurement.chain import ChainTracker
from daemons.measurement.sequence import Outcome, SequenceTracker, Tally
from daemons.records import Numbering

__all__ = ["MAX_JUMP", "IdAccount", "Sighting", "confirms"]

MAX_JUMP: Final = 1_000_000_000
"""An id or sequence that leaps further is nonsense, unless the next one confirms it."""
FAR: Final = 10_000
"""No late copy is so many ids old while its stream is live."""
NEAR_RESET_NS: Final = 1_000_000_000
"""How much later than the newest event one with a slightly lower id must be to begin a new numbering."""
TIMELESS_RUN: Final = 16
"""So many ids in a row, each far behind the newest and above the last, begin a new numbering where no time says so."""


class Sighting(Enum):
    """What an event's id says of it."""

    NEW = "new"
    REPEATED = "repeated"
    """This path brought it before, or it is too old to tell."""
    FIRST_SOUND = "first_sound"
    """New, and what came before it was nonsense."""
    ABSURD = "absurd"
    """Its id cannot be reached from those before it."""


_NEW: Final = Sighting.NEW
_REPEATED: Final = Sighting.REPEATED
_CONTIGUOUS: Final = Numbering.CONTIGUOUS
_CHAINED: Final = Numbering.CHAINED


def confirms(number: int, before: int | None) -> bool:
    """Say whether a number that cannot be reached follows another such one: then the numbering has moved there.

    It need not be close by: those of futures are one count for all symbols, and a quiet one's move far between events.

    Args:
        number: the number.
        before: the one before it that could not be reached; None if there was none.
    """
    return before is not None and 0 < number - before <= MAX_JUMP


class IdAccount:
    """Accounts for the ids of one symbol of one stream on one path.

    Args:
        numbering: how ids follow each other.

    Attributes:
        tracker: of the present numbering; None before its first event, and where ids only increase.
        closed: sums over the numberings before it.
        repeated: repetitions where ids only increase; else the trackers count them.
        resets: how often the exchange began its ids anew.
        leaps: how often the numbering moved further ahead than can be told from nonsense by one event.
        absurd: events whose id could not be reached.
    """

    __slots__ = (
        "_behind",
        "_behind_run",
        "_former_end",
        "_newest_event_ns",
        "_numbering",
        "_rejoined",
        "_reset_event_ns",
        "_unreachable",
        "absurd",
        "closed",
        "highest",
        "leaps",
        "repeated",
        "resets",
        "tracker",
    )

    def __init__(self, numbering: Numbering) -> None:
        self._numbering = numbering
        self.tracker: SequenceTracker | ChainTracker | None = None
        self.closed = Tally()
        self.highest: int | None = None
        self.repeated = 0
        self.resets = 0
        self.leaps = 0
        self.absurd = 0
        self._newest_event_ns = 0
        self._rejoined = False
        self._unreachable: int | None = None
        self._behind = 0
        self._behind_run = 0
        self._former_end = 0
        self._reset_event_ns = 0

    @property
    def trackers(self) -> tuple[Tally, ...]:
        """All that is counted of ids whose holes are losses."""
        return (self.closed,) if self.tracker is None else (self.closed, self.tracker)

    def rejoin(self) -> None:
        """Note that the stream was subscribed to anew: what comes next need not continue what came before."""
        self._rejoined = True

    def observe(self, last: int, previous: int | None, event_time_ns: int | None, now_ns: int) -> Sighting:
        """Account for an event.

        Args:
            last: its id; of a range the last.
            previous: the id that it follows; None where ids only increase.
            event_time_ns: the exchange's event time, if any.
            now_ns: time of arrival on any steady scale.
        """
        highest = self.highest
        if highest is None:
            return self._begin(last, previous, event_time_ns, now_ns)
        if 0 < last - highest <= MAX_JUMP and last > self._former_end:
            # What nearly every event is: the next one. In one piece, for every event of a feed passes here.
            self.highest = last
            self._rejoined = False
            self._behind_run = 0
            if event_time_ns is not None and event_time_ns > self._newest_event_ns:
                self._newest_event_ns = event_time_ns
            if self.tracker is not None:
                self._place(last, previous, now_ns)
            return _NEW
        if last > highest:
            if last - highest > MAX_JUMP:
                return self._unreached(last, previous, event_time_ns, now_ns)
            if last <= self._former_end and event_time_ns is not None and event_time_ns < self._reset_event_ns:
                # A late copy of before the reset: not a leap of the new numbering.
                self.repeated += 1
                return _REPEATED
        elif highest - last > MAX_JUMP:
            # The nonsense came first: what follows must not be stale for ever.
            self.absurd += 1
            self._close()
            self._begin(last, previous, event_time_ns, now_ns)
            return Sighting.FIRST_SOUND
        elif self._has_begun_anew(last, highest, event_time_ns):
            self.resets += 1
            self._former_end = max(self._former_end, highest)
            self._reset_event_ns = event_time_ns or 0
            self._close()
            return self._begin(last, previous, event_time_ns, now_ns)
        return self._count(last, previous, event_time_ns, now_ns)

    def _count(self, last: int, previous: int | None, event_time_ns: int | None, now_ns: int) -> Sighting:
        highest = self.highest
        assert highest is not None
        if last > highest:
            self.highest = last
            self._rejoined = False
            self._behind_run = 0
            if event_time_ns is not None and event_time_ns > self._newest_event_ns:
                # Of new ids alone: one that came before must not move the time by which a new numbering is known.
                self._newest_event_ns = event_time_ns
        if self.tracker is not None:
            outcome = self._place(last, previous, now_ns)
            return _REPEATED if outcome is Outcome.DUPLICATE or outcome is Outcome.STALE else _NEW
        if last > highest:
            return _NEW
        self.repeated += 1
        return _REPEATED

    def _begin(self, last: int, previous: int | None, event_time_ns: int | None, now_ns: int) -> Sighting:
        self.highest = last - 1
        if self._numbering is _CONTIGUOUS:
            self.tracker = SequenceTracker(last - 1)
        elif self._numbering is _CHAINED:
            self.tracker = ChainTracker(last - 1 if previous is None else previous)
        return self._count(last, previous, event_time_ns, now_ns)

    def _place(self, last: int, previous: int | None, now_ns: int) -> Outcome:
        tracker = self.tracker
        if type(tracker) is ChainTracker:
            return tracker.observe(last - 1 if previous is None else previous, last, now_ns)
        assert type(tracker) is SequenceTracker
        return tracker.observe(last, now_ns)

    def _close(self) -> None:
        if self.tracker is not None:
            self.tracker.finish()
            self.closed.add(self.tracker)
            self.tracker = None
        self._newest_event_ns = 0
        self._unreachable = None
        self._behind_run = 0

    def _has_begun_anew(self, last: int, highest: int, event_time_ns: int | None) -> bool:
        far = highest - last > FAR
        if event_time_ns is not None:
            return event_time_ns > self._newest_event_ns + (0 if far else NEAR_RESET_NS)
        if not far:
            return False
        self._behind_run = self._behind_run + 1 if self._behind_run and last > self._behind else 1
        self._behind = last
        return self._rejoined or self._behind_run >= TIMELESS_RUN

    def _unreached(self, last: int, previous: int | None, event_time_ns: int | None, now_ns: int) -> Sighting:
        chained = self._numbering is _CHAINED
        if chained and previous == self.highest:
            # However far: the ids of futures are one count for all symbols, and this one was quiet.
            return self._count(last, previous, event_time_ns, now_ns)
        before, self._unreachable = self._unreachable, last
        if not (confirms(last, before) or (chained and previous == before)):
            self.absurd += 1
            return Sighting.ABSURD
        # Two in a row: an outage has lasted for longer than ids can be followed. What it lost cannot be told.
        self.leaps += 1
        self._close()
        return self._begin(last, previous, event_time_ns, now_ns)
