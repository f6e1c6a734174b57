"""What one connection of a feed needs to know."""

import ssl
from dataclasses import dataclass

from daemons.feed.endpoints import streams_in
from daemons.feed.sbe import known_as
from daemons.secret import Secret
from daemons.stream.local_end import ANYWHERE, LocalEnd

__all__ = ["FeedSettings"]


@dataclass(frozen=True, slots=True)
class FeedSettings:
    """What one connection of a feed needs to know.

    Attributes:
        name: the feed's name in logs.
        url: the complete URL.
        context: TLS settings for ``wss``; None for ``ws``.
        connect_timeout_seconds: for name, TCP, TLS and WebSocket handshake together.
        silence_seconds: without an event for so long the connection is given up.
        max_age_seconds: a connection this old is replaced without a gap; exchanges cut them at 24 h.
        max_message_bytes: larger messages end the connection.
        backoff_cap_seconds: the longest wait between attempts.
        addresses: where to connect to instead of the host's own addresses.
        local: where the connection leaves this host.
        sbe: events come in SBE.
        api_key: to send with the handshake.
    """

    name: str
    url: str
    context: ssl.SSLContext | None
    connect_timeout_seconds: float = 10.0
    silence_seconds: float = 30.0
    max_age_seconds: float = 86_100.0
    max_message_bytes: int = 4 << 20
    backoff_cap_seconds: float = 30.0
    addresses: tuple[str, ...] = ()
    local: LocalEnd = ANYWHERE
    sbe: bool = False
    api_key: Secret | None = None

    @property
    def origin(self) -> tuple[object, ...]:
        """What a connection was made with: another one has to be made where it changes."""
        return self.url, self.addresses, self.local, self.sbe, self.api_key, self.max_message_bytes

    @property
    def streams(self) -> tuple[str, ...]:
        """The names by which the connection's streams are known."""
        names = streams_in(self.url)
        return tuple(known_as(name) for name in names) if self.sbe else names
