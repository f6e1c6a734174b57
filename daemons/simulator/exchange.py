"""The exchange at work: events on their grid, to the near endpoint at once and to the far one later. Sans-I/O."""

from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from daemons.simulator.emission import Emission
from daemons.simulator.faults import Faults
from daemons.simulator.market import Event, Market, Message
from daemons.simulator.schedule import Jitter
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
    """The way to the far endpoint: its mean delay, and the jitter around it."""

    outlet: Outlet
    delay_ns: int
    jitter: Jitter


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
        far: gets the same bytes later; None for no such endpoint.
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
        far: FarPath | None,
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
        self._in_flight: deque[tuple[int, Emission]] = deque()
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
        # The far endpoint first: its delay is a promise, while an event's time is taken when it is emitted.
        self._deliver(self._clock.monotonic_ns())
        self._emit(self._clock.monotonic_ns())
        arrival_ns = self._in_flight[0][0] if self._in_flight else None
        if self._due_ns is None or arrival_ns is None:
            return self._due_ns if arrival_ns is None else arrival_ns
        return min(self._due_ns, arrival_ns)

    def totals(self) -> dict[str, Any]:
        """Return what was emitted so far.

        ``late_events`` were emitted more than 1 ms after their instant on the grid: the host was too slow or too
        busy for the rate asked for. ``far_undelivered`` messages are still on their way.
        """
        return {
            "events": self.events,
            "streams": {name: asdict(totals) for name, totals in sorted(self._streams.items())},
            "malformed": dict(self._malformed),
            "far_undelivered": len(self._in_flight),
            "late_events": self._late,
            "latest_ms": round(self._latest_ns / 1e6, 3),
        }

    def _schedule(self) -> None:
        if self._stop_after is not None and self.events >= self._stop_after:
            self._due_ns = None
        else:
            self._due_ns = self._start_ns + next(self._offsets)

    def _deliver(self, now_ns: int) -> None:
        if self._far is None or not self._in_flight or self._in_flight[0][0] > now_ns:
            return
        while self._in_flight and self._in_flight[0][0] <= now_ns:
            self._far.outlet.publish(self._in_flight.popleft()[1])
        self._far.outlet.flush()

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
        if self._far is not None:
            sent_ns = self._clock.monotonic_ns()
            delay_ns = self._far.delay_ns + self._far.jitter.at(sent_ns - self._start_ns)
            arrival_ns = sent_ns + max(0, delay_ns)
            if self._in_flight:
                arrival_ns = max(arrival_ns, self._in_flight[-1][0])
            self._in_flight.append((arrival_ns, emission))
