"""The receiver's side of one link: let known forwarders in, keep all others out, hand events up."""

import asyncio
import ipaddress
import secrets
import socket
from dataclasses import dataclass, field
from typing import Literal, Protocol

import structlog

from daemons.errors import LinkError, StreamError, WireError, brief
from daemons.link import wire
from daemons.link.forwarded import LineDecoder, decode_forwarded
from daemons.link.session import Happened, ReceiverSession, TimeReport
from daemons.link.wire import Ack, Bye, Departures, GaveUp, Heartbeat, Hello, Transport
from daemons.records import LinkEvent, Stamp, inexact
from daemons.secret import Secret
from daemons.stream.connection import Connection
from daemons.stream.crowd import Crowd
from daemons.stream.datagram import DatagramReceiver
from daemons.stream.descriptors import share
from daemons.stream.dial import prepare
from daemons.stream.stamping import Stamper
from daemons.stream.tcp_info import TcpAccount

__all__ = ["REFUSAL_REASONS", "LinkListener", "LinkSink", "ListenerSettings", "Network", "SessionKey"]

REFUSAL_REASONS = (
    "source",
    "limit",
    "busy",
    "descriptors",
    "timeout",
    "version",
    "key",
    "path",
    "transport",
    "garbage",
    "too_large",
    "token",
    "forged",
    "replayed",
    "format",
    "unexpected",
    "unread",
)
"""Why a peer was turned away or a datagram thrown away."""

MAX_STRANGERS = 256
"""Connections that may be in their handshake at once."""
MAX_PEERS = 16
"""Forwarders that may be connected at once; more are refused, for one that delivers must not give way to them."""
HANDSHAKE_SECONDS = 5.0
PAUSE_SECONDS = 0.5
"""How long nobody is let in when this process has run out of descriptors: who knocks waits in the kernel meanwhile."""
ACK_SECONDS = 0.1
ASK_SECONDS = 1.0
SILENCE_SECONDS = 10.0

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
SessionKey = int | str
"""A forwarder's session: its random number, or, in the JSON format that has none, where it sends from."""


class LinkSink(Protocol):
    """Who is told what a link brings."""

    def on_hello(self, key: SessionKey, acknowledged: int, hello: Hello | None) -> None:
        """A forwarder has connected; nothing up to ``acknowledged`` that has not come is this account's business."""

    def on_leave(self, key: SessionKey) -> None:
        """A forwarder's connection has ended."""

    def on_link_events(self, key: SessionKey, events: list[LinkEvent], stamp: Stamp, *, together: bool) -> None:
        """Events of one read have come; ``stamp`` is that of its last packet, which had them all if ``together``."""

    def on_heartbeat(self, key: SessionKey, beat: Heartbeat, stamp: Stamp) -> None:
        """The forwarder has said what it has sent."""

    def on_gave_up(self, key: SessionKey, gave_up: GaveUp, stamp: Stamp) -> None:
        """The forwarder has said which numbers it never sent."""

    def on_departures(self, key: SessionKey, departures: Departures) -> None:
        """The forwarder has said when its kernel sent events that were marked as sampled."""

    def on_bye(self, key: SessionKey, highest: int, stamp: Stamp) -> None:
        """The forwarder has ended its session."""

    def on_time(self, key: SessionKey, report: TimeReport) -> None:
        """A clock exchange has ended."""

    def progress(self, key: SessionKey) -> Ack:
        """Say what of a session has been processed."""


@dataclass(frozen=True, slots=True)
class ListenerSettings:
    """What a listener needs to know.

    Attributes:
        path: the path's name.
        transports: what forwarders may use.
        formats: ``binary``, ``json`` or ``any``.
        keys: shared secrets, of which a forwarder has one; empty for none. With a key JSON is refused, for it cannot
            be signed.
        allowed: networks that forwarders may come from; empty for all.
    """

    path: str
    transports: frozenset[Transport] = frozenset((Transport.TCP,))
    formats: Literal["binary", "json", "any"] = "binary"
    keys: tuple[Secret, ...] = ()
    allowed: tuple[Network, ...] = ()


@dataclass(slots=True)
class ListenerCounts:
    """Plain integers for the metrics."""

    peers: int = 0
    connections: int = 0
    refusals: dict[str, int] = field(default_factory=lambda: dict.fromkeys(REFUSAL_REASONS, 0))
    malformed: int = 0
    tcp: TcpAccount = field(default_factory=TcpAccount)


class LinkListener:
    """Serves one link path on bound sockets.

    Args:
        settings: who may send what.
        stream: a listening TCP socket; None when only datagrams are served.
        datagram: a bound UDP socket; None when only TCP is served.
        stamper: makes stamps, and holds the clock.
        sink: is told what comes.
    """

    def __init__(
        self,
        settings: ListenerSettings,
        stream: socket.socket | None,
        datagram: socket.socket | None,
        stamper: Stamper,
        sink: LinkSink,
    ) -> None:
        self.settings = settings
        self._stream = stream
        self._stamper = stamper
        self._clock = stamper.clock
        self.sink = sink
        self.counts = ListenerCounts()
        self._receiver = None if datagram is None else DatagramReceiver(datagram, stamper, self._on_datagram)
        self._strangers: Crowd[_Peer] = Crowd(share(MAX_STRANGERS))
        self._peers: dict[int, _Peer] = {}
        self._paused: asyncio.TimerHandle | None = None
        self._log = structlog.get_logger("link").bind(path=settings.path)

    @property
    def dropped_datagrams(self) -> int:
        """Datagrams lost on this host, not on the way: the socket's buffer was full."""
        return 0 if self._receiver is None else self._receiver.dropped

    def start(self) -> None:
        """Begin to accept; :meth:`tend` has to run beside it."""
        loop = asyncio.get_running_loop()
        if self._stream is not None:
            loop.add_reader(self._stream.fileno(), self._on_acceptable, self._stream)
        if self._receiver is not None:
            self._receiver.start()

    async def tend(self) -> None:
        """Acknowledge, ask the time, and close what has fallen silent; runs for ever."""
        turn = 0
        every = round(ASK_SECONDS / ACK_SECONDS)
        while True:
            await self._clock.sleep(ACK_SECONDS)
            # A turn of the loop: after a stall of this process there is something to read before silence is judged.
            await self._clock.sleep(0)
            turn += 1
            now_ns = self._clock.monotonic_ns()
            for stranger in self._strangers:
                if now_ns - stranger.born_ns > HANDSHAKE_SECONDS * 1e9:
                    self.refuse("timeout", "no handshake in time", stranger.source)
                    self._strangers.discard(stranger)
                    stranger.close()
            for peer in tuple(self._peers.values()):
                peer.acknowledge()
                if turn % every == 0:
                    peer.ask_time()
                # Only who promised heartbeats is dead without them; the original programs' format falls silent.
                if peer.beats and now_ns - peer.heard_ns > SILENCE_SECONDS * 1e9:
                    self.leave(peer, "silent")
                    peer.close()

    def close(self) -> None:
        """Acknowledge what was processed, close all connections and the sockets."""
        for peer in (*self._peers.values(), *self._strangers):
            peer.acknowledge()
            peer.close()
        if self._paused is not None:
            self._paused.cancel()
        if self._stream is not None:
            asyncio.get_running_loop().remove_reader(self._stream.fileno())
            self._stream.close()
        if self._receiver is not None:
            self._receiver.close()

    def adopt(self, settings: ListenerSettings) -> None:
        """Go on under other settings; who would not be let in under them any more is disconnected."""
        old, self.settings = self.settings, settings
        if settings == old:
            return
        # A stranger was given the old keys; it comes again.
        for peer in (*(self._strangers if settings.keys != old.keys else ()), *self._peers.values()):
            keyed = peer.key_used in settings.keys if settings.keys else peer.key_used is None
            if not keyed or not self._allowed(peer.host) or (not peer.beats and settings.formats == "binary"):
                peer.acknowledge()
                self.leave(peer, "the path's configuration was changed")
                peer.close()

    def refuse(self, reason: str, detail: str, source: str) -> None:
        """Count a refusal, and log it unless such refusals are many."""
        count = self.counts.refusals[reason] = self.counts.refusals[reason] + 1
        # Powers of two: a flood writes a few lines, not a disk full.
        if count & (count - 1) == 0:
            self._log.warning("peer refused", reason=reason, error=detail, source=source, times=count)

    def has_room_for(self, key: SessionKey) -> bool:
        """Say whether one more forwarder may come: who is here and lives does not give way to another session."""
        return len(self._peers) < MAX_PEERS or any(peer.key == key for peer in self._peers.values())

    def admit(self, peer: "_Peer") -> None:
        """Note that a stranger has proven itself, for whom there is room."""
        self._strangers.discard(peer)
        assert self.has_room_for(peer.key)
        assert peer.token not in self._peers  # tokens are random
        # The same session on a new connection: the old one is dead, whether its socket knows or not.
        for token, other in tuple(self._peers.items()):
            if other.key == peer.key:
                del self._peers[token]
                other.close()
        self._peers[peer.token] = peer
        peer.observe_tcp(self.counts.tcp)
        self.counts.peers = len(self._peers)
        self.counts.connections += 1
        self._log.info("forwarder connected", source=peer.source, session=_shown(peer.key))
        if len(self._peers) > 1:
            self._log.warning(
                "several forwarders serve this path, and each is accounted for by itself",
                sources=[other.source for other in self._peers.values()],
                remedy="if that is not meant, give each link a path of its own",
            )
            for other in self._peers.values():
                other.tell_shared(len(self._peers) - 1)

    def leave(self, peer: "_Peer", why: str) -> None:
        """Note that a connection has ended."""
        self._strangers.discard(peer)
        if self._peers.pop(peer.token, None) is not None:
            self._log.warning("forwarder disconnected", source=peer.source, session=_shown(peer.key), why=why)
            self.sink.on_leave(peer.key)
        self.counts.peers = len(self._peers)

    def _on_acceptable(self, listening: socket.socket) -> None:
        for _turn in range(16):
            try:
                sock, source = listening.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                self._pause(listening, f"cannot accept: {error.strerror}; raise LimitNOFILE")
                return
            try:
                prepare(sock)
            except OSError:
                # It has gone already.
                sock.close()
                continue
            if not self._allowed(source[0]):
                self.refuse("source", f"{source[0]} is not in allowed_sources", source[0])
                sock.close()
                continue
            peer = _Peer(self, sock, source[0], source[1], self._stamper)
            if (evicted := self._strangers.add(peer)) is not None:
                self.refuse("limit", "too many connections in their handshake", evicted.source)
                evicted.close()
            peer.start()

    def _pause(self, listening: socket.socket, why: str) -> None:
        """Look away for a while: the kernel would call again at once, and nothing would have changed."""
        evicted = self._strangers.evict()
        self.refuse("descriptors", why, "" if evicted is None else evicted.source)
        if evicted is not None:
            # A stranger's descriptor is the cheapest to have back.
            evicted.close()
        loop = asyncio.get_running_loop()
        loop.remove_reader(listening.fileno())
        self._paused = loop.call_later(PAUSE_SECONDS, self._resume, listening)

    def _resume(self, listening: socket.socket) -> None:
        self._paused = None
        asyncio.get_running_loop().add_reader(listening.fileno(), self._on_acceptable, listening)

    def _allowed(self, host: str) -> bool:
        if not self.settings.allowed:
            return True
        address = ipaddress.ip_address(host.partition("%")[0])
        if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
            address = address.ipv4_mapped
        return any(address in network for network in self.settings.allowed)

    def _on_datagram(self, data: bytes, stamp: Stamp, source: tuple[str, int]) -> None:
        try:
            self._take_datagram(data, stamp, source)
        except Exception as error:  # noqa: BLE001 the wall: whatever a peer sends costs its own datagram at most
            self.refuse("unexpected", brief(error), source[0])

    def _take_datagram(self, data: bytes, stamp: Stamp, source: tuple[str, int]) -> None:
        host, port = source
        settings = self.settings
        if not self._allowed(host):
            self.refuse("source", f"{host} is not in allowed_sources", host)
        elif settings.formats != "binary" and data[:1] == b"{":
            if settings.keys:
                self.refuse("format", "JSON cannot be signed, and this path has a key", host)
                return
            try:
                event = decode_forwarded(data)
            except WireError:
                self.counts.malformed += 1
                return
            self.sink.on_link_events(f"{host}:{port}", [event], stamp, together=True)
        elif settings.formats == "json":
            self.counts.malformed += 1
        else:
            try:
                token, events = wire.datagram_events(data, self._end_of_events)
            except WireError as error:
                self.refuse(error.reason, str(error), host)
                return
            self.sink.on_link_events(self._peers[token].key, events, stamp, together=True)

    def _end_of_events(self, token: int, number: int, data: bytes) -> int:
        peer = self._peers.get(token)
        if peer is None:
            raise WireError("token", "datagram of no open link; the forwarder will reconnect")
        return peer.end_of_events(number, data)


class _Peer:
    """One TCP connection: a stranger, then a forwarder in the binary or the JSON format."""

    def __init__(self, listener: LinkListener, sock: socket.socket, host: str, port: int, stamper: Stamper) -> None:
        self._listener = listener
        self._clock = stamper.clock
        settings = listener.settings
        self.host = host
        self.source = source = f"{host}:{port}"
        self.born_ns = self.heard_ns = stamper.clock.monotonic_ns()
        self.token = secrets.randbits(64)
        self.key: SessionKey = source
        self._lines: LineDecoder | None = None
        self._session = ReceiverSession(
            keys=settings.keys,
            path=settings.path,
            transports=settings.transports,
            nonce=secrets.token_bytes(16),
            token=self.token,
            highest_of=lambda session: listener.sink.progress(session).highest,
            has_room_for=listener.has_room_for,
        )
        self._connection = Connection(
            sock, stamper, on_data=self._on_data, on_close=self._on_close, on_writable=None, peer=source
        )
        self._acknowledged = Ack(0, 0, 0)

    @property
    def key_used(self) -> Secret | None:
        """The key that it has proven to have."""
        return self._session.key

    @property
    def beats(self) -> bool:
        """Whether it sends heartbeats."""
        return self._lines is None

    def start(self) -> None:
        self._connection.start()
        if self._listener.settings.formats != "json":
            self._flush()

    def close(self) -> None:
        self._connection.close()

    def observe_tcp(self, account: TcpAccount) -> None:
        self._connection.observe_tcp(account)

    def acknowledge(self) -> None:
        """Send an acknowledgement if there is something new in it."""
        if self._session.hello is None:
            return
        ack = self._listener.sink.progress(self.key)
        if ack != self._acknowledged:
            self._acknowledged = ack
            self._session.acknowledge(ack)
            self._flush()

    def tell_shared(self, others: int) -> None:
        """Tell a forwarder that others serve its path; programs without sessions cannot be told."""
        if self._session.hello is not None:
            self._session.tell_shared(others)
            self._flush()

    def ask_time(self) -> None:
        if self._session.hello is not None and not self._connection.blocked:
            self._session.ask_time(self._clock.wall_ns)
            self._flush()

    def end_of_events(self, number: int, data: bytes) -> int:
        """Check a datagram of this connection, as :class:`~daemons.link.seal.DatagramOpener` does."""
        return self._session.datagrams.end_of_events(number, data)

    def _flush(self) -> None:
        if data := self._session.data_to_send():
            self._connection.write(data)

    def _on_data(self, data: bytes, stamp: Stamp) -> None:
        self.heard_ns = stamp.steady_ns
        try:
            if self._lines is None and self._session.hello is None and self._is_json(data):
                self._lines = LineDecoder()
                self._listener.admit(self)
            if self._lines is not None:
                self._take_lines(self._lines, data, stamp)
            else:
                self._take_frames(data, stamp)
        except LinkError as error:
            self._flush()
            self._listener.refuse(error.reason, str(error), self.source)
            self._listener.leave(self, str(error))
            self.close()

    def _is_json(self, data: bytes) -> bool:
        settings = self._listener.settings
        if settings.formats == "binary" or (settings.formats == "any" and data[:1] != b"{"):
            return False
        if settings.keys:
            raise LinkError("format", "JSON cannot be signed, and this path has a key")
        if not self._listener.has_room_for(self.key):
            raise LinkError("busy", f"{MAX_PEERS} forwarders are connected to this path already")
        return True

    def _take_lines(self, lines: LineDecoder, data: bytes, stamp: Stamp) -> None:
        events, bad = lines.feed(data)
        self._listener.counts.malformed += bad
        if events:
            self._listener.sink.on_link_events(
                self.key, events, stamp if lines.exact else inexact(stamp), together=False
            )

    def _take_frames(self, data: bytes, stamp: Stamp) -> None:
        sink = self._listener.sink
        events: list[LinkEvent] = []
        for happened in self._session.receive_data(data, stamp):
            if type(happened) is LinkEvent:
                events.append(happened)
                continue
            if events:
                sink.on_link_events(self.key, events, inexact(stamp), together=False)
                events = []
            match happened:
                case Hello():
                    self.key = happened.session
                    self._listener.admit(self)
                    sink.on_hello(self.key, happened.acknowledged, happened)
                    self._flush()
                    self.ask_time()
                case _:
                    self._tell(happened, stamp)
        if events:
            exact = stamp if self._session.exact else inexact(stamp)
            sink.on_link_events(self.key, events, exact, together=False)

    def _tell(self, happened: Happened, stamp: Stamp) -> None:
        """Hand on what is no event."""
        sink = self._listener.sink
        match happened:
            case Heartbeat():
                sink.on_heartbeat(self.key, happened, stamp)
            case GaveUp():
                sink.on_gave_up(self.key, happened, stamp)
            case Departures():
                sink.on_departures(self.key, happened)
            case Bye():
                sink.on_bye(self.key, happened.highest, stamp)
            case TimeReport():
                sink.on_time(self.key, happened)

    def _on_close(self, error: StreamError | None) -> None:
        if error is not None and error.reason in ("unexpected", "unread"):
            self._listener.refuse(error.reason, str(error), self.source)
        self._listener.leave(self, str(error) if error else "closed by the forwarder")


def _shown(key: SessionKey) -> str:
    return f"{key:016x}" if isinstance(key, int) else key
