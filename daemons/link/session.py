"""The two ends of a link connection without I/O: handshake, heartbeats, acknowledgements, clock questions.

The receiver speaks first (CHALLENGE), the forwarder introduces itself (HELLO), the receiver consents (WELCOME) or
refuses (REJECT). With a key, both sign the other's nonce (HMAC-SHA-256, RFC 2104), so neither can be impersonated or
replayed, and all that follows is signed under keys derived from the handshake: see :mod:`daemons.link.seal`.
"""

import hmac
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, NoReturn

from daemons.errors import LinkError, WireError
from daemons.link.control import encode_control, hello_unsigned, welcome_unsigned
from daemons.link.decoder import MAX_BODY, MAX_STRANGER_BODY, FrameDecoder
from daemons.link.frame import Kind
from daemons.link.messages import (
    VERSION,
    Ack,
    Bye,
    Challenge,
    ClockReply,
    ClockRequest,
    Departures,
    GaveUp,
    Heartbeat,
    Hello,
    Message,
    Reject,
    RejectReason,
    Shared,
    Transport,
    Welcome,
)
from daemons.link.seal import DatagramOpener, DatagramSealer, Opener, Sealer, SessionKeys, session_keys
from daemons.reasons import LinkReason
from daemons.records import ClockState, LinkEvent, Stamp
from daemons.secret import Secret
from daemons.timing.exchange import ClockSample, exchange

__all__ = ["ForwarderSession", "Happened", "Introduction", "Offer", "ReceiverSession", "TimeReport"]

_BY_FORWARDER: Final = b"backbone-latency link 2 forwarder"
_BY_RECEIVER: Final = b"backbone-latency link 2 receiver"


def _sign(key: Secret | None, role: bytes, *parts: bytes) -> bytes:
    return b"" if key is None else hmac.digest(key.value, role + b"".join(parts), "sha256")


def _keys(secret: Secret, challenge: bytes, hello: Hello, welcome: Welcome) -> SessionKeys:
    signed = hello_unsigned(hello) + welcome_unsigned(welcome)
    return session_keys(secret.value, challenge + hello.nonce, challenge + signed)


@dataclass(frozen=True, slots=True)
class Introduction:
    """Who a forwarder says it is, and over what it will send.

    Attributes:
        key: the shared secret, or None.
        session: this process's random number.
        path: the path's name, or empty.
        transport: what will carry the events.
        acknowledged: highest sequence that was ever acknowledged.
        nonce: 16 fresh random bytes.
    """

    key: Secret | None
    session: int
    path: str
    transport: Transport
    acknowledged: int
    nonce: bytes


class ForwarderSession:
    """The forwarder's end.

    Feed :meth:`receive_data`; send what :meth:`data_to_send` gives, and frames through :meth:`seal`, in the order in
    which they were sealed.

    Args:
        introduction: who we are.
        clock: our clock's state now, for HELLO.

    Attributes:
        welcome: the receiver's consent, once given.
        datagrams: makes this connection's datagrams, from then on.
    """

    def __init__(self, introduction: Introduction, clock: ClockState) -> None:
        self._me = introduction
        self._clock = clock
        self._decoder = FrameDecoder(MAX_STRANGER_BODY)
        self._decoder.pause_after = Kind.WELCOME
        self._opener: Opener | None = None
        self._sealer: Sealer | None = None
        self._out: list[bytes] = []
        self._challenge = b""
        self._hello: Hello | None = None
        self.welcome: Welcome | None = None
        self.datagrams = DatagramSealer(0)

    def receive_data(self, data: bytes, stamp: Stamp, wall_ns: Callable[[], int]) -> list[Ack | Shared]:
        """Take in received bytes.

        Args:
            data: the bytes.
            stamp: when they arrived.
            wall_ns: reads the wall clock, for the departure of clock answers.

        Returns:
            Acknowledgements, and word of other forwarders of the path, in order.

        Raises:
            LinkError: the receiver refused us (reasons ``version``, ``key``, ``path``, ``transport``, ``busy``), could
                not prove that it has the key (``peer_key``), broke the protocol (``garbage``, ``too_large``), or
                somebody on the way changed its words (``forged``).
        """
        told: list[Ack | Shared] = []
        for message in self._decoder.feed(data if self._opener is None else self._opener.open(data)):
            match message:
                case Ack() | Shared() if self.welcome:
                    told.append(message)
                case ClockRequest() if self.welcome:
                    reply = ClockReply(message.number, message.t1_ns, stamp.ns, wall_ns())
                    self._out.append(self.seal(encode_control(reply)))
                case Challenge() if not self._challenge:
                    self._introduce(message)
                case Welcome() if self._hello and not self.welcome:
                    self._check(self._hello, message)
                    # What came with it is of the connection's second part.
                    told += self.receive_data(self._decoder.rest(), stamp, wall_ns)
                case Reject():
                    raise LinkError(message.reason.counted, f"the receiver refused us: {message.text}")
                case _:
                    raise WireError(LinkReason.GARBAGE, f"{type(message).__name__} came out of turn")
        return told

    def seal(self, frames: bytes) -> bytes:
        """Return what to write for these frames, once welcome; to be written before anything is sealed after it."""
        return frames if self._sealer is None else self._sealer.seal(frames)

    def data_to_send(self) -> bytes:
        """Return what is to be sent now."""
        data = b"".join(self._out)
        self._out.clear()
        return data

    def _introduce(self, challenge: Challenge) -> None:
        if challenge.version < VERSION:
            raise LinkError(
                LinkReason.VERSION, f"the receiver speaks version {challenge.version}, we {VERSION}; upgrade it"
            )
        me = self._me
        self._challenge = challenge.nonce
        hello = Hello(VERSION, me.transport, me.session, me.nonce, me.acknowledged, me.path, self._clock)
        mac = _sign(me.key, _BY_FORWARDER, challenge.nonce, hello_unsigned(hello))
        self._hello = hello
        signed = Hello(VERSION, me.transport, me.session, me.nonce, me.acknowledged, me.path, self._clock, mac)
        self._out.append(encode_control(signed))

    def _check(self, hello: Hello, welcome: Welcome) -> None:
        key, said = self._me.key, hello_unsigned(hello)
        expected = _sign(key, _BY_RECEIVER, self._challenge, said, welcome_unsigned(welcome))
        if not hmac.compare_digest(expected, welcome.mac):
            why = "has another key" if welcome.mac else "has no key"
            raise LinkError(LinkReason.PEER_KEY, f"the receiver {why}; give both ends the same key file")
        self.welcome = welcome
        self._decoder.limit = MAX_BODY
        self._decoder.pause_after = None
        self.datagrams = DatagramSealer(welcome.token)
        if key is not None:
            keys = _keys(key, self._challenge, hello, welcome)
            self._opener, self._sealer = Opener(keys.receiver), Sealer(keys.forwarder)
            self.datagrams = DatagramSealer(welcome.token, keys.datagrams)


@dataclass(frozen=True, slots=True)
class TimeReport:
    """One clock exchange with the forwarder.

    Attributes:
        sample: what it showed, or None where its times were impossible.
        left_ns: when the forwarder answered, by its clock; 0 where it answered no question of ours.
    """

    sample: ClockSample | None
    left_ns: int = 0


Happened = LinkEvent | Hello | Heartbeat | Bye | GaveUp | Departures | TimeReport


@dataclass(frozen=True, slots=True)
class Offer:
    """A path that a forwarder may bring.

    Attributes:
        path: its name.
        keys: the shared secrets of which a forwarder may have any; empty for none.
        transports: what the receiver is listening on.
        highest_of: tells the highest sequence processed so far of a session.
        has_room_for: says whether there is room for a session's connection.
    """

    path: str
    keys: tuple[Secret, ...]
    transports: frozenset[Transport]
    highest_of: Callable[[int], int]
    has_room_for: Callable[[int], bool] = lambda _session: True


class ReceiverSession:
    """The receiver's end.

    Args:
        offers: gives the paths that a forwarder may bring, of which it names one; a sole one needs no name.
        nonce: 16 fresh random bytes.
        token: 64 random bits that must head the datagrams of this connection.

    Attributes:
        named: the path that the forwarder has asked for, accepted or not.
        path: the one that it brings, once accepted.
        hello: the forwarder's introduction, once it was accepted.
        key: the one that it was signed with.
        datagrams: knows this connection's datagrams, from then on.
    """

    def __init__(self, offers: Callable[[], Sequence[Offer]], *, nonce: bytes, token: int) -> None:
        self._offers = offers
        self.named: str | None = None
        self.path: str | None = None
        self.key: Secret | None = None
        self._nonce = nonce
        self.token = token
        self._decoder = FrameDecoder(MAX_STRANGER_BODY)
        self._decoder.pause_after = Kind.HELLO
        self._opener: Opener | None = None
        self._sealer: Sealer | None = None
        self._out: list[bytes] = [encode_control(Challenge(VERSION, nonce))]
        self._asked: dict[int, int] = {}
        self._number = 0
        self.hello: Hello | None = None
        self.datagrams = DatagramOpener()

    def receive_data(self, data: bytes, stamp: Stamp) -> list[Happened]:
        """Take in received bytes.

        Returns:
            What they mean, in order: at first the accepted HELLO, then events and the rest.

        Raises:
            LinkError: the forwarder is refused; a REJECT is in :meth:`data_to_send`, after which to close.
            WireError: the forwarder broke the protocol, or somebody on the way changed its words.
        """
        happened: list[Happened] = []
        for message in self._decoder.feed(data if self._opener is None else self._opener.open(data)):
            if self.hello is None:
                happened.append(self._admit(message))
                # What came with it is of the connection's second part.
                happened += self.receive_data(self._decoder.rest(), stamp)
            # A tuple, for a union would be built anew for every event.
            elif isinstance(message, (LinkEvent, Heartbeat, Bye, GaveUp, Departures)):
                happened.append(message)
            elif isinstance(message, ClockReply):
                happened.append(self._evaluate(message, stamp))
            else:
                raise WireError(LinkReason.GARBAGE, f"{type(message).__name__} came out of turn")
        return happened

    @property
    def exact(self) -> bool:
        """Whether the last read ended with the last message that came of it."""
        return self._decoder.exact and (self._opener is None or self._opener.exact)

    def ask_time(self, wall_ns: Callable[[], int]) -> None:
        """Ask the forwarder for its time; the question's departure is read as late as possible."""
        self._number += 1
        now_ns = wall_ns()
        self._asked[self._number] = now_ns
        # An answer that has not come after eight questions will not come.
        self._asked.pop(self._number - 8, None)
        self._send(ClockRequest(self._number, now_ns))

    def acknowledge(self, ack: Ack) -> None:
        """Tell the forwarder what was processed."""
        self._send(ack)

    def tell_shared(self, others: int) -> None:
        """Tell the forwarder that so many others serve its path."""
        self._send(Shared(others))

    def data_to_send(self) -> bytes:
        """Return what is to be sent now."""
        data = b"".join(self._out)
        self._out.clear()
        return data

    def _send(self, message: Ack | ClockRequest | Shared) -> None:
        frame = encode_control(message)
        self._out.append(frame if self._sealer is None else self._sealer.seal(frame))

    def _admit(self, message: Message) -> Hello:
        if not isinstance(message, Hello):
            raise WireError(LinkReason.GARBAGE, f"{type(message).__name__} came before HELLO")
        if message.version != VERSION:
            self._refuse(RejectReason.VERSION, f"it speaks version {message.version}, we {VERSION}; upgrade the older")
        self.named = message.path
        body = hello_unsigned(message)
        offer, self.key = self._choose(message, body)
        if message.transport not in offer.transports:
            self._refuse(RejectReason.TRANSPORT, f"{message.transport.name} is not enabled for this path")
        if not offer.has_room_for(message.session):
            self._refuse(RejectReason.BUSY, "as many forwarders as may be are connected; give it a path of its own")
        self.hello, self.path = message, offer.path
        self._decoder.limit = MAX_BODY
        self._decoder.pause_after = None
        welcome = Welcome(VERSION, self.token, offer.highest_of(message.session))
        mac = _sign(self.key, _BY_RECEIVER, self._nonce, body, welcome_unsigned(welcome))
        self._out.append(encode_control(Welcome(welcome.version, welcome.token, welcome.highest, mac)))
        if self.key is not None:
            keys = _keys(self.key, self._nonce, message, welcome)
            self._opener, self._sealer = Opener(keys.forwarder), Sealer(keys.receiver)
            self.datagrams = DatagramOpener(keys.datagrams)
        return message

    def _choose(self, hello: Hello, body: bytes) -> tuple[Offer, Secret | None]:
        """Find the path that a forwarder may bring, and the key that it has."""
        offers = self._offers()
        # Who names none of them is told so only with a key that fits: strangers do not learn what paths there are.
        matching = [offer for offer in offers if offer.path == hello.path] or offers
        if not matching:
            self._refuse(RejectReason.PATH, "no path here takes forwarders from its address; see allowed_sources")
        keyed = [(offer, key) for offer in matching for key in offer.keys or (None,)]
        fitting = [
            (offer, key)
            for offer, key in keyed
            if hmac.compare_digest(_sign(key, _BY_FORWARDER, self._nonce, body), hello.mac)
        ]
        if not fitting:
            why = (
                "it has another key"
                if hello.mac and any(offer.keys for offer in matching)
                else "only one end has a key"
            )
            self._refuse(RejectReason.KEY, f"{why}; give both ends the same key file")
        if len(matching) > 1 or hello.path not in ("", matching[0].path):
            said = f"it names path {hello.path!r}" if hello.path else "it names no path"
            here = " or ".join(repr(one.path) for one in offers)
            self._refuse(RejectReason.PATH, f"{said}, this is {here}; set path_name at its destination")
        return fitting[0]

    def _refuse(self, reason: RejectReason, text: str) -> NoReturn:
        self._out.append(encode_control(Reject(reason, text)))
        raise LinkError(reason.counted, f"forwarder refused: {text}")

    def _evaluate(self, reply: ClockReply, stamp: Stamp) -> TimeReport:
        asked = self._asked.pop(reply.number, None)
        if asked is None or asked != reply.t1_ns or stamp.step_ns:
            return TimeReport(None)
        return TimeReport(exchange(reply.t1_ns, reply.t2_ns, reply.t3_ns, stamp.ns), reply.t3_ns)
