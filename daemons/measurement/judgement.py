"""Which figures an event's stamps give, and which of them can be true. Pure: what is made of them is the account's."""

from typing import Final

from daemons.records import NO_HARDWARE, WARMUP, LinkEvent, Stamp, StampKind, Validity

__all__ = ["ABSURD_NS", "DISRUPTED", "Figure", "backbone_of", "end_to_end_of", "possible"]

ABSURD_NS: Final = 3_600_000_000_000
"""No path takes an hour: such a delay is a clock or a unit gone wrong."""

# By names of their own, for every event passes here.
_OK: Final = Validity.OK
_NEGATIVE: Final = Validity.NEGATIVE
_ABSURD: Final = Validity.ABSURD
_UNFIT: Final = {WARMUP: Validity.WARMUP, NO_HARDWARE: Validity.NO_HARDWARE_STAMP}

Figure = tuple[int | None, Validity]
"""A delay in nanoseconds, and what may be done with it; None where the stamps give none."""

DISRUPTED: Final[Figure] = (None, Validity.CLOCK_DISRUPTED)
"""What is to be had of two stamps while one of their clocks is not to be believed."""


def possible(delay_ns: int) -> Validity:
    """Say whether a path can have such a delay."""
    if 0 <= delay_ns <= ABSURD_NS:
        return _OK
    return _NEGATIVE if delay_ns < 0 else _ABSURD


def end_to_end_of(event_time_ns: int | None, stamp: Stamp, kind: StampKind) -> Figure:
    """Judge the delay from the exchange's event time to arrival.

    Args:
        event_time_ns: the exchange's.
        stamp: of the read.
        kind: of the stamp, as far as this event goes.
    """
    if stamp.step_ns:
        return None, Validity.CLOCK_STEP
    if kind is WARMUP or kind is NO_HARDWARE:
        return None, _UNFIT[kind]
    if event_time_ns is None:
        return None, Validity.WITHOUT_EVENT_TIME
    delay_ns = stamp.ns - event_time_ns
    if 0 <= delay_ns <= ABSURD_NS:
        return delay_ns, _OK
    return (None, _NEGATIVE) if delay_ns < 0 else (delay_ns, _ABSURD)


def backbone_of(event: LinkEvent, stamp: Stamp, kind: StampKind) -> Figure:
    """Judge the delay from arrival at the forwarder to arrival here; arguments as for :func:`end_to_end_of`."""
    if stamp.step_ns:
        return None, Validity.CLOCK_STEP
    far = event.receive_kind
    if kind is WARMUP or kind is NO_HARDWARE:
        return None, _UNFIT[kind]
    if far is WARMUP or far is NO_HARDWARE:
        return None, _UNFIT[far]
    delay_ns = stamp.ns - event.receive_ns
    if 0 <= delay_ns <= ABSURD_NS:
        return delay_ns, _OK
    return delay_ns, _NEGATIVE if delay_ns < 0 else _ABSURD
