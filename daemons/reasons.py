"""Why connections are refused, are not made, or end, and why rows are lost: the values of ``reason`` labels.

There is an enumeration for each layer, and an error carries one of its layer. Counts begin with a zero for each that
can come, and take any other: a reason that no enumeration has is found by the type checker.
"""

from enum import StrEnum
from typing import Final

__all__ = ["LINK_ENDS", "REFUSALS", "ArchiveReason", "ExchangeReason", "FeedReason", "LinkReason", "StreamReason"]


class StreamReason(StrEnum):
    """Why a socket was not connected, or broke."""

    REFUSED = "refused"
    TIMEOUT = "timeout"
    RESET = "reset"
    UNREACHABLE = "unreachable"
    DNS = "dns"
    TLS = "tls"
    CERTIFICATE = "certificate"
    IO = "io"
    LOCAL = "local"
    UNEXPECTED = "unexpected"
    UNREAD = "unread"


class FeedReason(StrEnum):
    """Why the exchange's side of a connection went wrong; ``http_…`` are classes, so that labels stay few."""

    CLOSED = "closed"
    SILENT = "silent"
    TIMEOUT = "timeout"
    PROTOCOL = "protocol"
    HANDSHAKE = "handshake"
    TOO_LARGE = "too_large"
    HTTP_4XX = "http_4xx"
    HTTP_5XX = "http_5xx"
    HTTP_OTHER = "http_other"


class LinkReason(StrEnum):
    """Why the connection of a forwarder and a receiver ended, or one of them was turned away."""

    CLOSED = "closed"
    SILENT = "silent"
    TIMEOUT = "timeout"
    VERSION = "version"
    KEY = "key"
    PEER_KEY = "peer_key"
    PATH = "path"
    TRANSPORT = "transport"
    BUSY = "busy"
    GARBAGE = "garbage"
    FORGED = "forged"
    REPLAYED = "replayed"
    TOO_LARGE = "too_large"
    TOKEN = "token"  # noqa: S105 - not a password
    FORMAT = "format"
    SOURCE = "source"
    LIMIT = "limit"
    DESCRIPTORS = "descriptors"
    RELOAD = "reload"


class ArchiveReason(StrEnum):
    """Why a row that was observed is in no file of the archive."""

    WAITING = "waiting"
    """Handed over too slowly."""
    DISK = "disk"
    """Not taken by the disk."""
    KILLED = "killed"
    """Not handed over before an end without warning."""


class ExchangeReason(StrEnum):
    """Why the simulated exchange ended a client's connection."""

    EXPIRED = "expired"
    NO_PONG = "no-pong"
    TOO_MANY_MESSAGES = "too-many-messages"
    SLOW = "slow"


_OF_FORWARDERS: Final = frozenset({LinkReason.CLOSED, LinkReason.SILENT, LinkReason.PEER_KEY, LinkReason.RELOAD})
_OF_RECEIVERS: Final = frozenset(
    {
        LinkReason.REPLAYED,
        LinkReason.TOKEN,
        LinkReason.FORMAT,
        LinkReason.SOURCE,
        LinkReason.LIMIT,
        LinkReason.DESCRIPTORS,
    }
)
_OF_TLS: Final = frozenset({StreamReason.TLS, StreamReason.CERTIFICATE})

LINK_ENDS: Final[tuple[StreamReason | LinkReason, ...]] = (
    *(reason for reason in StreamReason if reason not in _OF_TLS),
    *(reason for reason in LinkReason if reason not in _OF_RECEIVERS),
)
"""Why a forwarder's connection ends or cannot be made."""
REFUSALS: Final[tuple[LinkReason | StreamReason, ...]] = (
    *(reason for reason in LinkReason if reason not in _OF_FORWARDERS),
    StreamReason.UNEXPECTED,
    StreamReason.UNREAD,
)
"""Why a receiver turns a peer away, or throws a datagram away."""
