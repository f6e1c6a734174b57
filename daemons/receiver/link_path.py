"""A link path of the receiver: its listener's events and clock exchanges, brought to the path's account."""

from collections import deque
from collections.abc import Callable
from typing import Any

import structlog

from daemons.feed.binance import Decoder
from daemons.link.listener import LinkListener, ListenerSettings, SessionKey
from daemons.link.session import TimeReport
from daemons.link.wire import Ack, GaveUp, Heartbeat, Hello, Transport
from daemons.measurement.account import MAX_SESSIONS, PathAccount
from daemons.measurement.histogram import BucketHistogram
from daemons.receiver.results import clock_summary
from daemons.records import UNKNOWN_CLOCK, ClockState, FeedEvent, LinkEvent, Stamp
from daemons.timing.exchange import ClockSample
from daemons.timing.plausibility import ClockJudge

__all__ = ["LinkPathState"]

TAIL_NS = 1_000_000_000
"""A heartbeat may overtake datagrams: what it announces is only missing after so long."""


class LinkPathState:
    """What the receiver knows of a link besides its events; a :class:`~daemons.link.listener.LinkSink`.

    Args:
        account: the path's account.
        settings: of the listener.
        rtt: receives round-trip times.
        clock_state: tells this host's clock state.

    Attributes:
        peer_clock: the forwarder's clock, as it says.
        peer_drops: events that the forwarder has given up, by reason.
        suspect: why the clocks do not fit together; empty while they do.
        suspected: how often they began not to.
    """

    def __init__(
        self,
        account: PathAccount,
        settings: ListenerSettings,
        rtt: BucketHistogram,
        clock_state: Callable[[], ClockState],
    ) -> None:
        self.account = account
        self.settings = settings
        self.listener: LinkListener | None = None
        self._rtt = rtt
        self._clock_state = clock_state
        self._judge = ClockJudge()
        self._tails: dict[SessionKey, deque[tuple[int, int]]] = {}
        self._peer_steps: dict[SessionKey, int] = {}
        self._decode = Decoder().decode
        self._newest_ns: dict[SessionKey, int] = {}
        """Per session of a format without sessions, the newest stamp of its forwarder."""
        self._datagrams = Transport.UDP in settings.transports
        self._log = structlog.get_logger("link").bind(path=account.name)
        self.peer_clock = UNKNOWN_CLOCK
        self.peer_drops: dict[str, int] = {}
        self.bad_exchanges = 0
        self.suspect = ""
        self.suspected = 0

    # LinkSink

    def on_hello(self, key: SessionKey, acknowledged: int, hello: Hello | None) -> None:
        datagrams = self._datagrams if hello is None else hello.transport is Transport.UDP
        self.account.open_session(key, acknowledged, lossless=not datagrams)
        self.account.interrupt()
        self._judge.clear()
        if hello is not None:
            self.peer_clock = hello.clock
            _remember(self._peer_steps, key, hello.clock.steps)

    def on_link_events(self, key: SessionKey, events: list[LinkEvent], stamp: Stamp, *, together: bool) -> None:
        if not events[0].stream:
            events = [self._identified(event) for event in events]
            key = self._session_of(key, events[0].sequence, events[0].receive_ns)
            _remember(self._newest_ns, key, max(event.receive_ns for event in events))
        self.account.observe_link(key, events, stamp, together=together)

    def on_heartbeat(self, key: SessionKey, beat: Heartbeat, stamp: Stamp) -> None:
        self.peer_clock = beat.clock
        # Each forwarder has a clock of its own: two on one path must not be taken for one that is stepped.
        if beat.clock.steps != self._peer_steps.get(key, beat.clock.steps):
            self.on_step()
            self._log.error("the forwarder's wall clock was stepped", steps=beat.clock.steps)
        _remember(self._peer_steps, key, beat.clock.steps)
        self.peer_drops = {reason.name.lower(): count for reason, count in beat.drops.items()}
        self._announce(key, beat.highest, stamp.steady_ns)

    def on_gave_up(self, key: SessionKey, gave_up: GaveUp, stamp: Stamp) -> None:
        for first, last in gave_up.ranges:
            self.account.give_up(key, first, last, stamp.steady_ns)

    def on_bye(self, key: SessionKey, highest: int) -> None:
        tracker = self.account.sessions.get(key)
        if tracker is not None:
            self._announce(key, highest, 0)

    def on_time(self, key: SessionKey, report: TimeReport) -> None:
        if report.sample is None:
            self.bad_exchanges += 1
            return
        self._rtt.observe(report.sample.rtt_ns)
        if self.account.figures is not None:
            self.account.figures.rtt.record(report.sample.rtt_ns)
        self._weigh(report.sample)

    def progress(self, key: SessionKey) -> Ack:
        tracker = self.account.sessions.get(key)
        return Ack(0, 0, 0) if tracker is None else Ack(tracker.highest, tracker.unique, tracker.missing)

    # Own

    @property
    def exchange(self) -> ClockSample | None:
        """The best clock exchange of the window: the forwarder's clock minus ours, true to half its RTT."""
        return self._judge.best

    def on_step(self) -> None:
        """Forget what was learnt of the clocks: one of them was stepped."""
        self._judge.clear()
        self.account.least_backbone_ns = None

    def expire(self, now_ns: int) -> None:
        """Take in announcements whose events have had time to come."""
        for key, tails in self._tails.items():
            while tails and now_ns - tails[0][0] >= TAIL_NS:
                self.account.announce(key, tails.popleft()[1], now_ns)

    def finish(self) -> None:
        """Take in all announcements: nothing more will come."""
        for key, tails in self._tails.items():
            for _said_ns, highest in tails:
                self.account.announce(key, highest, 0)
            tails.clear()

    def summary(self) -> dict[str, Any]:
        """Return what the run's summary says of the link."""
        best = self.exchange
        clock = self.peer_clock
        return {
            "clock_offset_ms": None if best is None else best.offset_ns / 1e6,
            "clock_offset_error_ms": None if best is None else best.rtt_ns / 2e6,
            "clock_suspect": self.suspect or None,
            "peer_clock": clock_summary(clock),
            "peer_drops": self.peer_drops,
        }

    def _announce(self, key: SessionKey, highest: int, now_ns: int) -> None:
        if not self._datagrams:
            # TCP keeps order: what was sent before the heartbeat and did not come will not come.
            self.account.announce(key, highest, now_ns)
            return
        if key not in self._tails and len(self._tails) >= MAX_SESSIONS:
            self._tails.pop(next(iter(self._tails)))
        self._tails.setdefault(key, deque()).append((now_ns, highest))

    def _identified(self, event: LinkEvent) -> LinkEvent:
        """Fill in what the original programs' format leaves out, from the exchange's message itself."""
        found = self._decode(event.payload)
        if isinstance(found, FeedEvent):
            event.stream, event.event_id = found.stream, found.event_id
        else:
            event.stream = "unknown"
        return event

    def _session_of(self, source: SessionKey, sequence: int, receive_ns: int) -> SessionKey:
        """Tell which life of a forwarder an event belongs to, where the format does not say.

        One of the first numbers, come again with a newer stamp of the forwarder, means a restart, for a late or
        repeated event has its old stamp; so do numbers that start over by far. A new source that goes on counting is
        the same forwarder on a new connection.
        """
        sessions = self.account.sessions
        latest = next(reversed(sessions), None)
        if latest is None:
            self.account.open_session(source, _base(sequence))
            return source
        base = f"{source}#"
        mine = [key for key in sessions if key == source or str(key).startswith(base)]
        key = mine[-1] if mine else latest
        assert isinstance(key, int | str)
        highest = sessions[key].highest
        again = 0 <= sequence <= min(highest, JOINED)
        began_anew = again and receive_ns > self._newest_ns.get(key, receive_ns) + RESTART_NS
        if not began_anew and ((mine and sequence > highest - RESTART_WINDOW) or (not mine and sequence > highest)):
            return key
        fresh = f"{base}{self.account.sessions_seen}" if mine else source
        self.account.open_session(fresh, _base(sequence))
        self._log.info("forwarder restarted", source=source, sequence=sequence)
        return fresh

    def _weigh(self, sample: ClockSample) -> None:
        """See whether the clocks fit together; see docs/measurement.md for the three rules."""
        least_ns, self.account.least_backbone_ns = self.account.least_backbone_ns, None
        verdict = self._judge.judge(sample, least_ns, self._clock_state(), self.peer_clock)
        best = self._judge.best
        if verdict and not self.suspect:
            assert best is not None
            self.suspected += 1
            self._log.warning(
                "clocks do not fit together",
                why=verdict,
                offset_ms=best.offset_ns / 1e6,
                rtt_ms=best.rtt_ns / 1e6,
                remedy="check chrony on both hosts; race results are not affected",
            )
        self.suspect = verdict


def _remember(values: dict[SessionKey, int], key: SessionKey, value: int) -> None:
    """Keep a value of a session; of no more sessions than are accounted for, as anybody may send datagrams."""
    values[key] = value
    if len(values) > MAX_SESSIONS:
        del values[next(iter(values))]


def _base(first: int) -> int:
    """Guess where a session began whose first arrival is this number.

    Numbers begin at 1 (some programs: at 0); a first arrival close to that is the start seen out of order, one further
    on is a session joined on its way.
    """
    return first - 1 if first > JOINED or first == 0 else 0


JOINED = 16
RESTART_NS = 100_000_000
"""How much newer than all before the stamp of one of the first numbers must be: no program restarts faster."""
RESTART_WINDOW = 65_536
"""How far behind the highest a number may be and still be a late arrival rather than a restart."""
