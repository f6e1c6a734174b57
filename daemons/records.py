"""The values that flow between layers. Times are integer nanoseconds since the Unix epoch unless named otherwise."""

from enum import Enum, IntEnum, StrEnum
from typing import Final

import msgspec

__all__ = [
    "HARDWARE",
    "KERNEL",
    "LATE_NS",
    "NO_HARDWARE",
    "WARMUP",
    "ClockReport",
    "ClockState",
    "EventKind",
    "FeedEvent",
    "LinkEvent",
    "Numbering",
    "Stamp",
    "StampKind",
    "Validity",
    "exact",
    "inexact",
    "shared",
]


class StampKind(IntEnum):
    """Where an arrival stamp comes from; how the wire tells it is the wire's (``daemons/link/events.py``)."""

    KERNEL = 0
    """By the kernel, for the packet that completed this event."""
    SHARED = 1
    """By the kernel, for the last packet of a read that brought more after this event: may be late, not early."""
    USER = 2
    """By us after the read, because the kernel gave none, or that of a packet that lay behind a missing one: late by
    our own host delay."""
    WARMUP = 3
    """By the kernel, in the moments after stamping was switched on, when it may be late."""
    HARDWARE = 4
    """By the interface, when the packet that completed this event came off the wire."""
    NO_HARDWARE = 5
    """By the kernel, where the interface's was asked for and none came that can be believed."""


# By names of their own, here and where else every event passes: Python 3.11 takes 70 ns to find a member on its class.
KERNEL: Final = StampKind.KERNEL
SHARED: Final = StampKind.SHARED
WARMUP: Final = StampKind.WARMUP
HARDWARE: Final = StampKind.HARDWARE
NO_HARDWARE: Final = StampKind.NO_HARDWARE


LATE_NS: Final = 200_000
"""Of a TCP read so long after its stamp it is asked whether a packet was missing. An idle process is woken within some
tens of microseconds, and no packet is repeated in less than a round trip; to ask costs a microsecond."""


def exact(kind: StampKind) -> bool:
    """Say whether a stamp is of the packet that completed the event."""
    return kind is KERNEL or kind is HARDWARE


def shared(kind: StampKind) -> StampKind:
    """Return the kind of a read's stamp for events that the read completed before its last one."""
    return SHARED if exact(kind) else kind


class Validity(StrEnum):
    """What may be done with an event's figures."""

    OK = "ok"
    WITHOUT_EVENT_TIME = "without_event_time"
    """Nothing wrong, but the stream carries no event time: no end-to-end latency."""
    DELAYED = "delayed"
    """It waited while the link was down: accounted, not a live sample."""
    NEGATIVE = "negative"
    """It arrived before it left: the clocks disagree."""
    ABSURD = "absurd"
    """A time outside what any path can take: a unit or clock error."""
    CLOCK_STEP = "clock_step"
    """The wall clock was stepped around its arrival."""
    CLOCK_DISRUPTED = "clock_disrupted"
    """The host has disrupted a clock that it was measured with, and nobody has set that right yet."""
    WARMUP = "warmup"
    """Its stamp was made while kernel stamping was warming up."""
    NO_HARDWARE_STAMP = "no_hardware_stamp"
    """The interface's stamp was asked for, and none came that can be believed."""


class Stamp(msgspec.Struct, frozen=True, gc=False):
    """When a read's bytes arrived, and when we got to them.

    Attributes:
        ns: arrival by the wall clock.
        kind: who took it.
        handled_ns: wall clock right after the read; minus ``ns`` it is the host delay.
        steady_ns: arrival on the monotonic clock's scale, for differences between events that a step must not spoil.
        step_ns: size of a wall-clock step noticed at this read; 0 for none.
        held_ns: how long the read's last packet had lain behind one that was missing (TCP); 0 where none was.
        before_ns: ``ns`` of the socket's read before, which need not have taken all that waited: what this one brought
            came later, however late we got to either; 0 of the first.
    """

    ns: int
    kind: StampKind
    handled_ns: int
    steady_ns: int
    step_ns: int = 0
    held_ns: int = 0
    before_ns: int = 0


def inexact(stamp: Stamp) -> Stamp:
    """Return the stamp of a read that ended with something else than its last event: no event has it for its own."""
    return msgspec.structs.replace(stamp, kind=SHARED) if exact(stamp.kind) else stamp


class Numbering(Enum):
    """How the ids of one stream of one symbol follow each other, and so what a hole in them says."""

    NONE = "none"
    """Events have no ids."""
    INCREASING = "increasing"
    """Ids only grow: a hole says nothing, an id that does not grow is a repetition."""
    CONTIGUOUS = "contiguous"
    """Each id is the one before plus one: a hole of n ids is n events lost."""
    CHAINED = "chained"
    """Each event names the id before it: a hole is at least one event lost, of how many ids it may be."""


class EventKind(msgspec.Struct, frozen=True):
    """What an event is of, the same on whatever stream and in whatever encoding it comes.

    Attributes:
        name: such as ``trade``, ``book`` or ``depth@100ms``; with the symbol and the id it makes the event's identity.
        numbering: how its ids follow each other.
    """

    name: str
    numbering: Numbering


class FeedEvent(msgspec.Struct, gc=False):
    """One event of an exchange's stream.

    Attributes:
        stream: the stream's name as subscribed, such as ``btcusdt@trade``.
        symbol: in lower case; empty where an event is of no single one.
        kind: what it is of.
        event_id: the exchange's id, equal on every path; None for streams without one.
        previous_id: the id that the event follows; None where ids only grow, or are none.
        event_time_ns: the exchange's event time; None for streams without one.
        payload: the message as received, untouched.
    """

    stream: str
    symbol: str
    kind: EventKind
    event_id: int | None
    previous_id: int | None
    event_time_ns: int | None
    payload: bytes


class LinkEvent(msgspec.Struct, gc=False):
    """One event as a link carries it.

    Attributes:
        sequence: the forwarder's number for it, from 1 within a session.
        receive_ns: arrival at the forwarder.
        receive_kind: who took that stamp.
        event_time_ns: the exchange's event time, if any.
        departure_ns: when the forwarder handed it to the socket; None in the JSON format.
        event_id: the exchange's id, if any.
        stream: the stream's name; empty when the format does not carry it.
        delayed: it waited in the forwarder while the link was down.
        payload: the exchange's message, untouched.
        sampled: when the forwarder's kernel sent it will be told afterwards.
        waited: it waited in the forwarder's buffer, whether the link was down or had no room.
        feed_held: on its way to the forwarder it lay behind a packet that was missing, or was in that.
        feed_renewed: the connection that brought it to the forwarder, or that of its feed's other streams, was new.
    """

    sequence: int
    receive_ns: int
    receive_kind: StampKind
    event_time_ns: int | None
    departure_ns: int | None
    event_id: int | None
    stream: str
    delayed: bool
    payload: bytes
    sampled: bool = False
    waited: bool = False
    feed_held: bool = False
    feed_renewed: bool = False

    @property
    def left_ns(self) -> int:
        """When it left the forwarder; where the format does not tell, when it came there."""
        return self.receive_ns if self.departure_ns is None else self.departure_ns


class ClockState(msgspec.Struct, frozen=True):
    """How far a host's wall clock can be trusted.

    Attributes:
        synchronized: whether anything disciplines the clock.
        offset_ns: the clock's estimated error, positive when it is ahead of true time.
        error_bound_ns: |offset| + root dispersion + root delay / 2, aged by drift; None when unknown.
        source: who says so: ``chrony``, ``kernel``, ``ptp`` or ``none``.
        steps: how often the clock was stepped, or disrupted, since the daemon started.
        disrupted: the host of a virtual machine has disrupted it, and it is not to be believed yet.
    """

    synchronized: bool
    offset_ns: int
    error_bound_ns: int | None
    source: str
    steps: int = 0
    disrupted: bool = False


class ClockReport(msgspec.Struct, frozen=True):
    """All that is known of this host's clock.

    Attributes:
        state: how far it can be trusted.
        bounds_ns: the error bounds that sources give, beside each other: ``chrony``, ``kernel``, and ``phc``, the
            interface's own clock; those that are known.
        has_device: whether the host of this virtual machine tells of disruptions.
        disruptions: those told of.
    """

    state: ClockState
    bounds_ns: dict[str, int] = {}
    has_device: bool = False
    disruptions: int = 0


UNKNOWN_CLOCK = ClockState(synchronized=False, offset_ns=0, error_bound_ns=None, source="none")
