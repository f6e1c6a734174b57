"""How a feed is set, and what one connection of it needs to know beside that."""

import ssl
from dataclasses import dataclass, field
from typing import Annotated, Final, Literal

from msgspec import Meta

from daemons.feed.endpoints import DEFAULT_STREAMS, DEFAULT_URL, streams_in
from daemons.feed.sbe import known_as
from daemons.secret import Secret
from daemons.sections import Count, Dscp, Seconds, Section
from daemons.stream.local_end import ANYWHERE, LocalEnd

__all__ = ["FeedFields", "FeedSettings"]

MAX_CONNECTIONS: Final = 16
"""Of one feed: after an outage each takes an attempt, of which the exchange allows 300 in 5 minutes."""


class FeedFields(Section, frozen=True):
    """The keys of a feed.

    Attributes:
        url: ``wss://HOST:PORT``, or with a path that names the streams.
        streams: names to subscribe to where the URL names none.
        address: of the exchange, to connect to instead of asking for its name's addresses; or several, of which the
            first that answers is taken. Name and certificate stay the URL's.
        source_address: an address of this host that connections leave from; without it the routes choose.
        interface: the only interface that connections may use.
        dscp: the class of its packets, such as 46 for expedited forwarding; without it the system's.
        connections: how many to have at a time, on different addresses where there are; the first copy counts.
        ca_file: authorities to trust instead of the system's.
        microseconds: ask for microsecond event times.
        connect_timeout_seconds: for name, TCP, TLS and WebSocket handshake together.
        silence_seconds: without an event for so long the connection is given up.
        max_age_seconds: a connection this old is replaced, before the exchange cuts it at 24 h.
        max_message_bytes: larger messages end the connection.
        encoding: ``json``, or ``sbe`` for the exchange's binary streams (``stream-sbe.binance.com``).
        api_key_file: of the API key that SBE streams need; ``credential:NAME`` for a systemd credential.
        reconnect_max_seconds: the longest wait between attempts.
    """

    url: str = DEFAULT_URL
    streams: tuple[str, ...] = DEFAULT_STREAMS
    address: str | tuple[str, ...] | None = None
    source_address: str | None = None
    interface: str | None = None
    dscp: Dscp | None = None
    connections: Annotated[int, Meta(ge=1, le=MAX_CONNECTIONS)] = 1
    ca_file: str | None = None
    microseconds: bool = True
    connect_timeout_seconds: Seconds = 10.0
    silence_seconds: Seconds = 30.0
    max_age_seconds: Seconds = 86_100.0
    max_message_bytes: Count = 4 << 20
    encoding: Literal["json", "sbe"] = "json"
    api_key_file: str | None = None
    reconnect_max_seconds: Seconds = 30.0


@dataclass(frozen=True, slots=True)
class FeedSettings:
    """What one connection of a feed needs to know.

    Attributes:
        name: the feed's name in logs.
        url: the complete one, of those that its streams need.
        context: TLS settings for ``wss``; None for ``ws``.
        fields: the feed's section.
        addresses: where to connect to instead of the host's own addresses.
        local: where the connection leaves this host.
        api_key: to send with the handshake.
    """

    name: str
    url: str
    context: ssl.SSLContext | None
    fields: FeedFields = field(default_factory=FeedFields)
    addresses: tuple[str, ...] = ()
    local: LocalEnd = ANYWHERE
    api_key: Secret | None = None

    @property
    def sbe(self) -> bool:
        """Whether events come in SBE."""
        return self.fields.encoding == "sbe"

    @property
    def origin(self) -> tuple[object, ...]:
        """What a connection was made with: another one has to be made where it changes."""
        return self.url, self.addresses, self.local, self.sbe, self.api_key, self.fields.max_message_bytes

    @property
    def streams(self) -> tuple[str, ...]:
        """The names by which the connection's streams are known."""
        names = streams_in(self.url)
        return tuple(known_as(name) for name in names) if self.sbe else names
