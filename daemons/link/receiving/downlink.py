"""One TCP connection to a receiver's port: a stranger, then a forwarder in the binary or the JSON format."""

import asyncio
import secrets
import socket
from collections.abc import Sequence
from typing import Protocol

from daemons.errors import LinkError, StreamError
from daemons.link.forwarded import LineDecoder
from daemons.link.messages import Ack, Bye, Departures, GaveUp, Heartbeat, Hello
from daemons.link.receiving.settings import ListenerSettings
from daemons.link.receiving.sink import LinkSink, SessionKey
from daemons.link.session import Happened, Offer, ReceiverSession, TimeReport
from daemons.reasons import REFUSALS, LinkReason, StreamReason
from daemons.records import LinkEvent, Stamp, inexact
from daemons.secret import Secret
from daemons.stream.connection import Connection
from daemons.stream.headers import ArrivingHeader
from daemons.stream.stamping import Stamper
from daemons.stream.tcp_info import TcpAccount

__all__ = ["Downlink", "Port", "Seat"]


class Seat(Protocol):
    """A path, as a connection sees it."""

    @property
    def settings(self) -> ListenerSettings: ...

    @property
    def sink(self) -> LinkSink: ...

    def admit(self, downlink: "Downlink") -> None:
        """Take in a connection that has proven itself, for which there is room."""

    def leave(self, downlink: "Downlink", why: str) -> None:
        """Note that a connection has ended."""

    def refuse(self, reason: LinkReason | StreamReason, detail: str, source: str) -> None:
        """Count a refusal."""

    def spoil(self, lines: int) -> None:
        """Count lines that were no events."""

    def has_room_for(self, key: SessionKey) -> bool:
        """Say whether one more forwarder may come."""


class Port(Protocol):
    """Where a connection came in."""

    def seats(self, host: str) -> Sequence[Seat]:
        """Give the paths that a forwarder from this address may bring."""

    def discard(self, downlink: "Downlink") -> None:
        """Note that a connection is no stranger any more, or has gone."""

    def refuse(self, reason: LinkReason | StreamReason, detail: str, source: str) -> None:
        """Count a refusal of one that has named no path."""


class Downlink:
    """Drives a session over a connection.

    Args:
        port: where it came in.
        sock: connected.
        host: its address.
        source_port: its port.
        stamper: makes stamps, and holds the clock.

    Attributes:
        host, source: its address, without and with its port.
        born_ns, heard_ns: when it came, and when it said something last, on the monotonic scale.
        token: 64 random bits that must head its datagrams.
        key: its session.
        seat: its path, once it has one.
    """

    def __init__(self, port: Port, sock: socket.socket, host: str, source_port: int, stamper: Stamper) -> None:
        self._port = port
        self._clock = stamper.clock
        self.host = host
        self.source = source = f"{host}:{source_port}"
        self.born_ns = self.heard_ns = stamper.clock.monotonic_ns()
        self.token = secrets.randbits(64)
        self.key: SessionKey = source
        self.seat: Seat | None = None
        self._lines: LineDecoder | None = None
        self._session = ReceiverSession(self._offers, nonce=secrets.token_bytes(16), token=self.token)
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
        """Begin to read, and say who we are to who may be a forwarder of ours."""
        self._connection.start()
        if any(seat.settings.section.format != "json" for seat in self._seats()):
            self._flush()

    def close(self) -> None:
        """End the connection now."""
        self._connection.close()

    def finish(self) -> "asyncio.Future[None]":
        """Acknowledge what was processed, take in nothing more, and end the connection so that this can be read.

        What was processed and is not known to be is sent again, and is in the rows of two lives.

        Returns:
            What is done when the connection is closed.
        """
        self.acknowledge()
        return self._connection.finish()

    @property
    def header(self) -> ArrivingHeader | None:
        """What the last packet of its handshake had."""
        return self._connection.header

    def observe_tcp(self, account: TcpAccount) -> None:
        """Account for what TCP knows of the connection."""
        self._connection.observe_tcp(account)

    def acknowledge(self) -> None:
        """Send an acknowledgement if there is something new in it."""
        if self._session.hello is None or self.seat is None:
            return
        ack = self.seat.sink.progress(self.key)
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
        """Ask for the time, unless the question would have to wait."""
        if self._session.hello is not None and not self._connection.blocked:
            self._session.ask_time(self._clock.wall_ns)
            self._flush()

    def end_of_events(self, number: int, data: bytes) -> int:
        """Check a datagram of this connection, as :class:`~daemons.link.seal.DatagramOpener` does."""
        return self._session.datagrams.end_of_events(number, data)

    def _seats(self) -> Sequence[Seat]:
        return self._port.seats(self.host)

    def _offers(self) -> list[Offer]:
        """Offer the paths that there are now: a reload may have changed them since it came."""
        return [
            Offer(
                path=seat.settings.section.name,
                keys=seat.settings.keys,
                transports=seat.settings.transports,
                highest_of=lambda session, seat=seat: seat.sink.progress(session).highest,  # type: ignore[misc]
                has_room_for=seat.has_room_for,
            )
            for seat in self._seats()
            if seat.settings.section.format != "json"
        ]

    def _take_seat(self, seat: Seat) -> None:
        self._port.discard(self)
        self.seat = seat
        seat.admit(self)

    def _flush(self) -> None:
        if data := self._session.data_to_send():
            self._connection.write(data)

    def _on_data(self, data: bytes, stamp: Stamp) -> None:
        self.heard_ns = stamp.steady_ns
        try:
            if self._lines is None and self._session.hello is None and (seat := self._json_seat(data)) is not None:
                self._lines = LineDecoder()
                self._take_seat(seat)
            if self._lines is not None and self.seat is not None:
                self._take_lines(self.seat, self._lines, data, stamp)
            else:
                self._take_frames(data, stamp)
        except LinkError as error:
            self._flush()
            self._refuse(error.reason, str(error))
            self._depart(str(error))
            self.close()

    def _named_seat(self, path: str | None) -> Seat | None:
        return next((seat for seat in self._seats() if seat.settings.section.name == path), None)

    def _json_seat(self, data: bytes) -> Seat | None:
        """Find the path of a program that speaks JSON, which has no introduction; None when this is none."""
        seats = self._seats()
        taking = [seat for seat in seats if seat.settings.section.format != "binary"]
        if not taking or (data[:1] != b"{" and any(seat.settings.section.format != "json" for seat in seats)):
            return None
        seat = taking[0]
        if seat.settings.keys:
            raise LinkError(LinkReason.FORMAT, "JSON cannot be signed, and this path has a key")
        if not seat.has_room_for(self.key):
            raise LinkError(LinkReason.BUSY, "as many forwarders as may be are connected to this path already")
        return seat

    def _take_lines(self, seat: Seat, lines: LineDecoder, data: bytes, stamp: Stamp) -> None:
        events, bad = lines.feed(data)
        seat.spoil(bad)
        if events:
            seat.sink.on_link_events(self.key, events, stamp if lines.exact else inexact(stamp), together=False)

    def _take_frames(self, data: bytes, stamp: Stamp) -> None:
        events: list[LinkEvent] = []
        read = self._session.receive_data(data, stamp)
        for happened in read:
            if type(happened) is LinkEvent:
                events.append(happened)
                continue
            if isinstance(happened, Hello):
                self._enter(happened)
                continue
            assert self.seat is not None  # nothing comes out of a session before HELLO
            if events:
                # What a word says holds after them. The stamp is of the read's last packet, which may be much later.
                left_ns = max(map(_left_ns, read))
                self.seat.sink.on_link_events(self.key, events, inexact(stamp), together=False, left_ns=left_ns)
                events = []
            self._tell(self.seat.sink, happened, stamp)
        if events:
            assert self.seat is not None
            exact = stamp if self._session.exact else inexact(stamp)
            self.seat.sink.on_link_events(self.key, events, exact, together=False)

    def _enter(self, hello: Hello) -> None:
        seat = self._named_seat(self._session.path)
        assert seat is not None  # the session has just chosen among them
        self.key = hello.session
        self._take_seat(seat)
        seat.sink.on_hello(self.key, hello.acknowledged, hello)
        self._flush()
        self.ask_time()

    def _tell(self, sink: LinkSink, happened: Happened, stamp: Stamp) -> None:
        """Hand on what is neither event nor introduction."""
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

    def _refuse(self, reason: LinkReason | StreamReason, detail: str) -> None:
        """Count it where it belongs: with the path that it is on or has named, else with the port."""
        (self.seat or self._named_seat(self._session.named) or self._port).refuse(reason, detail, self.source)

    def _depart(self, why: str) -> None:
        self._port.discard(self)
        if self.seat is not None:
            self.seat.leave(self, why)

    def _on_close(self, error: StreamError | None) -> None:
        if error is not None and error.reason in REFUSALS:
            self._refuse(error.reason, str(error))
        self._depart(str(error) if error else "closed by the forwarder")


def _left_ns(happened: Happened) -> int:
    """Return when something left the forwarder, by its clock; 0 where it does not tell."""
    match happened:
        case LinkEvent() | TimeReport():
            return happened.left_ns
        case Heartbeat():
            return happened.wall_ns
    return 0
