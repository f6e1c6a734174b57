"""The link's binary format, version 2; docs/wire-format.md has it byte by byte, with test vectors.

All integers are big-endian. A frame is a head (magic, type, body length) and a body. The exchange's message travels in
an EVENT frame's body untouched.
"""

from collections.abc import Callable
from enum import IntEnum
from struct import Struct
from struct import error as StructError  # noqa: N812 it is an exception class
from typing import Final

import msgspec

from daemons.errors import WireError
from daemons.records import ClockState, LinkEvent, StampKind

__all__ = [
    "MAX_RANGES",
    "VERSION",
    "Ack",
    "Bye",
    "Challenge",
    "ClockReply",
    "ClockRequest",
    "Departure",
    "Departures",
    "DropReason",
    "FrameDecoder",
    "GaveUp",
    "Heartbeat",
    "Hello",
    "Message",
    "Reject",
    "RejectReason",
    "Shared",
    "Transport",
    "Welcome",
    "datagram_events",
    "datagram_head",
    "datagram_token",
    "encode",
    "encode_event",
    "hello_unsigned",
    "redeparted",
    "welcome_unsigned",
]

VERSION: Final = 2
FRAME_MAGIC: Final = 0xB1
DATAGRAM_MAGIC: Final = 0xBD
MAX_BODY: Final = 8 << 20
"""Largest body accepted from an authenticated peer."""
MAX_STRANGER_BODY: Final = 512
"""Largest body accepted before the handshake is complete."""

MAX_DEPARTURES: Final = 256
"""Most departures in a DEPARTURES frame."""
MAX_RANGES: Final = 256
"""Most ranges of numbers in a GAVE_UP frame."""

HEAD = Struct("!BBI")
EVENT_HEAD = Struct("!BBIQqqqQBB")
"""Frame head, sequence, receive, event time, departure, event id, flags, stream length."""
_EVENT_BODY_FIXED: Final = EVENT_HEAD.size - HEAD.size
_DEPARTURE = Struct("!q")
_DEPARTURE_AT: Final = HEAD.size + 24
_FLAGS_AT: Final = HEAD.size + 40
DATAGRAM_HEAD = Struct("!BBQQ")
"""Magic, version, token, number."""
_CLOCK = Struct("!BBHqQ")
_HELLO = Struct("!BBQ16sQ")
_WELCOME = Struct("!BQQ")
_REJECT = Struct("!BB")
_HEARTBEAT = Struct("!Qq")
_DROP = Struct("!BQ")
_ACK = Struct("!QQQ")
_REQUEST = Struct("!Iq")
_REPLY = Struct("!Iqqq")
_BYE = Struct("!Q")
_RANGE = Struct("!QQ")
_DEPARTED = Struct("!Qqq")
_SHARED = Struct("!H")

NO_TIME: Final = -(1 << 63)
NO_ID: Final = (1 << 64) - 1
_DELAYED: Final = 0x01
_KIND_SHIFT: Final = 1
_KIND_MASK: Final = 0x06
_SAMPLED_SHIFT: Final = 3
_SAMPLED: Final = 1 << _SAMPLED_SHIFT
_WAITED: Final = 0x10
_SOURCES: Final = ("none", "kernel", "chrony", "ptp")


class Kind(IntEnum):
    """Frame types."""

    CHALLENGE = 1
    HELLO = 2
    WELCOME = 3
    REJECT = 4
    EVENT = 5
    HEARTBEAT = 6
    ACK = 7
    CLOCK_REQUEST = 8
    CLOCK_REPLY = 9
    BYE = 10
    GAVE_UP = 11
    DEPARTURES = 128
    SHARED = 129


_OPTIONAL: Final = 0x80
"""Frame types from here on are passed over by who does not know them: later versions can add some."""
_EVENT: Final = int(Kind.EVENT)


class Transport(IntEnum):
    """What carries the events; the control connection is TCP in any case."""

    TCP = 0
    UDP = 1


class RejectReason(IntEnum):
    """Why a receiver refuses a forwarder."""

    VERSION = 1
    KEY = 2
    PATH = 3
    TRANSPORT = 4
    BUSY = 5


class DropReason(IntEnum):
    """Why a forwarder gave an event up."""

    COUNT = 1
    BYTES = 2
    AGE = 3
    TOO_LARGE = 4
    SHUTDOWN = 5
    SEND = 6


class Challenge(msgspec.Struct, frozen=True):
    """Receiver's first word: what it speaks, and a nonce that the forwarder must sign."""

    version: int
    nonce: bytes


class Hello(msgspec.Struct, frozen=True):
    """Forwarder's first word.

    Attributes:
        version: of this format.
        transport: what will carry the events.
        session: one life of the forwarder process.
        nonce: 16 bytes that the receiver must sign.
        acknowledged: highest sequence that a receiver said it has processed; accounting starts after it.
        path: the path's name, or empty to take the receiver's word for it.
        clock: the forwarder's clock.
        mac: HMAC-SHA-256, or empty when there is no key.
    """

    version: int
    transport: Transport
    session: int
    nonce: bytes
    acknowledged: int
    path: str
    clock: ClockState
    mac: bytes = b""


class Welcome(msgspec.Struct, frozen=True):
    """Receiver's consent.

    Attributes:
        version: of this format.
        token: must head every datagram of this connection.
        highest: highest sequence of this session that the receiver has processed.
        mac: HMAC-SHA-256, or empty when there is no key.
    """

    version: int
    token: int
    highest: int
    mac: bytes = b""


class Reject(msgspec.Struct, frozen=True):
    """Receiver's refusal, before it closes."""

    reason: RejectReason
    text: str


class Heartbeat(msgspec.Struct, frozen=True):
    """Forwarder, every second: what it has sent and given up, and its clock.

    Attributes:
        highest: number up to which everything was handed to the transport, or given up.
        wall_ns: its wall clock at this frame.
        clock: its clock's state.
        drops: events given up so far in this session on this link, by reason.
    """

    highest: int
    wall_ns: int
    clock: ClockState
    drops: dict[DropReason, int]


class Ack(msgspec.Struct, frozen=True):
    """Receiver: processed up to ``highest``, of which ``unique`` arrived and ``missing`` did not."""

    highest: int
    unique: int
    missing: int


class ClockRequest(msgspec.Struct, frozen=True):
    """Receiver asks for the time; ``t1_ns`` is its clock when it asked."""

    number: int
    t1_ns: int


class ClockReply(msgspec.Struct, frozen=True):
    """Forwarder's answer: the question's time, when it came, when this left (RFC 5905, section 8)."""

    number: int
    t1_ns: int
    t2_ns: int
    t3_ns: int


class Bye(msgspec.Struct, frozen=True):
    """Forwarder ends its session after ``highest``."""

    highest: int


class GaveUp(msgspec.Struct, frozen=True):
    """Forwarder tells which numbers it has never sent, and never will: no loss of the way.

    Attributes:
        ranges: first and last number of each, ascending; those told before may come again.
    """

    ranges: tuple[tuple[int, int], ...]


class Departure(msgspec.Struct, frozen=True):
    """When an event left the forwarder's kernel, and, over TCP, when that learnt that it had come; None if unknown."""

    sequence: int
    departure_ns: int
    acknowledged_ns: int | None


class Departures(msgspec.Struct, frozen=True):
    """Forwarder tells afterwards what its kernel said of the events that it had marked as sampled."""

    departures: tuple[Departure, ...]


class Shared(msgspec.Struct, frozen=True):
    """Receiver tells a forwarder that it is not the only one of its path; ``others`` are connected beside it."""

    others: int


Control = (
    Challenge
    | Hello
    | Welcome
    | Reject
    | Heartbeat
    | Ack
    | ClockRequest
    | ClockReply
    | Bye
    | GaveUp
    | Departures
    | Shared
)
Message = Control | LinkEvent


def encode(message: Control) -> bytes:
    """Return a control message as a frame."""
    kind, body = _body(message)
    return HEAD.pack(FRAME_MAGIC, kind, len(body)) + body


def _body(message: Control) -> tuple[Kind, bytes]:
    match message:
        case Challenge() | Hello() | Welcome() | Reject():
            return _handshake_body(message)
        case Heartbeat():
            drops = b"".join(_DROP.pack(reason, count) for reason, count in sorted(message.drops.items()))
            fixed = _HEARTBEAT.pack(message.highest, message.wall_ns) + _clock(message.clock)
            return Kind.HEARTBEAT, fixed + bytes([len(message.drops)]) + drops
        case Ack():
            return Kind.ACK, _ACK.pack(message.highest, message.unique, message.missing)
        case ClockRequest():
            return Kind.CLOCK_REQUEST, _REQUEST.pack(message.number, message.t1_ns)
        case ClockReply():
            return Kind.CLOCK_REPLY, _REPLY.pack(message.number, message.t1_ns, message.t2_ns, message.t3_ns)
        case Bye():
            return Kind.BYE, _BYE.pack(message.highest)
        case GaveUp():
            return Kind.GAVE_UP, b"".join(_RANGE.pack(first, last) for first, last in message.ranges)
        case Departures():
            return Kind.DEPARTURES, b"".join(
                _DEPARTED.pack(one.sequence, one.departure_ns, _time(one.acknowledged_ns)) for one in message.departures
            )
        case Shared():
            return Kind.SHARED, _SHARED.pack(message.others)


def _time(time_ns: int | None) -> int:
    return NO_TIME if time_ns is None else time_ns


def _handshake_body(message: Challenge | Hello | Welcome | Reject) -> tuple[Kind, bytes]:
    match message:
        case Challenge():
            return Kind.CHALLENGE, bytes([message.version]) + message.nonce
        case Hello():
            return Kind.HELLO, hello_unsigned(message) + message.mac
        case Welcome():
            return Kind.WELCOME, welcome_unsigned(message) + message.mac
        case Reject():
            text = message.text.encode()[:255]
            return Kind.REJECT, _REJECT.pack(message.reason, len(text)) + text


def encode_event(
    sequence: int,
    receive_ns: int,
    receive_kind: int,
    event_time_ns: int | None,
    departure_ns: int,
    event_id: int | None,
    stream: bytes,
    payload: bytes,
    *,
    delayed: bool = False,
    sampled: bool = False,
) -> bytes:
    """Return an event as a frame; arguments as in :class:`~daemons.records.LinkEvent`, the stream's name encoded."""
    length = len(stream)
    return (
        EVENT_HEAD.pack(
            FRAME_MAGIC,
            _EVENT,
            _EVENT_BODY_FIXED + length + len(payload),
            sequence,
            receive_ns,
            NO_TIME if event_time_ns is None else event_time_ns,
            departure_ns,
            NO_ID if event_id is None else event_id,
            receive_kind << _KIND_SHIFT | delayed | sampled << _SAMPLED_SHIFT,
            length,
        )
        + stream
        + payload
    )


def redeparted(frame: bytes, departure_ns: int, *, delayed: bool) -> bytes:
    """Return an EVENT frame that leaves later than it was made: with its own departure stamp, as one that waited."""
    late = bytearray(frame)
    _DEPARTURE.pack_into(late, _DEPARTURE_AT, departure_ns)
    # Of what leaves late no departure is told.
    late[_FLAGS_AT] = late[_FLAGS_AT] & ~_SAMPLED | _WAITED | delayed
    return bytes(late)


def hello_unsigned(hello: Hello) -> bytes:
    """Return a HELLO body without its signature: what is signed."""
    path = hello.path.encode()
    if len(path) > 255:
        raise WireError("path", f"path name of {len(path)} bytes is too long; 255 at most")
    fixed = _HELLO.pack(hello.version, hello.transport, hello.session, hello.nonce, hello.acknowledged)
    return fixed + _clock(hello.clock) + bytes([len(path)]) + path


def welcome_unsigned(welcome: Welcome) -> bytes:
    """Return a WELCOME body without its signature: what is signed."""
    return _WELCOME.pack(welcome.version, welcome.token, welcome.highest)


def datagram_head(token: int, number: int) -> bytes:
    """Return what a datagram of a link starts with; EVENT frames follow it."""
    return DATAGRAM_HEAD.pack(DATAGRAM_MAGIC, VERSION, token, number)


def datagram_token(data: bytes) -> int:
    """Return the token that a datagram bears, true or not; 0 where it is too short for one."""
    return int(DATAGRAM_HEAD.unpack_from(data)[2]) if len(data) >= DATAGRAM_HEAD.size else 0


def datagram_events(data: bytes, end_of_events: Callable[[int, int, bytes], int]) -> tuple[int, list[LinkEvent]]:
    """Read a datagram.

    Args:
        data: the datagram.
        end_of_events: is given its token, its number and all of it; says where in it the events end, or raises.

    Returns:
        The token and the events.

    Raises:
        WireError: ``garbage`` when it is no datagram of this format, or as ``end_of_events`` says.
    """
    if len(data) < DATAGRAM_HEAD.size:
        raise WireError("garbage", f"datagram of {len(data)} bytes is too short")
    magic, version, token, number = DATAGRAM_HEAD.unpack_from(data)
    if magic != DATAGRAM_MAGIC or version != VERSION:
        raise WireError("garbage", f"datagram starts with {data[:2].hex()}, not ours")
    events: list[LinkEvent] = []
    at, end = DATAGRAM_HEAD.size, end_of_events(token, number, data)
    while at < end:
        if end - at < EVENT_HEAD.size or data[at] != FRAME_MAGIC or data[at + 1] != _EVENT:
            raise WireError("garbage", "datagram holds something else than events")
        stop = at + HEAD.size + HEAD.unpack_from(data, at)[2]
        if stop > end:
            raise WireError("garbage", "datagram is cut off")
        events.append(_event(data, at, stop))
        at = stop
    return token, events


class FrameDecoder:
    """Cuts a byte stream into messages, however it was split on the way.

    Attributes:
        limit: largest body accepted; raised once the peer is known.
        pause_after: frame type after which to stop; what follows it is then taken by :meth:`rest`.
        exact: the last read ended with a message, of which nothing came in a packet after the read's last.
    """

    def __init__(self, limit: int = MAX_STRANGER_BODY) -> None:
        self.limit = limit
        self.pause_after: Kind | None = None
        self.exact = False
        # What is there of a message, and how long it has to be before looking at it again brings anything: a large
        # message that comes in small pieces is put together once, not with each of them.
        self._rest = bytearray()
        self._needed = 0

    def feed(self, data: bytes) -> list[Message]:
        """Take in received bytes; return the messages that they complete.

        Raises:
            WireError: the bytes are not this format; the stream cannot be read on.
        """
        rest = self._rest
        if rest:
            rest += data
            if len(rest) < self._needed:
                self.exact = False
                return []
            data = bytes(rest)
            rest.clear()
        messages: list[Message] = []
        self._needed = HEAD.size
        at, end = 0, len(data)
        unpack = HEAD.unpack_from
        size = HEAD.size
        while end - at >= size:
            magic, kind, length = unpack(data, at)
            if magic != FRAME_MAGIC:
                raise WireError("garbage", f"frame starts with {data[at : at + 4].hex()}, not ours")
            if length > self.limit:
                raise WireError("too_large", f"frame of {length} bytes exceeds the limit of {self.limit}")
            stop = at + size + length
            if stop > end:
                self._needed = stop - at
                break
            if kind == _EVENT:
                messages.append(_event(data, at, stop))
            else:
                messages += _control(kind, data[at + size : stop])
            at = stop
            if kind == self.pause_after:
                break
        self.exact = at == end
        if at < end:
            rest += data[at:]
        return messages

    def rest(self) -> bytes:
        """Give back what has come and was not decoded."""
        rest = bytes(self._rest)
        self._rest.clear()
        return rest


def _event(data: bytes, at: int, stop: int) -> LinkEvent:
    names = at + EVENT_HEAD.size
    if names > stop:
        raise WireError("garbage", "EVENT frame is too short")
    _magic, _kind, _length, sequence, receive_ns, time_ns, departure_ns, event_id, flags, length = (
        EVENT_HEAD.unpack_from(data, at)
    )
    payload = names + length
    if payload > stop or not sequence:
        raise WireError("garbage", "EVENT frame contradicts itself")
    return LinkEvent(
        sequence,
        receive_ns,
        _STAMP_KINDS[(flags & _KIND_MASK) >> _KIND_SHIFT],
        None if time_ns == NO_TIME else time_ns,
        departure_ns,
        None if event_id == NO_ID else event_id,
        _name(data[names:payload]),
        bool(flags & _DELAYED),
        data[payload:stop],
        bool(flags & _SAMPLED),
        bool(flags & _WAITED),
    )


_STAMP_KINDS = tuple(StampKind)
_names: dict[bytes, str] = {}
_MAX_NAMES: Final = 4096


def _name(raw: bytes) -> str:
    """Decode a stream's name, the same object each time: names recur in every event."""
    known = _names.get(raw)
    if known is None:
        try:
            known = raw.decode()
        except UnicodeDecodeError as error:
            raise WireError("garbage", "stream name is not UTF-8") from error
        if len(_names) < _MAX_NAMES:
            _names[raw] = known
    return known


def _clock(state: ClockState) -> bytes:
    known = state.error_bound_ns is not None
    flags = state.synchronized | known << 1
    source = _SOURCES.index(state.source) if state.source in _SOURCES else 0
    return _CLOCK.pack(flags, source, min(state.steps, 0xFFFF), state.offset_ns, state.error_bound_ns or 0)


def _clock_at(body: bytes, at: int) -> ClockState:
    flags, source, steps, offset_ns, bound_ns = _CLOCK.unpack_from(body, at)
    return ClockState(
        synchronized=bool(flags & 1),
        offset_ns=offset_ns,
        error_bound_ns=bound_ns if flags & 2 else None,
        source=_SOURCES[source] if source < len(_SOURCES) else "none",
        steps=steps,
    )


def _control(kind: int, body: bytes) -> tuple[Message, ...]:
    """Decode a control frame; nothing comes of one that may be passed over."""
    decode = _DECODERS.get(kind)
    if decode is None:
        if kind >= _OPTIONAL:
            return ()
        raise WireError("garbage", f"frame type {kind} is unknown")
    try:
        return (decode(body),)
    except (StructError, ValueError, IndexError) as error:
        raise WireError("garbage", f"{Kind(kind).name} frame is malformed: {error}") from error


def _decode_challenge(body: bytes) -> Challenge:
    if len(body) != 17:
        raise ValueError(f"{len(body)} bytes")
    return Challenge(body[0], body[1:])


def _decode_hello(body: bytes) -> Hello:
    version, transport, session, nonce, acknowledged = _HELLO.unpack_from(body)
    if version != VERSION:
        # Later versions may differ in everything after the version; the session answers with a REJECT.
        return Hello(version, Transport.TCP, session, nonce, acknowledged, "", _clock_at(body, _HELLO.size))
    at = _HELLO.size + _CLOCK.size
    end = at + 1 + body[at]
    mac = body[end:]
    if end > len(body) or len(mac) not in (0, 32):
        raise ValueError("lengths contradict each other")
    path = body[at + 1 : end].decode()
    return Hello(version, Transport(transport), session, nonce, acknowledged, path, _clock_at(body, _HELLO.size), mac)


def _decode_welcome(body: bytes) -> Welcome:
    version, token, highest = _WELCOME.unpack_from(body)
    mac = body[_WELCOME.size :]
    if len(mac) not in (0, 32):
        raise ValueError(f"signature of {len(mac)} bytes")
    return Welcome(version, token, highest, mac)


def _decode_reject(body: bytes) -> Reject:
    reason, length = _REJECT.unpack_from(body)
    # Cut to fit, the text may end within a character.
    return Reject(RejectReason(reason), body[_REJECT.size : _REJECT.size + length].decode(errors="replace"))


def _decode_heartbeat(body: bytes) -> Heartbeat:
    highest, wall_ns = _HEARTBEAT.unpack_from(body)
    at = _HEARTBEAT.size + _CLOCK.size
    drops = {}
    for index in range(body[at]):
        reason, count = _DROP.unpack_from(body, at + 1 + index * _DROP.size)
        drops[DropReason(reason)] = count
    return Heartbeat(highest, wall_ns, _clock_at(body, _HEARTBEAT.size), drops)


def _decode_gave_up(body: bytes) -> GaveUp:
    ranges = tuple((first, last) for first, last in _RANGE.iter_unpack(body))
    if len(ranges) > MAX_RANGES or any(not 0 < first <= last for first, last in ranges):
        raise ValueError("ranges contradict themselves")
    return GaveUp(ranges)


def _decode_departures(body: bytes) -> Departures:
    found = tuple(_DEPARTED.iter_unpack(body))
    if len(found) > MAX_DEPARTURES or any(not sequence for sequence, *_times in found):
        raise ValueError("departures contradict themselves")
    return Departures(
        tuple(
            Departure(sequence, departure_ns, None if acknowledged_ns == NO_TIME else acknowledged_ns)
            for sequence, departure_ns, acknowledged_ns in found
        )
    )


_DECODERS: dict[int, Callable[[bytes], Message]] = {
    Kind.CHALLENGE: _decode_challenge,
    Kind.HELLO: _decode_hello,
    Kind.WELCOME: _decode_welcome,
    Kind.REJECT: _decode_reject,
    Kind.HEARTBEAT: _decode_heartbeat,
    Kind.ACK: lambda body: Ack(*_ACK.unpack(body)),
    Kind.CLOCK_REQUEST: lambda body: ClockRequest(*_REQUEST.unpack(body)),
    Kind.CLOCK_REPLY: lambda body: ClockReply(*_REPLY.unpack(body)),
    Kind.BYE: lambda body: Bye(*_BYE.unpack(body)),
    Kind.GAVE_UP: _decode_gave_up,
    Kind.DEPARTURES: _decode_departures,
    Kind.SHARED: lambda body: Shared(*_SHARED.unpack(body)),
}
