"""Where streams are served: what a feed's URL names, and the URLs of the connections that its streams need.

USD-M futures serve book data on ``/public`` and all else on ``/market`` (Binance, "Important WebSocket Change Notice",
2026-03-06). The paths without a base were retired on 2026-04-23: users found that they are still accepted there, and
answered, and then bring nothing of what belongs to ``/market``. So streams are routed here, whatever the URL says.
"""

import re
from collections.abc import Sequence
from typing import Final
from urllib.parse import SplitResult, parse_qsl, quote, unquote, urlencode, urlsplit, urlunsplit

from daemons.errors import ConfigError
from daemons.feed.streams import MAX_NAME_BYTES, Stream, misspelt, stream_of
from daemons.secret import HIDDEN, without_tokens

__all__ = [
    "DEFAULT_STREAMS",
    "DEFAULT_URL",
    "feed_urls",
    "is_futures",
    "is_raw",
    "same_exchange",
    "shown",
    "streams_in",
]

DEFAULT_URL = "wss://stream.binance.com:9443"
DEFAULT_STREAMS = ("btcusdt@trade", "btcusdt@bookTicker")
MAX_STREAMS = 1024
"""Streams one connection may carry."""
_ROUTED_HOSTS: Final = frozenset({"fstream.binance.com"})
"""Hosts of USD-M futures with bases. Test networks were not split when this was last looked up."""
_FUTURES_HOSTS: Final = ("fstream.", "dstream.", "demo-fstream.", "demo-dstream.")
_SPOT_HOSTS: Final = frozenset({"stream.binance.com", "data-stream.binance.vision", "stream-sbe.binance.com"})
_BASES: Final = ("/public", "/market")
_CREDENTIALS: Final = re.compile(r"//[^/?#]*@")


def streams_in(url: str) -> tuple[str, ...]:
    """Return the stream names that a URL subscribes to."""
    parts = urlsplit(url)
    if parts.path.rstrip("/").endswith("/stream"):
        listed = [value for key, value in parse_qsl(parts.query) if key == "streams"]
        return tuple(name for name in "/".join(listed).split("/") if name)
    _base, found, names = parts.path.partition("/ws/")
    return tuple(unquote(name) for name in names.split("/") if name) if found else ()


def shown(url: str) -> str:
    """Return a URL, good or not, as logs may have it: without user, password, query, and keys in its path."""
    return without_tokens(_CREDENTIALS.sub(f"//{HIDDEN}@", url.partition("?")[0]))


def is_raw(url: str) -> bool:
    """Say whether messages come without an envelope that names their stream."""
    return "/ws/" in urlsplit(url).path


def same_exchange(one: str, other: str) -> bool:
    """Say whether two feeds' URLs bring the same ids: they are of one host, or of spot's hosts in either encoding."""
    hosts = {(urlsplit(url).hostname or "").rstrip(".") for url in (one, other)}
    return len(hosts) == 1 or hosts <= _SPOT_HOSTS


def is_futures(url: str) -> bool:
    """Say whether a feed's URL is of USD-M or COIN-M futures, as far as it tells."""
    parts = urlsplit(url)
    host = (parts.hostname or "").rstrip(".")
    return host.startswith(_FUTURES_HOSTS) or parts.path.startswith(tuple(f"{base}/" for base in _BASES))


def feed_urls(url: str, streams: Sequence[str], *, microseconds: bool = True, binary: bool = False) -> tuple[str, ...]:
    """Complete a feed's URL: one for each connection that its streams need.

    A bare endpoint gets the streams in the combined form, and the time unit is asked for. Streams of USD-M futures that
    cannot share a connection get one each.

    Args:
        url: ``wss://host:port``, or a full ``/ws/<name>`` or ``/stream?streams=…`` URL, which keeps its streams.
        streams: names to subscribe to where the URL names none.
        microseconds: ask for microsecond times (spot only; futures ignore it).
        binary: messages come in SBE: they name their stream on raw connections too, and all times are microseconds.

    Raises:
        ConfigError: not a WebSocket URL, no stream, more than one connection may carry, or streams that could not be
            told apart.
    """
    parts = _split(url)
    query = _query(parts)
    named = streams_in(url)
    root, form = _root(parts.path, named)
    names = named or tuple(name for name in "/".join(streams).split("/") if name)
    found = [_checked(name) for name in dict.fromkeys(names)]
    if not found:
        raise ConfigError("streams", "none are named", "name at least one, such as btcusdt@trade")
    host = (parts.hostname or "").rstrip(".")
    routed = host in _ROUTED_HOSTS or root.endswith(_BASES)
    if form == "/ws" and not binary:
        _check_raw(found, futures=is_futures(url))
    if microseconds and not (routed or binary):
        query.setdefault("timeUnit", "MICROSECOND")
    groups = [(root, found)]
    if routed:
        above = root.removesuffix(_BASES[0]).removesuffix(_BASES[1])
        book = [stream for stream in found if stream.rule.book]
        rest = [stream for stream in found if not stream.rule.book]
        groups = [(f"{above}{base}", group) for base, group in zip(_BASES, (book, rest), strict=True) if group]
    return tuple(_built(parts, base, form, group, query) for base, group in groups)


def _split(url: str) -> SplitResult:
    refusal = ConfigError("feed url", f"{shown(url)!r} is not a WebSocket URL", "write wss://stream.binance.com:9443")
    try:
        parts = urlsplit(url)
        possible = parts.scheme in ("ws", "wss") and bool(parts.hostname) and parts.port != 0
    except ValueError as error:
        raise refusal from error
    if not possible:
        raise refusal
    try:
        # As the resolver will have it (RFC 1035, section 3.1: labels of 1 to 63 bytes).
        (parts.hostname or "").encode("idna")
    except UnicodeError as error:
        raise ConfigError("feed url", f"{parts.hostname!r} is no host's name", "check its dots and spelling") from error
    return parts


def _query(parts: SplitResult) -> dict[str, str]:
    """Return the query's keys but for the streams, each of which may stand once: of two an exchange takes one."""
    pairs = parse_qsl(parts.query)
    keys = [key for key, _value in pairs]
    for key in keys:
        if keys.count(key) > 1:
            raise ConfigError("feed url", f"{key}= is given twice", "join the names with /: ?streams=a@trade/b@trade")
    return {key: value for key, value in pairs if key != "streams"}


def _root(path: str, named: Sequence[str]) -> tuple[str, str]:
    """Split a path into what stands before the form, and the form: ``/ws`` or ``/stream``."""
    if named:
        before, raw, _names = path.partition("/ws/")
        return (before, "/ws") if raw else (path.rstrip("/").removesuffix("/stream"), "/stream")
    root = path.rstrip("/")
    root = root.removesuffix("/ws" if root.endswith("/ws") else "/stream")
    if root not in ("", *_BASES):
        raise ConfigError(
            "feed url", f"{without_tokens(path)!r} is not a stream path", "use /ws/<stream> or /stream?streams=a/b"
        )
    return root, "/stream"


def _built(parts: SplitResult, root: str, form: str, streams: Sequence[Stream], query: dict[str, str]) -> str:
    if len(streams) > MAX_STREAMS:
        raise ConfigError("streams", f"{len(streams)} are too many", f"a connection carries {MAX_STREAMS}")
    listed = "/".join(stream.name for stream in streams)
    if form == "/ws":
        path = f"{root}/ws/{quote(listed, safe='/@!')}"
    else:
        path, query = f"{root}/stream", {"streams": listed, **query}
    return urlunsplit(parts._replace(path=path, query=urlencode(query, safe="/@!", quote_via=quote)))


def _checked(name: str) -> Stream:
    stream = stream_of(name)
    if stream is None or not _is_name(name):
        raise ConfigError(
            "streams",
            f"{without_tokens(name)!r} is not a stream's name",
            f"write one of {MAX_NAME_BYTES} bytes, like btcusdt@trade",
        )
    symbol, _at, of = name.partition("@")
    if spelt := misspelt(of):
        raise ConfigError("streams", f"{name!r} would bring nothing", f"write {symbol}@{spelt}")
    # Symbols are lower case in names; for others the exchange answers nothing at all. "!…" are of all symbols.
    if not stream.is_of_all and symbol != symbol.lower():
        raise ConfigError("streams", f"{name!r} would bring nothing", f"symbols are lower case: write {symbol.lower()}")
    return stream


def _is_name(name: str) -> bool:
    symbol, at, of = name.partition("@")
    complete = bool(symbol and of) if at else name.startswith("!")
    return complete and name.isprintable() and not any(mark in name for mark in " ?&#,")


def _check_raw(streams: Sequence[Stream], *, futures: bool) -> None:
    """See whether each message of a raw connection can be told to be of one of its streams."""
    if len(streams) == 1:
        return
    seen: dict[tuple[str, str], Stream] = {}
    for stream in streams:
        signatures = stream.signatures(futures=futures)
        if not signatures or stream.is_of_all:
            raise _refusal(stream, "other streams")
        for sign in signatures:
            if sign in seen:
                raise _refusal(stream, seen[sign].name)
            seen[sign] = stream


def _refusal(stream: Stream, other: str) -> ConfigError:
    return ConfigError(
        "feed url",
        f"messages of {stream.name!r} could not be told from those of {other} on a raw connection",
        "use the combined form, /stream?streams=a/b",
    )
