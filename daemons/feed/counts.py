"""What happened on a feed, as plain figures for the metrics."""

from dataclasses import dataclass, field
from enum import StrEnum
from itertools import chain
from typing import NamedTuple

from daemons.feed.binance import Invalid
from daemons.feed.merge import Standing
from daemons.reasons import FeedReason, StreamReason
from daemons.stream.tcp_info import TcpAccount

__all__ = ["Door", "FeedCounts", "ReplacementReason"]


class ReplacementReason(StrEnum):
    """Why a connection that works is replaced."""

    AGE = "age"
    NOTICE = "notice"
    RELOAD = "reload"


class Door(NamedTuple):
    """Where a connection that stands is connected to, and how.

    Attributes:
        address: of the exchange.
        tls: whether it is encrypted.
        encoding: ``json`` or ``sbe``.
        since_ns: when it was established, by the wall clock.
    """

    address: str
    tls: bool
    encoding: str
    since_ns: int = 0


@dataclass(slots=True)
class Pings:
    """The pings of a feed's connection and those that replaced it.

    Attributes:
        sent, answered: how many.
        round_trip_ns: of the last answer; None before the first of a connection.
    """

    sent: int = 0
    answered: int = 0
    round_trip_ns: int | None = None


def _every_reason() -> dict[StreamReason | FeedReason, int]:
    return dict.fromkeys(chain(StreamReason, FeedReason), 0)


@dataclass(slots=True)
class FeedCounts:
    """What happened on a feed, all its connections together; plain integers for the metrics.

    Attributes:
        needed: how many connections its streams need.
        each: how many there are for each of these.
        standings: how the connections of several did against each other, by the connection's number.
        doors: of the connections that stand, by the connection's number.
        pings: likewise, of all there have been.
        tcp: what TCP says of the connections, all together.
        tcp_of: the same of each, by its number.
    """

    needed: int = 1
    each: int = 1
    standings: dict[int, Standing] = field(default_factory=dict)
    doors: dict[int, Door] = field(default_factory=dict)
    pings: dict[int, Pings] = field(default_factory=dict)
    attempts: int = 0
    connections: int = 0
    replacements: dict[ReplacementReason, int] = field(default_factory=lambda: dict.fromkeys(ReplacementReason, 0))
    overlap_events: int = 0
    notices: int = 0
    reconnects: dict[StreamReason | FeedReason, int] = field(default_factory=_every_reason)
    invalid: dict[str, int] = field(default_factory=lambda: {reason.value: 0 for reason in Invalid})
    tcp: TcpAccount = field(default_factory=TcpAccount)
    tcp_of: dict[int, TcpAccount] = field(default_factory=dict)
    last_event_ns: int = 0
    silent_streams: int = 0

    @property
    def connected(self) -> bool:
        """Whether all streams come."""
        return len({number // self.each for number in self.doors}) >= self.needed
