"""The forwarder's side of one link: stay connected, send, keep what is not delivered."""

import asyncio
import contextlib
import random
import secrets
import socket
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import structlog

from daemons.errors import LinkError, StreamError
from daemons.link.control import encode_control
from daemons.link.decoder import MAX_BODY
from daemons.link.events import FEED_HELD, FEED_RENEWED, encode_event, redeparted
from daemons.link.forwarded import MAX_LINE, encode_forwarded
from daemons.link.frame import HEAD
from daemons.link.messages import Bye, DropReason, GaveUp, Heartbeat, Transport
from daemons.link.sending.buffer import EventCounts, Pending, SendBuffer
from daemons.link.sending.carrier import Carrier, DatagramCarrier, StreamCarrier
from daemons.link.sending.sampling import Sampling
from daemons.link.sending.settings import LinkSettings
from daemons.link.sending.uplink import Ending, Uplink
from daemons.link.session import ForwarderSession, Introduction
from daemons.measurement.histogram import BucketHistogram
from daemons.reasons import LINK_ENDS, LinkReason, StreamReason
from daemons.records import ClockState, FeedEvent, Stamp, shared
from daemons.stream.connection import Connection
from daemons.stream.datagram import DatagramSender
from daemons.stream.dial import UNSENT_BYTES, Dialled, dial, resolve
from daemons.stream.stamping import Stamper
from daemons.stream.tcp_info import TcpAccount
from daemons.timing.backoff import Backoff

__all__ = ["LinkCounts", "LinkSender"]

DATAGRAM_BYTES = 1400
"""Events that arrived together travel together in datagrams up to this size: within the least MTU on the way."""
MAX_DATAGRAM_BYTES = 65_000
BURST_BYTES = 1 << 20
MAX_UNSENT = 4 * MAX_BODY
"""A burst of any size, and what one read of a feed has brought."""
CONNECT_TIMEOUT_SECONDS = 10.0
"""For the connection, and again for the handshake."""
SILENCE_SECONDS = 5.0
"""Without a word from the receiver for so long the connection is given up."""
HEALTHY_SECONDS = 5.0
BURST = 64
"""Events of a backlog that are sent together."""
PORTION = 64
"""Acknowledged events that are released in one turn of the loop."""
KEEP_OPEN_BEATS = 20
"""After so many heartbeats, one a second, without an event a datagram without one keeps the flow known to what lies on
the way: accelerators forget one over UDP after 30 s, NAT gateways after 350 s."""
PACE_SECONDS = 0.001
"""Pause between bursts of datagrams."""
_DELIMITED_END = b"\n"


@dataclass(slots=True)
class LinkCounts:
    """What is counted of a destination, whichever link to it there was.

    Attributes:
        events: what became of them.
        reconnects: connections ended or not made, by reason.
        refused_datagrams: times that the receiver's host said that nothing listens.
        shared: times that the receiver said that other forwarders serve the path, too.
        samples: events for whose departure the kernel was asked.
        sampled: those of which it has told.
        tcp: what TCP says of the connections.
    """

    events: EventCounts = field(default_factory=EventCounts)
    reconnects: Counter[StreamReason | LinkReason] = field(default_factory=lambda: Counter(dict.fromkeys(LINK_ENDS, 0)))
    refused_datagrams: int = 0
    shared: int = 0
    samples: int = 0
    sampled: int = 0
    tcp: TcpAccount = field(default_factory=TcpAccount)


class LinkSender:
    """Sends every event offered, in order, to one receiver; what it cannot send waits, bounded.

    Args:
        settings: where and how.
        session: this process's random number.
        stamper: makes stamps, and holds the clock.
        rng: for the back-off.
        hold: receives the time from an event's arrival stamp to its hand-over to the kernel.
        hold_kernel: receives the time to when the kernel handed it to the device, of samples.
        clock_state: tells this host's clock state.
        begin: the highest number used before this link was there.
        counts: where to go on counting; of an earlier link to the same destination, or new.

    Attributes:
        buffer: what waits.
        connected: whether the link is up.
        counts: what became of it all.
    """

    def __init__(
        self,
        settings: LinkSettings,
        session: int,
        stamper: Stamper,
        rng: random.Random,
        hold: BucketHistogram,
        hold_kernel: BucketHistogram,
        clock_state: Callable[[], ClockState],
        *,
        begin: int = 0,
        counts: LinkCounts | None = None,
    ) -> None:
        self.settings = settings
        self._session = session
        self._stamper = stamper
        self._clock = stamper.clock
        self._backoff = Backoff(rng, cap_seconds=settings.section.reconnect_max_seconds)
        self._hold = hold
        self.counts = LinkCounts() if counts is None else counts
        self._sampling = Sampling(self.counts, hold_kernel, rng)
        self._clock_state = clock_state
        self._binary = settings.section.format == "binary"
        self._largest = HEAD.size + MAX_BODY if self._binary else MAX_LINE
        if settings.transport is Transport.UDP:
            self._largest = MAX_DATAGRAM_BYTES
        keep = self._binary and settings.transport is Transport.TCP
        self.buffer = SendBuffer(settings.limits, keep=keep, begin=begin, counts=self.counts.events)
        self._carrier: Carrier | None = None
        self._control: Uplink | None = None
        self._resume: asyncio.TimerHandle | None = None
        self._catching_up = False
        self._settled = asyncio.Event()
        self._idle_beats = self._sent_at_beat = 0
        self._log = structlog.get_logger("link").bind(link=settings.label)
        self.connected = False

    def offer(
        self,
        first_sequence: int,
        events: Sequence[FeedEvent],
        stamp: Stamp,
        *,
        held: bool = False,
        renewed: bool = False,
    ) -> None:
        """Send the events of one read, or let them wait.

        Args:
            first_sequence: number of the first; the rest follow without holes.
            events: the events.
            stamp: when the read's last packet arrived.
            held: on their way here they had lain behind a packet that was missing.
            renewed: a connection of the feed is new.
        """
        carrier = self._carrier
        live = carrier is not None and not carrier.blocked and self.buffer.is_clear
        sampled = live and self._binary and self._sampling.is_due(stamp)
        marks = (FEED_HELD if held else 0) | (FEED_RENEWED if renewed else 0)
        pendings = self._frames(first_sequence, events, stamp, marks, delayed=carrier is None, sampled=sampled)
        if not live:
            for pending in pendings:
                self.buffer.wait(pending)
            if carrier is not None:
                self._drain(carrier)
            return
        assert carrier is not None
        # Where the one that was marked is too large to be sent, none is a sample.
        sampled = sampled and bool(pendings) and pendings[-1].sequence == first_sequence + len(events) - 1
        accepted = carrier.send(pendings, self._sampling.choose(pendings[-1].sequence, stamp) if sampled else None)
        hold_ns = self._departure_ns - stamp.ns
        for pending in pendings[:accepted]:
            self.buffer.sent_now(pending)
            if not stamp.step_ns:
                self._hold.observe(hold_ns)
        for pending in pendings[accepted:]:
            self.buffer.wait(pending)

    def _frames(
        self,
        first_sequence: int,
        events: Sequence[FeedEvent],
        stamp: Stamp,
        marks: int,
        *,
        delayed: bool,
        sampled: bool,
    ) -> list[Pending]:
        receive_ns = stamp.ns
        self._departure_ns = departure_ns = self._clock.wall_ns()
        # Only the last event of a read is known to have come with the stamped packet.
        early = shared(stamp.kind)
        last = len(events) - 1
        pendings: list[Pending] = []
        for index, event in enumerate(events):
            sequence = first_sequence + index
            if self._binary:
                frame = encode_event(
                    sequence,
                    receive_ns,
                    stamp.kind if index == last else early,
                    event.event_time_ns,
                    departure_ns,
                    event.event_id,
                    event.stream.encode(),
                    event.payload,
                    delayed=delayed,
                    sampled=sampled and index == last,
                    marks=marks,
                )
            else:
                frame = encode_forwarded(sequence, receive_ns, event.event_time_ns, event.payload)
            if len(frame) > self._largest:
                # The receiver would refuse it, and each of its connections from then on.
                self.buffer.refuse(sequence, DropReason.TOO_LARGE)
            else:
                pendings.append(Pending(sequence, frame, receive_ns, stamp.steady_ns))
        return pendings

    async def run(self) -> None:
        """Keep the link up until cancelled."""
        while True:
            begun_ns = self._clock.monotonic_ns()
            was_connected = False
            try:
                error = await self._attempt()
            finally:
                was_connected, self.connected = self.connected, False
                self.buffer.connection_lost()
            if was_connected and self._clock.monotonic_ns() - begun_ns > HEALTHY_SECONDS * 1e9:
                self._backoff.reset()
            self.counts.reconnects[error.reason] += 1
            delay = self._backoff.next_seconds()
            self._log.warning("link lost", reason=error.reason, error=str(error), retry_seconds=round(delay, 3))
            await self._clock.sleep(delay)

    def adopt(self, settings: LinkSettings) -> None:
        """Go on under other settings, with all that waits and all counts.

        Host, port, transport and format must be the same, for frames that wait are made for them. A connection
        agreed on key and path, and has its near end: before those are changed, end :meth:`run`, and start it again
        after.
        """
        self.settings = settings
        self.buffer.limit(settings.limits)
        self._backoff.cap_seconds = settings.section.reconnect_max_seconds

    async def drain(self, timeout_seconds: float) -> None:
        """Wait until everything is delivered, or the time is over; say goodbye, and give up what is left.

        Nothing may be offered any more: with live events there is always one on the way.
        """
        self._settled.clear()
        if not self._is_settled():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._settled.wait(), timeout_seconds)
        if self._control is not None and self._binary and self.connected:
            self._control.write(self._heartbeat() + encode_control(Bye(self.buffer.sent_through)))
        self.buffer.abandon(DropReason.SHUTDOWN)

    def expire(self) -> None:
        """Give up what has waited too long; to be called now and then."""
        self.buffer.expire(self._clock.monotonic_ns())

    async def _attempt(self) -> Ending:
        settings = self.settings
        try:
            if settings.transport is Transport.UDP and not self._binary:
                return await self._live_json_datagrams()
            dialled = await dial(
                settings.host,
                settings.port,
                local=settings.local,
                timeout_seconds=CONNECT_TIMEOUT_SECONDS,
            )
        except StreamError as error:
            return error
        if self._binary:
            return await self._live_binary(dialled)
        return await self._live_json_stream(dialled)

    async def _live_binary(self, dialled: Dialled) -> Ending:
        settings = self.settings
        introduction = Introduction(
            key=settings.key,
            session=self._session,
            path=settings.section.path_name,
            transport=settings.transport,
            acknowledged=self.buffer.acknowledged,
            nonce=secrets.token_bytes(16),
        )
        session = ForwarderSession(introduction, self._clock_state())
        self.buffer.given_up.tell_again()
        uplink = Uplink(
            dialled,
            self._stamper,
            session,
            silence_seconds=SILENCE_SECONDS,
            heartbeat=self._heartbeat,
            on_acknowledged=self._on_acknowledged,
            on_shared=self._on_shared,
            on_writable=self._on_writable,
            max_unsent=MAX_UNSENT,
        )
        datagrams: DatagramSender | None = None
        try:
            if settings.transport is Transport.TCP:
                uplink.connection.stamp_departures()
            welcome = await uplink.introduced(CONNECT_TIMEOUT_SECONDS)
            self._control = uplink
            uplink.connection.observe_tcp(self.counts.tcp)
            self.buffer.acknowledge(welcome.highest)
            if settings.transport is Transport.UDP:
                datagrams = DatagramSender(
                    (dialled.address, settings.port), uplink.family, self._on_writable, self._on_refused, settings.local
                )
                datagrams.stamp_departures()
                made = session.datagrams
                carrier: Carrier = DatagramCarrier(
                    datagrams, made.wrap, made.overhead, DATAGRAM_BYTES, self.buffer.lost
                )
            else:
                carrier = StreamCarrier(uplink.connection, b"", session.seal if settings.key else None)
            return await self._live(carrier, uplink.ended)
        except (StreamError, LinkError) as error:
            return error
        finally:
            self._control = None
            if datagrams is not None:
                datagrams.close()
            uplink.close()

    async def _live_json_datagrams(self) -> Ending:
        settings = self.settings
        found = await resolve(settings.host, settings.port, socket.SOCK_DGRAM)
        fitting = [info for info in found if settings.local.fits(info[0])]
        if not fitting:
            raise StreamError(
                StreamReason.LOCAL,
                f"{settings.label}: no address of the family of {settings.local}; change source_address",
            )
        family, _kind, _protocol, _canonical, target = fitting[0]
        host, port = str(target[0]), int(target[1])
        sender = DatagramSender((host, port), family, self._on_writable, self._on_refused, settings.local)
        try:
            carrier = DatagramCarrier(sender, bytes, 0, 0, self.buffer.lost)
            return await self._live(carrier, asyncio.get_running_loop().create_future())
        finally:
            sender.close()

    async def _live_json_stream(self, dialled: Dialled) -> Ending:
        ended: asyncio.Future[Ending] = asyncio.get_running_loop().create_future()

        def on_close(error: StreamError | None) -> None:
            if not ended.done():
                ended.set_result(
                    error or LinkError(LinkReason.CLOSED, f"{self.settings.label}: closed by the receiver")
                )

        connection = Connection(
            dialled.socket,
            self._stamper,
            on_data=lambda _data, _stamp: None,
            on_close=on_close,
            on_writable=self._on_writable,
            peer=dialled.peer,
            max_unsent=MAX_UNSENT,
        )
        connection.start()
        connection.observe_tcp(self.counts.tcp)
        try:
            return await self._live(StreamCarrier(connection, _DELIMITED_END), ended)
        finally:
            connection.close()

    async def _live(self, carrier: Carrier, ended: "asyncio.Future[Ending]") -> Ending:
        """Be live over a carrier until its connection ended."""
        self._carrier = carrier
        self._catching_up = True
        self.connected = True
        self._log.info("link connected", waiting=self.buffer.waiting)
        try:
            self._drain(carrier)
            return await ended
        finally:
            self._carrier = None

    def _drain(self, carrier: Carrier) -> None:
        """Send what waits, in bursts, as far as the kernel, the window and the receiver's buffer take it."""
        buffer = self.buffer
        # Over TCP no more than it takes: what lies between us and the kernel is late without being known to wait.
        most = BURST_BYTES if carrier.paced else UNSENT_BYTES
        while self._resume is None and not carrier.blocked and not buffer.window_full:
            burst: list[Pending] = []
            departure_ns = self._clock.wall_ns()
            size = 0
            while len(burst) < BURST and size < most and (taken := buffer.take()):
                pending, again = taken
                frame = pending.frame
                size += len(frame)
                if self._binary:
                    # What waited for this connection, or behind such a backlog, says nothing of the path's delay.
                    frame = redeparted(frame, departure_ns, delayed=again or self._catching_up)
                burst.append(Pending(pending.sequence, frame, pending.receive_ns, pending.steady_ns))
            if not burst:
                self._catching_up = False
                break
            accepted = carrier.send(burst)
            self._observe_holds(burst[:accepted])
            for pending in reversed(burst[accepted:]):
                buffer.untake(pending)
            if carrier.paced and buffer.waiting:
                # Nothing slows UDP down but us: a backlog sent at once would overflow the receiver's socket.
                self._resume = asyncio.get_running_loop().call_later(PACE_SECONDS, self._resumed)
        self._check_settled()

    def _observe_holds(self, sent: list[Pending]) -> None:
        """Measure how long events that had to wait were held, on the scale that a clock step does not touch."""
        now_ns = self._clock.monotonic_ns()
        for pending in sent:
            self._hold.observe(now_ns - pending.steady_ns)

    def _resumed(self) -> None:
        self._resume = None
        self._on_writable()

    def _on_writable(self) -> None:
        if self._carrier is not None:
            self._drain(self._carrier)

    def _on_shared(self, others: int) -> None:
        self.counts.shared += 1
        self._log.warning(
            "other forwarders serve this path, and each is accounted for by itself",
            others=others,
            remedy="if that is not meant, give each link a path of its own",
        )

    def _on_refused(self) -> None:
        self.counts.refused_datagrams += 1

    def _on_acknowledged(self, highest: int) -> None:
        if self.buffer.acknowledge(highest, PORTION):
            # Of thousands it takes milliseconds, for which events that come meanwhile must not wait.
            asyncio.get_running_loop().call_soon(self._on_acknowledged, highest)
        if self._carrier is not None and self.buffer.waiting:
            self._drain(self._carrier)
        self._check_settled()

    def _is_settled(self) -> bool:
        """Whether nothing waits, neither here nor for room in the kernel."""
        return not self.buffer.buffered and not (self._carrier is not None and self._carrier.blocked)

    def _check_settled(self) -> None:
        if self._is_settled():
            self._settled.set()

    def _keep_open(self, carrier: DatagramCarrier) -> None:
        self._idle_beats = 0 if self.buffer.sent_through != self._sent_at_beat else self._idle_beats + 1
        self._sent_at_beat = self.buffer.sent_through
        if self._idle_beats == KEEP_OPEN_BEATS:
            self._idle_beats = 0
            carrier.keep_open()

    def _heartbeat(self) -> bytes:
        if isinstance(self._carrier, DatagramCarrier):
            self._keep_open(self._carrier)
        drops = {reason: count for reason, count in self.counts.events.dropped.items() if count}
        beat = Heartbeat(self.buffer.sent_through, self._clock.wall_ns(), self._clock_state(), drops)
        # Before the heartbeat, which announces these numbers as used.
        given_up = self.buffer.given_up.untold()
        told = encode_control(GaveUp(given_up)) if given_up else b""
        return told + self._sampling.untold() + encode_control(beat)
