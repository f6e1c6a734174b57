"""What the receiver knows of a link path's forwarders; their events and clock exchanges, brought to its account."""

from collections import Counter
from collections.abc import Callable, Sequence

import structlog

from daemons.feed.binance import Decoder
from daemons.formats.summary import Distribution, LinkSummary
from daemons.link.messages import Ack, Departures, GaveUp, Heartbeat, Hello, Transport
from daemons.link.receiving.settings import ListenerSettings
from daemons.link.receiving.sink import SessionKey
from daemons.link.session import TimeReport
from daemons.measurement.account import PathAccount
from daemons.measurement.histogram import BucketHistogram
from daemons.receiver.peer import Peer, least_trusted
from daemons.receiver.results import clock_summary
from daemons.records import UNKNOWN_CLOCK, ClockState, FeedEvent, LinkEvent, Stamp
from daemons.timing.exchange import ClockSample

__all__ = ["Forwarders"]

TAIL_NS = 1_000_000_000
"""A heartbeat may overtake datagrams: what it announces is only missing after so long."""


class Forwarders:
    """All forwarders of a path; a :class:`~daemons.link.receiving.sink.LinkSink`.

    Args:
        account: the path's account.
        settings: of the listener.
        rtt: receives round-trip times.
        clock_state: tells this host's clock state.
    """

    def __init__(
        self,
        account: PathAccount,
        settings: ListenerSettings,
        rtt: BucketHistogram,
        clock_state: Callable[[], ClockState],
    ) -> None:
        self.account = account
        self._rtt = rtt
        self._clock_state = clock_state
        self._peers: dict[SessionKey, Peer] = {}
        self._drops_of_others: Counter[str] = Counter()
        """Of lives that are not remembered any more."""
        self._decode = Decoder().decode
        self._datagrams = Transport.UDP in settings.transports
        self._log = structlog.get_logger("link").bind(path=account.name)
        self.bad_exchanges = 0

    def know(self, streams: Sequence[str]) -> None:
        """Take in what streams the receiver's own feeds have subscribed to: of theirs are the events of a JSON link."""
        self._decode = Decoder(streams, elsewhere=True).decode

    # LinkSink

    def on_hello(self, key: SessionKey, acknowledged: int, hello: Hello | None) -> None:
        datagrams = self._datagrams if hello is None else hello.transport is Transport.UDP
        self.account.sessions.open(key, acknowledged, lossless=not datagrams)
        self.account.interrupt()
        peer = self._peer(key)
        peer.connected = True
        if hello is not None:
            self._hear(key, peer, hello.clock)

    def on_leave(self, key: SessionKey) -> None:
        peer = self._peers.pop(key, None)
        if peer is not None:
            peer.connected = False
            # At the end: it is the last one to have been connected.
            self._peers[key] = peer

    def on_link_events(
        self, key: SessionKey, events: list[LinkEvent], stamp: Stamp, *, together: bool, left_ns: int = 0
    ) -> None:
        if not events[0].stream:
            events = [self._identified(event) for event in events]
            key = self._session_of(key, events[0].sequence, events[0].receive_ns)
            self._peer(key).newest_ns = max(event.receive_ns for event in events)
        self.account.observe_link(key, events, stamp, together=together, left_ns=left_ns)

    def on_heartbeat(self, key: SessionKey, beat: Heartbeat, stamp: Stamp) -> None:
        peer = self._peer(key)
        self._hear(key, peer, beat.clock)
        peer.drops = {reason.name.lower(): count for reason, count in beat.drops.items()}
        self._announce(key, peer, beat.highest, stamp.steady_ns)

    def on_gave_up(self, key: SessionKey, gave_up: GaveUp, stamp: Stamp) -> None:
        for first, last in gave_up.ranges:
            self.account.sessions.give_up(key, first, last, stamp.steady_ns)

    def on_departures(self, key: SessionKey, departures: Departures) -> None:
        segments = self.account.segments
        assert segments is not None
        for one in departures.departures:
            segments.departed(key, one.sequence, one.departure_ns)

    def on_bye(self, key: SessionKey, highest: int, stamp: Stamp) -> None:
        if key in self.account.sessions.trackers:
            self._announce(key, self._peer(key), highest, stamp.steady_ns)

    def on_time(self, key: SessionKey, report: TimeReport) -> None:
        if report.sample is None:
            self.bad_exchanges += 1
            return
        self._rtt.observe(report.sample.rtt_ns)
        if self.account.figures is not None:
            self.account.figures.rtt.record(report.sample.rtt_ns)
        self._weigh(key, report.sample)

    def progress(self, key: SessionKey) -> Ack:
        tracker = self.account.sessions.trackers.get(key)
        return Ack(0, 0, 0) if tracker is None else Ack(tracker.highest, tracker.unique, tracker.missing)

    # Own

    @property
    def exchange(self) -> ClockSample | None:
        """The best clock exchange of the window, the forwarder's clock minus ours; of several the one farthest off."""
        known = [best for peer in self._shown() if (best := peer.exchange) is not None]
        return max(known, key=lambda best: abs(best.offset_ns) + best.rtt_ns // 2, default=None)

    @property
    def peer_clock(self) -> ClockState:
        """The forwarder's clock, as it says; of several the one to be trusted least."""
        return least_trusted(self._shown())

    @property
    def peer_drops(self) -> dict[str, int]:
        """Events that forwarders have given up, by reason."""
        drops = Counter(self._drops_of_others)
        for peer in self._peers.values():
            drops.update(peer.drops)
        return dict(drops)

    @property
    def suspect(self) -> str:
        """Why a forwarder's clock and ours do not fit together; empty while all do."""
        return next((peer.suspect for peer in self._shown() if peer.suspect), "")

    def on_step(self) -> None:
        """Forget what was learnt of the clocks: ours was stepped."""
        for peer in self._peers.values():
            peer.judge.clear()
        self.account.least_one_way_ns.clear()

    def expire(self, now_ns: int) -> None:
        """Take in announcements whose events have had time to come."""
        for key, peer in self._peers.items():
            while peer.tails and now_ns - peer.tails[0][0] >= TAIL_NS:
                self.account.sessions.announce(key, peer.tails.popleft()[1], now_ns)

    def finish(self) -> None:
        """Take in all announcements: nothing more will come."""
        for key, peer in self._peers.items():
            for _said_ns, highest in peer.tails:
                self.account.sessions.announce(key, highest, 0)
            peer.tails.clear()

    def summary(self, rtt: Distribution) -> LinkSummary:
        """Return what the run's summary says of the link."""
        best = self.exchange
        return LinkSummary(
            rtt_ms=rtt,
            clock_offset_ms=None if best is None else best.offset_ns / 1e6,
            clock_offset_error_ms=None if best is None else best.rtt_ns / 2e6,
            clock_suspect=self.suspect or None,
            peer_clock=clock_summary(self.peer_clock),
            peer_drops=self.peer_drops,
        )

    def _shown(self) -> list[Peer]:
        """Give the forwarders that figures of the path are of: those connected, or else the last one to be."""
        peers = list(self._peers.values())
        return [peer for peer in peers if peer.connected] or peers[-1:]

    def _peer(self, key: SessionKey) -> Peer:
        """Return what is known of a life; of no more lives than are accounted for, as anybody may send datagrams."""
        peer = self._peers.get(key)
        if peer is None:
            peer = self._peers[key] = Peer()
            for other in [
                other for other in self._peers if other != key and other not in self.account.sessions.trackers
            ]:
                self._drops_of_others.update(self._peers.pop(other).drops)
                self.account.least_one_way_ns.pop(other, None)
                self.account.disrupted_sessions.discard(other)
        return peer

    def _hear(self, key: SessionKey, peer: Peer, clock: ClockState) -> None:
        if changed := peer.tell_clock(clock):
            self.account.least_one_way_ns.pop(key, None)
            self.account.tail.forget()
        if clock.disrupted != (key in self.account.disrupted_sessions):
            self._on_disruption(key, disrupted=clock.disrupted)
        elif changed:
            self._log.error("the forwarder's wall clock was stepped", steps=clock.steps)

    def _on_disruption(self, key: SessionKey, *, disrupted: bool) -> None:
        if not disrupted:
            self.account.disrupted_sessions.discard(key)
            self._log.info("the forwarder's clock is believed again")
            return
        self.account.disrupted_sessions.add(key)
        self._log.error(
            "the forwarder's clock was disrupted by its host",
            remedy="nothing is measured with it until it is believed again; end-to-end latency and races go on",
        )

    def _announce(self, key: SessionKey, peer: Peer, highest: int, now_ns: int) -> None:
        tracker = self.account.sessions.trackers.get(key)
        if tracker is None or tracker.lossless:
            # TCP keeps order: what was sent before the heartbeat and did not come will not come.
            self.account.sessions.announce(key, highest, now_ns)
        else:
            peer.tails.append((now_ns, highest))

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
        sessions = self.account.sessions.trackers
        latest = next(reversed(sessions), None)
        if latest is None:
            self.account.sessions.open(source, _base(sequence))
            return source
        base = f"{source}#"
        mine = [key for key in sessions if key == source or str(key).startswith(base)]
        key = mine[-1] if mine else latest
        assert isinstance(key, int | str)
        highest = sessions[key].highest
        again = 0 <= sequence <= min(highest, JOINED)
        newest_ns = self._peer(key).newest_ns
        began_anew = again and newest_ns is not None and receive_ns > newest_ns + RESTART_NS
        if not began_anew and ((mine and sequence > highest - RESTART_WINDOW) or (not mine and sequence > highest)):
            return key
        fresh = f"{base}{self.account.sessions.seen}" if mine else source
        self.account.sessions.open(fresh, _base(sequence))
        self._log.info("forwarder restarted", source=source, sequence=sequence)
        return fresh

    def _weigh(self, key: SessionKey, sample: ClockSample) -> None:
        """See whether the clocks fit together; see docs/measurement.md for the three rules."""
        peer = self._peer(key)
        least_ns = self.account.least_one_way_ns.pop(key, None)
        verdict = peer.judge.judge(sample, least_ns, self._clock_state(), peer.clock or UNKNOWN_CLOCK)
        best = peer.judge.best
        if verdict and not peer.suspect:
            assert best is not None
            self._log.warning(
                "clocks do not fit together",
                why=verdict,
                offset_ms=best.offset_ns / 1e6,
                rtt_ms=best.rtt_ns / 1e6,
                remedy="check chrony on both hosts; race results are not affected",
            )
        peer.suspect = verdict
        self.account.tail.suspect = bool(self.suspect)


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
