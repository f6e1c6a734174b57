"""The exchange at work: events on their grid to the near endpoint, and the same bytes, later, to the far one."""

import asyncio
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from daemons.simulator.alarm import Alarm
from daemons.simulator.endpoint import Emission
from daemons.simulator.faults import Faults
from daemons.simulator.market import Event, Market, Message
from daemons.simulator.schedule import Jitter

__all__ = ["Exchange", "Outlet"]

BATCH_EVENTS = 32
"""At most so many events are made before what is due is written: a backlog must not delay the far endpoint."""

LATE_NS = 1_000_000


@dataclass(frozen=True, slots=True)
class Outlet:
    """Where messages go: an endpoint's two verbs."""

    publish: Callable[[Emission], None]
    flush: Callable[[], None]


@dataclass(slots=True)
class _StreamTotals:
    events: int = 0
    first_id: int | None = None
    last_id: int | None = None
    skipped_ids: int = 0


class Exchange:
    """Emits events when they are due.

    Args:
        market: makes the events.
        faults: decides what goes wrong.
        offsets: when each event is due, in ns from the start.
        near: gets every message at its emission.
        far: gets the same bytes after the delay; None for no such endpoint.
        delay_ns: mean delay of the far endpoint.
        jitter: what is added to it.
        stop_after: emit so many events, then rest; None for no end.

    Attributes:
        events: how many were emitted so far.
    """

    def __init__(
        self,
        market: Market,
        faults: Faults,
        offsets: Iterator[int],
        near: Outlet,
        far: Outlet | None,
        delay_ns: int,
        jitter: Jitter,
        stop_after: int | None = None,
    ) -> None:
        self._market = market
        self._faults = faults
        self._offsets = offsets
        self._near = near
        self._far = far
        self._delay_ns = delay_ns
        self._jitter = jitter
        self._stop_after = stop_after
        self._alarm: Alarm | None = None
        self._start_ns = 0
        self._due_ns: int | None = None
        self._in_flight: deque[tuple[int, Emission]] = deque()
        self.events = 0
        self._malformed: Counter[str] = Counter()
        self._streams: dict[str, _StreamTotals] = {}
        self._late = 0
        self._latest_ns = 0

    def start(self) -> None:
        """Begin now; call in a running event loop."""
        self._alarm = Alarm(asyncio.get_running_loop(), self._tick)
        self._start_ns = time.monotonic_ns()
        self._schedule()
        self._rest()

    def stop(self) -> None:
        """Emit nothing more; what is still on its way to the far endpoint is left in the totals."""
        if self._alarm is not None:
            self._alarm.close()

    def totals(self) -> dict[str, Any]:
        """Return what was emitted so far.

        ``late_events`` were emitted more than 1 ms after their instant on the grid: the host was too slow or too
        busy for the rate asked for.
        """
        return {
            "events": self.events,
            "streams": {
                name: {
                    "events": totals.events,
                    "first_id": totals.first_id,
                    "last_id": totals.last_id,
                    "skipped_ids": totals.skipped_ids,
                }
                for name, totals in sorted(self._streams.items())
            },
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

    def _tick(self) -> None:
        self._deliver(time.monotonic_ns())
        self._emit(time.monotonic_ns())
        self._rest()

    def _rest(self) -> None:
        """Sleep until the next thing is due."""
        wake_ns = self._due_ns
        if self._in_flight and (wake_ns is None or self._in_flight[0][0] < wake_ns):
            wake_ns = self._in_flight[0][0]
        if wake_ns is not None:
            assert self._alarm is not None
            self._alarm.set(wake_ns)

    def _deliver(self, now_ns: int) -> None:
        if self._far is None or not self._in_flight or self._in_flight[0][0] > now_ns:
            return
        while self._in_flight and self._in_flight[0][0] <= now_ns:
            self._far.publish(self._in_flight.popleft()[1])
        self._far.flush()

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
            self._near.flush()

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
        emission = Emission(message, time.time_ns())
        sent_ns = time.monotonic_ns()
        self._near.publish(emission)
        if self._far is not None:
            delay_ns = max(0, self._delay_ns + self._jitter.at(sent_ns - self._start_ns))
            due_ns = sent_ns + delay_ns
            if self._in_flight:
                due_ns = max(due_ns, self._in_flight[-1][0])
            self._in_flight.append((due_ns, emission))
