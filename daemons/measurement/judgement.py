"""Which figures an event's stamps give, and which of them can be true. Pure: what is made of them is the account's."""

from typing import Final

from daemons.records import WARMUP, LinkEvent, Stamp, StampKind, Validity

__all__ = ["ABSURD_NS", "Figure", "backbone_of", "end_to_end_of", "possible"]

ABSURD_NS: Final = 3_600_000_000_000
"""No path takes an hour: such a delay is a clock or a unit gone wrong."""

# By names of their own, for every event passes here.
_OK: Final = Validity.OK
_NEGATIVE: Final = Validity.NEGATIVE
_ABSURD: Final = Validity.ABSURD

Figure = tuple[int | None, Validity]
"""A delay in nanoseconds, and what may be done with it; None where the stamps give none."""


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
    if kind is WARMUP:
        return None, Validity.WARMUP
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
    if kind is WARMUP or event.receive_kind is WARMUP:
        return None, Validity.WARMUP
    delay_ns = stamp.ns - event.receive_ns
    if 0 <= delay_ns <= ABSURD_NS:
        return delay_ns, _OK
    return delay_ns, _NEGATIVE if delay_ns < 0 else _ABSURD
