"""The exchange at work: events on their grid, to the near endpoint at once, to far ones and doors later. Sans-I/O."""

from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from daemons.simulator.emission import Emission
from daemons.simulator.faults import Faults
from daemons.simulator.market import Event, Market, Message
from daemons.simulator.schedule import Drift, Jitter
from daemons.timing.clock import Clock

__all__ = ["BATCH_EVENTS", "Exchange", "FarPath", "Outlet"]

BATCH_EVENTS = 32
"""At most so many events are made before what is due is written: a backlog must not delay the far endpoint."""

LATE_NS = 1_000_000


@dataclass(frozen=True, slots=True)
class Outlet:
    """Where messages go: an endpoint's two verbs."""

    publish: Callable[[Emission], None]
    flush: Callable[[], None]


@dataclass(frozen=True, slots=True)
class FarPath:
    """The way to a far endpoint or a door: its mean delay, the jitter and drift around it, and what is under way."""

    outlet: Outlet
    delay_ns: int
    jitter: Jitter
    drift: Drift | None = None
    in_flight: deque[tuple[int, Emission]] = field(default_factory=deque)

    def send(self, emission: Emission, sent_ns: int, offset_ns: int) -> None:
        """Let a message set out, so many ns after the start; none overtakes another."""
        delay_ns = self.delay_ns + self.jitter.at(offset_ns)
        if self.drift is not None:
            delay_ns += self.drift.at(offset_ns)
        arrival_ns = sent_ns + max(0, delay_ns)
        if self.in_flight:
            arrival_ns = max(arrival_ns, self.in_flight[-1][0])
        self.in_flight.append((arrival_ns, emission))

    def deliver(self, now_ns: int) -> None:
        """Hand over what has arrived."""
        if not self.in_flight or self.in_flight[0][0] > now_ns:
            return
        while self.in_flight and self.in_flight[0][0] <= now_ns:
            self.outlet.publish(self.in_flight.popleft()[1])
        self.outlet.flush()


@dataclass(slots=True)
class _StreamTotals:
    events: int = 0
    first_id: int | None = None
    last_id: int | None = None
    skipped_ids: int = 0


class Exchange:
    """Emits events when they are due. Call :meth:`start` once, then :meth:`tick` whenever the time it named has come.

    Args:
        market: makes the events.
        faults: decides what goes wrong.
        offsets: when each event is due, in ns from the start.
        near: get every message at its emission.
        far: each gets the same bytes later.
        clock: tells the time.
        stop_after: emit so many events, then rest; None for no end.

    Attributes:
        events: how many were emitted so far.
    """

    def __init__(
        self,
        market: Market,
        faults: Faults,
        offsets: Iterator[int],
        near: Sequence[Outlet],
        far: Sequence[FarPath],
        clock: Clock,
        stop_after: int | None = None,
    ) -> None:
        self.events = 0
        self._market = market
        self._faults = faults
        self._offsets = offsets
        self._near = near
        self._far = far
        self._clock = clock
        self._stop_after = stop_after
        self._start_ns = 0
        self._due_ns: int | None = None
        self._malformed: Counter[str] = Counter()
        self._streams: dict[str, _StreamTotals] = {}
        self._late = 0
        self._latest_ns = 0

    def start(self) -> int | None:
        """Begin now; return when to tick first, as :meth:`tick` does."""
        self._start_ns = self._clock.monotonic_ns()
        self._schedule()
        return self._due_ns

    def tick(self) -> int | None:
        """Emit and deliver what is due.

        Returns:
            The monotonic time in ns at which to tick again, past when there is a backlog; None when all is done.
        """
        # The far endpoints first: their delay is a promise, while an event's time is taken when it is emitted.
        # In the order in which it is due: after a late wake-up no endpoint is ahead for standing first in a list.
        for path in sorted((path for path in self._far if path.in_flight), key=lambda path: path.in_flight[0][0]):
            path.deliver(self._clock.monotonic_ns())
        self._emit(self._clock.monotonic_ns())
        due = [path.in_flight[0][0] for path in self._far if path.in_flight]
        return min(due if self._due_ns is None else [self._due_ns, *due], default=None)

    def totals(self) -> dict[str, Any]:
        """Return what was emitted so far.

        ``late_events`` were emitted more than 1 ms after their instant on the grid: the host was too slow or too
        busy for the rate asked for. ``far_undelivered`` messages are still on their way to far endpoints and doors.
        """
        return {
            "events": self.events,
            "streams": {name: asdict(totals) for name, totals in sorted(self._streams.items())},
            "malformed": dict(self._malformed),
            "far_undelivered": sum(len(path.in_flight) for path in self._far),
            "late_events": self._late,
            "latest_ms": round(self._latest_ns / 1e6, 3),
        }

    def _schedule(self) -> None:
        if self._stop_after is not None and self.events >= self._stop_after:
            self._due_ns = None
        else:
            self._due_ns = self._start_ns + next(self._offsets)

    def _emit(self, now_ns: int) -> None:
        batch = 0
        while self._due_ns is not None and self._due_ns <= now_ns and batch < BATCH_EVENTS:
            late_ns = now_ns - self._due_ns
            if late_ns > LATE_NS:
                self._late += 1
                self._latest_ns = max(self._latest_ns, late_ns)
            event = self._next_event()
            self._send(event)
            malformed = self._faults.malformed_after(self.events, event)
            if malformed is not None:
                self._malformed[malformed.kind] += 1
                self._send(malformed)
            self._schedule()
            batch += 1
        if batch:
            for outlet in self._near:
                outlet.flush()

    def _next_event(self) -> Event:
        self.events += 1
        skipped = self._faults.skipped_ids(self.events)
        event = self._market.next_event(skipped)
        totals = self._streams.setdefault(event.stream, _StreamTotals())
        totals.events += 1
        totals.skipped_ids += skipped
        totals.last_id = event.last_id
        if totals.first_id is None:
            totals.first_id = event.first_id
        return event

    def _send(self, message: Message) -> None:
        emission = Emission(message, self._clock.wall_ns())
        for outlet in self._near:
            outlet.publish(emission)
        sent_ns = self._clock.monotonic_ns()
        for path in self._far:
            path.send(emission, sent_ns, sent_ns - self._start_ns)
