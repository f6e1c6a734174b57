"""How a feed is configured, wherever one is."""

from daemons.errors import ConfigError
from daemons.feed.client import FeedSettings
from daemons.feed.endpoints import DEFAULT_STREAMS, feed_urls
from daemons.service.config import Section
from daemons.stream.tls import client_context

__all__ = ["DEFAULT_URL", "FeedFields", "feed_settings"]

DEFAULT_URL = "wss://stream.binance.com:9443"


class FeedFields(Section, frozen=True):
    """The keys of a feed.

    Attributes:
        url: ``wss://HOST:PORT``, or with a path that names the streams.
        streams: names to subscribe to where the URL names none.
        ca_file: authorities to trust instead of the system's.
        microseconds: ask for microsecond event times.
        connect_timeout_seconds: for name, TCP, TLS and WebSocket handshake together.
        silence_seconds: without an event for so long the connection is given up.
        max_age_seconds: a connection this old is replaced, before the exchange cuts it at 24 h.
        max_message_bytes: larger messages end the connection.
        reconnect_max_seconds: the longest wait between attempts.
    """

    url: str = DEFAULT_URL
    streams: tuple[str, ...] = DEFAULT_STREAMS
    ca_file: str | None = None
    microseconds: bool = True
    connect_timeout_seconds: float = 10.0
    silence_seconds: float = 30.0
    max_age_seconds: float = 86_100.0
    max_message_bytes: int = 4 << 20
    reconnect_max_seconds: float = 30.0


def feed_settings(name: str, where: str, fields: FeedFields) -> tuple[FeedSettings, ...]:
    """Check a feed's keys and turn them into settings, one for each connection that its streams need.

    Args:
        name: the feed's name in logs.
        where: the section, for messages.
        fields: the keys.

    Raises:
        ConfigError: the URL, a limit or the CA file is unusable.
    """
    urls = feed_urls(fields.url, fields.streams, microseconds=fields.microseconds)
    for limit in (
        "connect_timeout_seconds",
        "silence_seconds",
        "max_age_seconds",
        "max_message_bytes",
        "reconnect_max_seconds",
    ):
        if getattr(fields, limit) <= 0:
            raise ConfigError(f"{where}.{limit}", f"{getattr(fields, limit)} is not above zero", "give a positive one")
    context = client_context(fields.ca_file) if urls[0].startswith("wss:") else None
    return tuple(
        FeedSettings(
            name=name,
            url=url,
            context=context,
            connect_timeout_seconds=fields.connect_timeout_seconds,
            silence_seconds=fields.silence_seconds,
            max_age_seconds=fields.max_age_seconds,
            max_message_bytes=fields.max_message_bytes,
            backoff_cap_seconds=fields.reconnect_max_seconds,
        )
        for url in urls
    )
