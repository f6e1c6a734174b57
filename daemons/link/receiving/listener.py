"""The receiver's side of one link path: its forwarders, and whether they live."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field

import structlog

from daemons.link.receiving.downlink import Downlink
from daemons.link.receiving.refusals import Refusals
from daemons.link.receiving.settings import ListenerSettings
from daemons.link.receiving.sink import LinkSink, SessionKey
from daemons.reasons import LinkReason, StreamReason
from daemons.stream.headers import Headers
from daemons.stream.tcp_info import TcpAccount
from daemons.timing.clock import Clock

__all__ = ["ACK_SECONDS", "MAX_PEERS", "LinkListener"]

MAX_PEERS = 16
"""Forwarders that may be connected at once; more are refused, for one that delivers must not give way to them."""
ACK_SECONDS = 0.1
ASK_SECONDS = 1.0
SILENCE_SECONDS = 10.0


@dataclass(slots=True)
class ListenerCounts:
    """Plain integers for the metrics."""

    refusals: Mapping[LinkReason | StreamReason, int]
    peers: int = 0
    connections: int = 0
    malformed: int = 0
    tcp: TcpAccount = field(default_factory=TcpAccount)
    headers: Headers = field(default_factory=Headers)


class LinkListener:
    """Keeps the forwarders of one path; a :class:`~daemons.link.receiving.port.LinkPort` lets them in.

    Args:
        settings: who may send what.
        clock: for silence.
        sink: is told what comes.

    Attributes:
        settings, sink: the same.
        counts: of this path.
    """

    def __init__(self, settings: ListenerSettings, clock: Clock, sink: LinkSink) -> None:
        self.settings = settings
        self.sink = sink
        self._clock = clock
        self._refusals = Refusals(settings.section.name)
        self.counts = ListenerCounts(self._refusals.counts)
        self._peers: dict[int, Downlink] = {}
        self._turn = 0
        self._log = structlog.get_logger("link").bind(path=settings.section.name)

    def tend(self) -> None:
        """Acknowledge, ask the time, and close who has fallen silent; to be called every :data:`ACK_SECONDS`."""
        self._turn += 1
        asks = self._turn % round(ASK_SECONDS / ACK_SECONDS) == 0
        now_ns = self._clock.monotonic_ns()
        for peer in tuple(self._peers.values()):
            peer.acknowledge()
            if asks:
                peer.ask_time()
            # Only who promised heartbeats is dead without them; the original programs' format falls silent.
            if peer.beats and now_ns - peer.heard_ns > SILENCE_SECONDS * 1e9:
                self.leave(peer, "silent")
                peer.close()

    def close(self) -> "list[asyncio.Future[None]]":
        """Acknowledge what was processed, and end all connections; return what is done when each is closed."""
        goodbyes = [peer.finish() for peer in self._peers.values()]
        self._peers.clear()
        return goodbyes

    def adopt(self, settings: ListenerSettings) -> None:
        """Go on under other settings; who would not be let in under them any more is disconnected."""
        old, self.settings = self.settings, settings
        if settings == old:
            return
        for peer in tuple(self._peers.values()):
            keyed = peer.key_used in settings.keys if settings.keys else peer.key_used is None
            if not keyed or not settings.allows(peer.host) or (not peer.beats and settings.section.format == "binary"):
                self.leave(peer, "the path's configuration was changed")
                peer.finish()

    def refuse(self, reason: LinkReason | StreamReason, detail: str, source: str) -> None:
        """Count a refusal, and log it unless such refusals are many."""
        self._refusals.refuse(reason, detail, source)

    def spoil(self, lines: int) -> None:
        """Count lines or datagrams that were no events."""
        self.counts.malformed += lines

    def has_room_for(self, key: SessionKey) -> bool:
        """Say whether one more forwarder may come: who is here and lives does not give way to another session."""
        return len(self._peers) < MAX_PEERS or any(peer.key == key for peer in self._peers.values())

    def peer_of(self, token: int) -> Downlink | None:
        """Find the forwarder whose datagrams bear a token."""
        return self._peers.get(token)

    def admit(self, peer: Downlink) -> None:
        """Note that a stranger has proven itself, for whom there is room."""
        assert self.has_room_for(peer.key)
        assert peer.token not in self._peers  # tokens are random
        # The same session on a new connection: the old one is dead, whether its socket knows or not.
        for token, other in tuple(self._peers.items()):
            if other.key == peer.key:
                del self._peers[token]
                other.close()
        self._peers[peer.token] = peer
        peer.observe_tcp(self.counts.tcp)
        if (header := peer.header) is not None:
            self.counts.headers.take(peer.host, header)
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

    def leave(self, peer: Downlink, why: str) -> None:
        """Note that a connection has ended."""
        if self._peers.pop(peer.token, None) is not None:
            self._log.warning("forwarder disconnected", source=peer.source, session=_shown(peer.key), why=why)
            self.sink.on_leave(peer.key)
        self.counts.peers = len(self._peers)


def _shown(key: SessionKey) -> str:
    return f"{key:016x}" if isinstance(key, int) else key
