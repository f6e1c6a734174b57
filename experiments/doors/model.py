"""The record of a race of doors: what was found, in which order, and what to do about it."""

from typing import Final, Literal

import msgspec

__all__ = ["FILE", "FORMAT", "DoorEvent", "DoorRow", "DoorsRun", "Outcome"]

FORMAT: Final = "backbone-latency-doors/1"
FILE: Final = "doors.json"

Outcome = Literal["best", "none-better", "undecided", "nothing"]
"""``best``: one door is shown to be earlier than all others, or some that are alike; ``none-better``: all are alike
within the margin; ``undecided``: more would have to be seen; ``nothing``: fewer than two doors brought events."""


class DoorRow(msgspec.Struct, frozen=True, kw_only=True):
    """One door.

    Attributes:
        address: of the exchange.
        found_by: who named it: resolvers, ``system``, ``--address``, or the ``URL``.
        state: ``racing``, ``connecting``, ``waiting`` for its turn, ``gone`` (it answered, and does no more),
            ``failing`` (it never did) or ``no way`` (this host has no route to it).
        trouble: why it has no connection; empty where it has one.
        blocks: in how many it was there.
        events: how many it brought.
        first_share: of the events that it and another brought, the part that it had first; None before any.
        behind_ms: how much later than the first of the ranking it was, in the mean of blocks; None before any.
        behind_low_ms, behind_high_ms: the interval's ends; None of the first, and before enough blocks.
        attempts: connections tried.
        connections: of these, those that stood.
        ended: how often a connection ended or could not be made, by reason.
        ping_ms: round trip of the last WebSocket ping.
        tcp_rtt_ms: TCP's own; it may end at a load balancer.
    """

    address: str
    found_by: list[str]
    state: str
    trouble: str = ""
    blocks: int = 0
    events: int = 0
    first_share: float | None = None
    behind_ms: float | None = None
    behind_low_ms: float | None = None
    behind_high_ms: float | None = None
    attempts: int = 0
    connections: int = 0
    ended: dict[str, int] = {}
    ping_ms: float | None = None
    tcp_rtt_ms: float | None = None


class DoorEvent(msgspec.Struct, frozen=True, kw_only=True):
    """Something that happened to a door, or with a resolver: when, to which, and what."""

    time: str
    address: str
    what: str


class DoorsRun(msgspec.Struct, kw_only=True):
    """The whole.

    Attributes:
        ended_by: ``running``, ``sure``, ``duration`` or ``interrupted``.
        connections: how many doors may race at a time.
        block_seconds: of what is averaged.
        confidence: that no interval of any pair, at any look, misses its truth.
        margin_ms: a smaller lead is not worth a pin.
        blocks: that are over.
        compared_events: events that two doors or more brought.
        attempts: connections tried, of all doors together.
        outcome: ``best``, ``none-better``, ``undecided`` or ``nothing``.
        sentence: the answer in words.
        leaders: the doors that are shown to be earlier than all others; several are alike.
        configuration: the line for a feed's section; empty where no door is worth a pin.
        doors: the earliest first, then those that cannot be ranked.
        notes: what one should know of the rest.
        happened: what became of doors and resolvers meanwhile, the last thousand.
    """

    format: str = FORMAT
    command: list[str] = []
    host: str = ""
    version: str = ""
    url: str
    streams: list[str]
    start: str
    end: str | None = None
    ended_by: str = "running"
    connections: int
    block_seconds: float
    confidence: float
    margin_ms: float
    blocks: int = 0
    compared_events: int = 0
    attempts: int = 0
    outcome: Outcome = "undecided"
    sentence: str = ""
    leaders: list[str] = []
    configuration: str = ""
    doors: list[DoorRow] = []
    notes: list[str] = []
    happened: list[DoorEvent] = []
