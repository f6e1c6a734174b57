"""Control messages of a link as frames, and back; docs/wire-format.md has them byte by byte, with test vectors."""

from collections.abc import Callable
from struct import Struct
from struct import error as StructError  # noqa: N812 it is an exception class
from typing import Final

from daemons.errors import WireError
from daemons.link.frame import FRAME_MAGIC, HEAD, NO_TIME, Kind
from daemons.link.messages import (
    MAX_DEPARTURES,
    MAX_RANGES,
    VERSION,
    Ack,
    Bye,
    Challenge,
    ClockReply,
    ClockRequest,
    Control,
    Departure,
    Departures,
    DropReason,
    GaveUp,
    Heartbeat,
    Hello,
    Reject,
    RejectReason,
    Shared,
    Transport,
    Welcome,
)
from daemons.reasons import LinkReason
from daemons.records import ClockState

__all__ = ["decode_control", "encode_control", "hello_unsigned", "welcome_unsigned"]

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
_SOURCES: Final = ("none", "kernel", "chrony", "ptp")
_OPTIONAL: Final = 0x80
"""Frame types from here on are passed over by who does not know them: later versions can add some."""


def encode_control(message: Control) -> bytes:
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


def hello_unsigned(hello: Hello) -> bytes:
    """Return a HELLO body without its signature: what is signed."""
    path = hello.path.encode()
    if len(path) > 255:
        raise WireError(LinkReason.PATH, f"path name of {len(path)} bytes is too long; 255 at most")
    fixed = _HELLO.pack(hello.version, hello.transport, hello.session, hello.nonce, hello.acknowledged)
    return fixed + _clock(hello.clock) + bytes([len(path)]) + path


def welcome_unsigned(welcome: Welcome) -> bytes:
    """Return a WELCOME body without its signature: what is signed."""
    return _WELCOME.pack(welcome.version, welcome.token, welcome.highest)


def _clock(state: ClockState) -> bytes:
    known = state.error_bound_ns is not None
    flags = state.synchronized | known << 1 | state.disrupted << 2
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
        disrupted=bool(flags & 4),
    )


def decode_control(kind: int, body: bytes) -> tuple[Control, ...]:
    """Return what a control frame says; nothing comes of one that may be passed over.

    Raises:
        WireError: ``garbage`` where it is none of ours.
    """
    decode = _DECODERS.get(kind)
    if decode is None:
        if kind >= _OPTIONAL:
            return ()
        raise WireError(LinkReason.GARBAGE, f"frame type {kind} is unknown")
    try:
        return (decode(body),)
    except (StructError, ValueError, IndexError) as error:
        raise WireError(LinkReason.GARBAGE, f"{Kind(kind).name} frame is malformed: {error}") from error


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


_DECODERS: dict[int, Callable[[bytes], Control]] = {
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
