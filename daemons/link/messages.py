"""What the two ends of a link say to each other; docs/wire-format.md has it byte by byte.

How it is put into bytes is :mod:`daemons.link.control`'s to know, and of events :mod:`daemons.link.events`'.
"""

from enum import IntEnum
from typing import Final

import msgspec

from daemons.reasons import LinkReason
from daemons.records import ClockState, LinkEvent

__all__ = [
    "MAX_DEPARTURES",
    "MAX_RANGES",
    "VERSION",
    "Ack",
    "Bye",
    "Challenge",
    "ClockReply",
    "ClockRequest",
    "Control",
    "Departure",
    "Departures",
    "DropReason",
    "GaveUp",
    "Heartbeat",
    "Hello",
    "Message",
    "Reject",
    "RejectReason",
    "Shared",
    "Transport",
    "Welcome",
]

VERSION: Final = 2
MAX_DEPARTURES: Final = 256
"""Most departures in a DEPARTURES frame."""
MAX_RANGES: Final = 256
"""Most ranges of numbers in a GAVE_UP frame."""


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

    @property
    def counted(self) -> LinkReason:
        """Under which of the link's reasons both ends count it."""
        match self:
            case RejectReason.VERSION:
                return LinkReason.VERSION
            case RejectReason.KEY:
                return LinkReason.KEY
            case RejectReason.PATH:
                return LinkReason.PATH
            case RejectReason.TRANSPORT:
                return LinkReason.TRANSPORT
            case RejectReason.BUSY:
                return LinkReason.BUSY


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
