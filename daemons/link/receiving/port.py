"""A receiver's port: let known forwarders in, keep all others out, find each the path that it brings."""

import asyncio
import socket
from collections.abc import Mapping, Sequence

from daemons.errors import WireError, brief
from daemons.link.events import datagram_events, datagram_token
from daemons.link.forwarded import decode_forwarded
from daemons.link.receiving.downlink import Downlink
from daemons.link.receiving.listener import ACK_SECONDS, LinkListener
from daemons.link.receiving.refusals import Refusals
from daemons.link.receiving.settings import ListenerSettings
from daemons.link.receiving.sink import LinkSink
from daemons.reasons import LinkReason, StreamReason
from daemons.records import Stamp
from daemons.stream.crowd import Crowd
from daemons.stream.datagram import DatagramReceiver
from daemons.stream.descriptors import share
from daemons.stream.dial import prepare
from daemons.stream.stamping import Stamper

__all__ = ["MAX_STRANGERS", "LinkPort"]

MAX_STRANGERS = 256
"""Connections that may be in their handshake at once."""
HANDSHAKE_SECONDS = 5.0
PAUSE_SECONDS = 0.5
"""How long nobody is let in when this process has run out of descriptors: who knocks waits in the kernel meanwhile."""

LOOK_EVERY = 10
"""In so many turns of tending one datagram is looked at for its header: one a second."""


class LinkPort:
    """Serves link paths on bound sockets.

    Args:
        stream: a listening TCP socket; None when only datagrams are served.
        datagram: a bound UDP socket; None when only TCP is served.
        stamper: makes stamps, and holds the clock.
        address: what to call it, where several paths share it.
    """

    def __init__(
        self, stream: socket.socket | None, datagram: socket.socket | None, stamper: Stamper, address: str = ""
    ) -> None:
        self._stream = stream
        self._stamper = stamper
        self._clock = stamper.clock
        self._receiver = None if datagram is None else DatagramReceiver(datagram, stamper, self._on_datagram)
        self._strangers: Crowd[Downlink] = Crowd(share(MAX_STRANGERS))
        self._paused: asyncio.TimerHandle | None = None
        self._refusals = Refusals(address)
        self.address = address
        self.listeners: list[LinkListener] = []

    def serve(self, settings: ListenerSettings, sink: LinkSink) -> LinkListener:
        """Add a path.

        Args:
            settings: who may send what.
            sink: is told what comes.
        """
        listener = LinkListener(settings, self._clock, sink)
        self.listeners.append(listener)
        return listener

    @property
    def shared(self) -> bool:
        """Whether several paths come in here, so that what names none of them is nobody's but the port's."""
        return len(self.listeners) > 1

    @property
    def refusals(self) -> Mapping[LinkReason | StreamReason, int]:
        """Who was turned away, or thrown away, without a path, by reason."""
        return self._refusals.counts

    @property
    def dropped_datagrams(self) -> int:
        """Datagrams lost on this host, not on the way: the socket's buffer was full."""
        return 0 if self._receiver is None else self._receiver.dropped

    @property
    def strangers(self) -> int:
        """Connections that are in their handshake."""
        return len(self._strangers)

    def start(self) -> None:
        """Begin to accept; :meth:`tend` has to run beside it."""
        loop = asyncio.get_running_loop()
        if self._stream is not None:
            loop.add_reader(self._stream.fileno(), self._on_acceptable, self._stream)
        if self._receiver is not None:
            self._receiver.start()

    async def tend(self) -> None:
        """Tend all paths, and close strangers that stay strangers; runs for ever."""
        turn = 0
        while True:
            await self._clock.sleep(ACK_SECONDS)
            # A turn of the loop: after a stall of this process there is something to read before silence is judged.
            await self._clock.sleep(0)
            now_ns = self._clock.monotonic_ns()
            for stranger in self._strangers:
                if now_ns - stranger.born_ns > HANDSHAKE_SECONDS * 1e9:
                    self.refuse(LinkReason.TIMEOUT, "no handshake in time", stranger.source)
                    self._strangers.discard(stranger)
                    stranger.close()
            for listener in self.listeners:
                listener.tend()
            turn += 1
            if self._receiver is not None and turn % LOOK_EVERY == 0:
                self._receiver.look()

    def close(self) -> "list[asyncio.Future[None]]":
        """Acknowledge what was processed, end all connections, and close the sockets.

        Returns:
            What is done when each connection is closed.
        """
        goodbyes = [goodbye for listener in self.listeners for goodbye in listener.close()]
        for stranger in self._strangers:
            stranger.close()
        if self._paused is not None:
            self._paused.cancel()
        if self._stream is not None:
            asyncio.get_running_loop().remove_reader(self._stream.fileno())
            self._stream.close()
        if self._receiver is not None:
            self._receiver.close()
        return goodbyes

    def seats(self, host: str) -> Sequence[LinkListener]:
        """Give the paths that a forwarder from this address may bring."""
        listeners = self.listeners
        if len(listeners) == 1:
            # For each datagram of a port that is not shared, which most are.
            return listeners if listeners[0].settings.allows(host) else ()
        return [listener for listener in listeners if listener.settings.allows(host)]

    def discard(self, peer: Downlink) -> None:
        """Note that a connection is no stranger any more, or has gone."""
        self._strangers.discard(peer)

    def refuse(self, reason: LinkReason | StreamReason, detail: str, source: str) -> None:
        """Count a refusal of one that has named no path: with the sole path that it can have meant, if there is one."""
        (self._refusals if self.shared else self.listeners[0]).refuse(reason, detail, source)

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
            if not self.seats(source[0]):
                self.refuse(LinkReason.SOURCE, f"{source[0]} is not in allowed_sources", source[0])
                sock.close()
                continue
            peer = Downlink(self, sock, source[0], source[1], self._stamper)
            if (evicted := self._strangers.add(peer)) is not None:
                self.refuse(LinkReason.LIMIT, "too many connections in their handshake", evicted.source)
                evicted.close()
            peer.start()

    def _pause(self, listening: socket.socket, why: str) -> None:
        """Look away for a while: the kernel would call again at once, and nothing would have changed."""
        evicted = self._strangers.evict()
        self.refuse(LinkReason.DESCRIPTORS, why, "" if evicted is None else evicted.source)
        if evicted is not None:
            # A stranger's descriptor is the cheapest to have back.
            evicted.close()
        loop = asyncio.get_running_loop()
        loop.remove_reader(listening.fileno())
        self._paused = loop.call_later(PAUSE_SECONDS, self._resume, listening)

    def _resume(self, listening: socket.socket) -> None:
        self._paused = None
        asyncio.get_running_loop().add_reader(listening.fileno(), self._on_acceptable, listening)

    def _on_datagram(self, data: bytes, stamp: Stamp, source: tuple[str, int]) -> None:
        try:
            self._take_datagram(data, stamp, source)
        except Exception as error:  # noqa: BLE001 the wall: whatever a peer sends costs its own datagram at most
            self.refuse(StreamReason.UNEXPECTED, brief(error), source[0])

    def _take_datagram(self, data: bytes, stamp: Stamp, source: tuple[str, int]) -> None:
        host = source[0]
        listeners = self.seats(host)
        if not listeners:
            self.refuse(LinkReason.SOURCE, f"{host} is not in allowed_sources", host)
        elif data[:1] == b"{" and (taking := [one for one in listeners if one.settings.section.format != "binary"]):
            self._take_json(taking[0], data, stamp, source)
        elif len(listeners) == 1 and listeners[0].settings.section.format == "json":
            # Of paths that share a port one alone takes JSON, so more than one have one that takes ours.
            listeners[0].spoil(1)
        else:
            self._take_binary(listeners, data, stamp, host)

    def _take_json(self, listener: LinkListener, data: bytes, stamp: Stamp, source: tuple[str, int]) -> None:
        host, port = source
        if listener.settings.keys:
            listener.refuse(LinkReason.FORMAT, "JSON cannot be signed, and this path has a key", host)
            return
        try:
            event = decode_forwarded(data)
        except WireError:
            listener.spoil(1)
            return
        self._look(listener, host)
        listener.sink.on_link_events(f"{host}:{port}", [event], stamp, together=True)

    def _take_binary(self, listeners: Sequence[LinkListener], data: bytes, stamp: Stamp, host: str) -> None:
        try:
            token, events = datagram_events(data, self._end_of_events)
        except WireError as error:
            of = self._sender(datagram_token(data))
            (self if of is None else of[0]).refuse(error.reason, str(error), host)
            return
        sender = self._sender(token)
        assert sender is not None  # it has just said where the events end
        listener, peer = sender
        if not events:
            # It only keeps the way open: a NAT or an accelerator forgets a flow on which nothing goes.
            return
        if listener not in listeners:
            listener.refuse(LinkReason.SOURCE, f"{host} is not in allowed_sources", host)
            return
        self._look(listener, host)
        listener.sink.on_link_events(peer.key, events, stamp, together=True)

    def _look(self, listener: LinkListener, host: str) -> None:
        """Take in the header of the datagram in hand, if that is looked at."""
        assert self._receiver is not None
        if (header := self._receiver.header) is not None:
            listener.counts.headers.take(host, header)

    def _end_of_events(self, token: int, number: int, data: bytes) -> int:
        if (sender := self._sender(token)) is None:
            raise WireError(LinkReason.TOKEN, "datagram of no open link; the forwarder will reconnect")
        return sender[1].end_of_events(number, data)

    def _sender(self, token: int) -> tuple[LinkListener, Downlink] | None:
        for listener in self.listeners:
            if (peer := listener.peer_of(token)) is not None:
                return listener, peer
        return None
