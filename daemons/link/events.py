"""Events of a link as frames, and the datagrams that carry them; docs/wire-format.md has both byte by byte.

The exchange's message travels in an EVENT frame's body untouched. Every event passes here, at both ends.
"""

from collections.abc import Callable
from struct import Struct
from typing import Final

from daemons.errors import WireError
from daemons.link.frame import FRAME_MAGIC, HEAD, NO_TIME, Kind
from daemons.link.messages import VERSION
from daemons.reasons import LinkReason
from daemons.records import LinkEvent, StampKind

__all__ = [
    "DATAGRAM_HEAD",
    "EVENT_HEAD",
    "FEED_HELD",
    "FEED_RENEWED",
    "datagram_events",
    "datagram_head",
    "datagram_token",
    "encode_event",
    "event_at",
    "redeparted",
]

DATAGRAM_MAGIC: Final = 0xBD
EVENT_HEAD = Struct("!BBIQqqqQBB")
"""Frame head, sequence, receive, event time, departure, event id, flags, stream length."""
_EVENT_BODY_FIXED: Final = EVENT_HEAD.size - HEAD.size
_DEPARTURE = Struct("!q")
_DEPARTURE_AT: Final = HEAD.size + 24
_FLAGS_AT: Final = HEAD.size + 40
DATAGRAM_HEAD = Struct("!BBQQ")
"""Magic, version, token, number."""
NO_ID: Final = (1 << 64) - 1
_DELAYED: Final = 0x01
_KIND_FLAGS: Final = (0x00, 0x02, 0x04, 0x06, 0x20, 0x26)
"""By the number of a stamp's kind. Who does not know bit 5 reads the last two as ``KERNEL`` and ``WARMUP``: the one is
what it would have had, and the other is not measured, as it must not be."""
_KIND_MASK: Final = 0x26
_SAMPLED_SHIFT: Final = 3
_SAMPLED: Final = 1 << _SAMPLED_SHIFT
_WAITED: Final = 0x10
FEED_HELD: Final = 0x40
FEED_RENEWED: Final = 0x80
_EVENT: Final = int(Kind.EVENT)


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
    marks: int = 0,
) -> bytes:
    """Return an event as a frame.

    Args are as in :class:`~daemons.records.LinkEvent`, the stream's name encoded; ``marks`` are those of
    :data:`FEED_HELD` and :data:`FEED_RENEWED` that hold.
    """
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
            _KIND_FLAGS[receive_kind] | delayed | sampled << _SAMPLED_SHIFT | marks,
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
        raise WireError(LinkReason.GARBAGE, f"datagram of {len(data)} bytes is too short")
    magic, version, token, number = DATAGRAM_HEAD.unpack_from(data)
    if magic != DATAGRAM_MAGIC or version != VERSION:
        raise WireError(LinkReason.GARBAGE, f"datagram starts with {data[:2].hex()}, not ours")
    events: list[LinkEvent] = []
    at, end = DATAGRAM_HEAD.size, end_of_events(token, number, data)
    while at < end:
        if end - at < EVENT_HEAD.size or data[at] != FRAME_MAGIC or data[at + 1] != _EVENT:
            raise WireError(LinkReason.GARBAGE, "datagram holds something else than events")
        stop = at + HEAD.size + HEAD.unpack_from(data, at)[2]
        if stop > end:
            raise WireError(LinkReason.GARBAGE, "datagram is cut off")
        events.append(event_at(data, at, stop))
        at = stop
    return token, events


def event_at(data: bytes, at: int, stop: int) -> LinkEvent:
    """Read the EVENT frame that begins at one place and ends before another.

    Raises:
        WireError: ``garbage`` where it is none of this format.
    """
    names = at + EVENT_HEAD.size
    if names > stop:
        raise WireError(LinkReason.GARBAGE, "EVENT frame is too short")
    _magic, _kind, _length, sequence, receive_ns, time_ns, departure_ns, event_id, flags, length = (
        EVENT_HEAD.unpack_from(data, at)
    )
    payload = names + length
    if payload > stop or not sequence:
        raise WireError(LinkReason.GARBAGE, "EVENT frame contradicts itself")
    return LinkEvent(
        sequence,
        receive_ns,
        _STAMP_KINDS[flags & _KIND_MASK],
        None if time_ns == NO_TIME else time_ns,
        departure_ns,
        None if event_id == NO_ID else event_id,
        _name(data[names:payload]),
        bool(flags & _DELAYED),
        data[payload:stop],
        bool(flags & _SAMPLED),
        bool(flags & _WAITED),
        bool(flags & FEED_HELD),
        bool(flags & FEED_RENEWED),
    )


def _kind_of(flags: int) -> StampKind:
    return StampKind(_KIND_FLAGS.index(flags if flags in _KIND_FLAGS else flags & 0x06))


_STAMP_KINDS: Final = tuple(_kind_of(flags & _KIND_MASK) for flags in range(_KIND_MASK + 1))
_names: dict[bytes, str] = {}
_MAX_NAMES: Final = 4096


def _name(raw: bytes) -> str:
    """Decode a stream's name, the same object each time: names recur in every event."""
    known = _names.get(raw)
    if known is None:
        try:
            known = raw.decode()
        except UnicodeDecodeError as error:
            raise WireError(LinkReason.GARBAGE, "stream name is not UTF-8") from error
        if len(_names) < _MAX_NAMES:
            _names[raw] = known
    return known
