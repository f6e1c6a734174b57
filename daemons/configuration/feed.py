"""How a feed is configured, wherever one is."""

import ipaddress
from collections.abc import Sequence
from typing import Final
from urllib.parse import urlsplit

from daemons.configuration.local_end import local_end
from daemons.errors import ConfigError
from daemons.feed.endpoints import DEFAULT_STREAMS, DEFAULT_URL, feed_urls, is_futures, shown, streams_in
from daemons.feed.sbe import known_as
from daemons.feed.settings import FeedFields, FeedSettings
from daemons.secret import Secret
from daemons.service.settings.config import is_loopback, secret
from daemons.stream.tls import client_context

__all__ = ["feed_settings"]

SBE_URL: Final = "wss://stream-sbe.binance.com:9443"
SBE_STREAMS: Final = ("btcusdt@trade", "btcusdt@bestBidAsk")
"""What the defaults are in SBE."""


def feed_settings(name: str, where: str, fields: FeedFields) -> tuple[FeedSettings, ...]:
    """Check a feed's keys and turn them into settings, one for each connection that its streams need.

    Args:
        name: the feed's name in logs.
        where: the section, for messages.
        fields: the keys.

    Raises:
        ConfigError: the URL, a limit or the CA file is unusable.
    """
    sbe = fields.encoding == "sbe"
    url, streams = fields.url, fields.streams
    if sbe:
        url = SBE_URL if url == DEFAULT_URL else url
        streams = SBE_STREAMS if streams == DEFAULT_STREAMS else streams
    urls = feed_urls(url, streams, microseconds=fields.microseconds, binary=sbe)
    _check_encoding(where, fields, urls)
    addresses = _addresses(where, fields.address)
    local = local_end(where, fields.source_address, fields.interface, fields.dscp)
    # The key last: where it cannot be seen from here, all else has been checked.
    api_key = _api_key(where, fields.api_key_file) if fields.api_key_file is not None else None
    context = client_context(fields.ca_file) if urls[0].startswith("wss:") else None
    return tuple(
        FeedSettings(
            name=name,
            url=url,
            context=context,
            fields=fields,
            addresses=addresses,
            local=local,
            api_key=api_key,
        )
        for url in urls
    )


def _addresses(where: str, given: str | tuple[str, ...] | None) -> tuple[str, ...]:
    addresses = (given,) if isinstance(given, str) else given or ()
    for one in addresses:
        try:
            ipaddress.ip_address(one)
        except ValueError as error:
            raise ConfigError(
                f"{where}.address",
                f"{one!r} is no IP address",
                "write one of the exchange's, without a port",
            ) from error
    return addresses


def _check_encoding(where: str, fields: FeedFields, urls: Sequence[str]) -> None:
    """Check what belongs to the encoding.

    Raises:
        ConfigError: key and encoding do not go together, the key would travel in clear, or a stream is not served.
    """
    parts = urlsplit(urls[0])
    host = parts.hostname or ""
    if fields.encoding == "json":
        if host.startswith("stream-sbe."):
            raise ConfigError(f"{where}.encoding", f"{host} speaks SBE, not json", 'set encoding = "sbe"')
        if fields.api_key_file is not None:
            raise ConfigError(f"{where}.api_key_file", "JSON streams need no key", 'leave it out, or encoding = "sbe"')
        return
    if len(urls) > 1 or is_futures(urls[0]):
        raise ConfigError(f"{where}.encoding", f"{host} has no SBE streams: only spot has", 'leave it out, or "json"')
    if fields.api_key_file is None:
        raise ConfigError(f"{where}.api_key_file", "is missing", "SBE streams need an API key (Ed25519): name its file")
    if parts.scheme == "ws" and not is_loopback(host):
        raise ConfigError(f"{where}.url", f"{shown(urls[0])!r} would send the API key in clear", "use wss")
    for name in streams_in(urls[0]):
        known_as(name)


def _api_key(where: str, file: str) -> Secret:
    remedy = "write the API key that the exchange shows, alone, on one line"
    key = secret(f"{where}.api_key_file", file, remedy=remedy)
    # It becomes a header's value.
    if not (key.value.isascii() and key.value.isalnum()):
        raise ConfigError(f"{where}.api_key_file", f"{file}: holds no API key", remedy)
    return key
