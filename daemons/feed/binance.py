"""What Binance's messages mean: which stream, which identity, which event time.

Facts from Binance's own documentation (web-socket-streams.md of binance-spot-api-docs, and the USD-M futures pages):
one key has different types in different streams (``a`` is a price in bookTicker, an id in aggTrade and a list in
depth), times are milliseconds or microseconds as the connection asked, and spot bookTicker and partial depth carry no
event time at all.
"""

from collections.abc import Sequence
from enum import StrEnum
from urllib.parse import parse_qs, quote, urlencode, urlsplit, urlunsplit

import msgspec

from daemons.decoding import UNDECODABLE
from daemons.errors import ConfigError
from daemons.records import FeedEvent

__all__ = ["DEFAULT_STREAMS", "Decoder", "Invalid", "Notice", "Reply", "feed_url", "streams_in"]

DEFAULT_STREAMS = ("btcusdt@trade", "btcusdt@bookTicker")
MAX_STREAMS = 1024
"""Streams one spot connection may carry."""

# Exchange clocks before the first market and after the year 2100 are not times.
_EARLIEST_NS = 1_483_228_800 * 10**9
_LATEST_NS = 4_102_444_800 * 10**9
_ID_LIMIT = 1 << 63
_SHUTDOWN = "serverShutdown"
_MAX_NAME = 255
"""Longest stream name that a link can carry."""


class Invalid(StrEnum):
    """Why a message is not an event; the values are label values of the invalid-events counter."""

    MALFORMED = "malformed"
    """Not JSON in UTF-8, or fields of the wrong type or out of range."""
    ARRAY = "array"
    """An array on a stream that has none."""
    BINARY = "binary"
    """A binary frame: not a JSON stream's."""
    EVENT_TIME = "event_time"
    """The event time is missing where the stream has one, or is no possible time."""
    UNKNOWN = "unknown"
    """JSON, but of no kind that is known."""


class Reply(msgspec.Struct):
    """An answer to a control request: not an event."""

    id: int | str | None
    error: str | None


class Notice(msgspec.Struct):
    """The exchange is about to close the connection (``serverShutdown``, since 2026): no market event."""


class _Data(msgspec.Struct, gc=False):
    e: str | None = None
    E: int | None = None
    s: str | None = None
    t: msgspec.Raw = msgspec.Raw(b"")
    a: msgspec.Raw = msgspec.Raw(b"")
    u: int | None = None
    U: int | None = None
    lastUpdateId: int | None = None  # noqa: N815 Binance's spelling


class _Envelope(msgspec.Struct, gc=False):
    stream: str | None = None
    data: _Data | None = None


class _Answer(msgspec.Struct):
    id: int | str | None = None
    result: msgspec.Raw = msgspec.Raw(b"")
    code: int | None = None
    msg: str | None = None
    error: msgspec.Raw = msgspec.Raw(b"")


class _Named(msgspec.Struct):
    stream: str | None = None
    data: msgspec.Raw = msgspec.Raw(b"")


class Decoder:
    """Reads messages of one connection.

    Args:
        default_stream: the stream's name where messages do not say it themselves (raw ``/ws/<name>`` connections).
    """

    def __init__(self, default_stream: str | None = None) -> None:
        self._default = default_stream
        self._envelope = msgspec.json.Decoder(_Envelope).decode
        self._bare = msgspec.json.Decoder(_Data).decode
        self._answer = msgspec.json.Decoder(_Answer).decode
        self._named = msgspec.json.Decoder(_Named).decode

    def decode(self, payload: bytes) -> FeedEvent | Reply | Notice | Invalid:
        """Read one text message.

        Returns:
            The event; or a :class:`Reply` to a control request; or a :class:`Notice`; or why it is none of these.
        """
        try:
            envelope = self._envelope(payload)
            data = envelope.data
            if data is not None and envelope.stream is not None and _is_event(data):
                return Notice() if data.e == _SHUTDOWN else _event(envelope.stream, data, payload)
            data = self._bare(payload)
        except msgspec.ValidationError:
            return self._odd(payload)
        except UNDECODABLE:
            return Invalid.MALFORMED
        if data.e == _SHUTDOWN:
            return Notice()
        stream = self._default or _stream_of(data)
        if stream is not None and _is_event(data):
            return _event(stream, data, payload)
        return self._odd(payload)

    def _odd(self, payload: bytes) -> FeedEvent | Reply | Invalid:
        """Read what is no single event: arrays, replies, errors, nonsense."""
        try:
            if payload.lstrip()[:1] == b"[":
                msgspec.json.decode(payload, type=list[msgspec.Raw])
                return self._array(self._default, payload)
            answer = self._answer(payload)
            if answer.code is not None or answer.error:
                return Reply(answer.id, f"{answer.code} {answer.msg}" if answer.msg else bytes(answer.error).decode())
            if answer.result or answer.id is not None:
                return Reply(answer.id, None)
            named = self._named(payload)
        except UNDECODABLE:
            return Invalid.MALFORMED
        if named.stream is None:
            return Invalid.UNKNOWN
        return self._array(named.stream, payload) if bytes(named.data)[:1] == b"[" else Invalid.MALFORMED

    def _array(self, stream: str | None, payload: bytes) -> FeedEvent | Invalid:
        if stream is None or not stream.startswith("!"):
            return Invalid.ARRAY
        if not _is_carriable(stream, payload):
            return Invalid.MALFORMED
        # All-market arrays are emitted on a timer and have no identity; they are carried, not compared.
        return FeedEvent(stream, None, None, False, None, payload)


def _is_carriable(stream: str, payload: bytes) -> bool:
    """Say whether a link can carry it: a short ASCII name, and UTF-8, as RFC 6455 demands of a text message.

    The decoder alone does not see to the latter: msgspec looks only at the strings that it decodes.
    """
    if len(stream) > _MAX_NAME or not stream.isascii():
        return False
    if payload.isascii():
        return True
    try:
        payload.decode()
    except UnicodeDecodeError:
        return False
    return True


def _is_event(data: _Data) -> bool:
    return data.e is not None or data.u is not None or data.lastUpdateId is not None


def _stream_of(data: _Data) -> str | None:
    """Derive the stream's name from an event that came without an envelope."""
    if data.s is None:
        return None
    kind = data.e
    if kind is None:
        kind = "bookTicker" if data.u is not None else None
    elif kind == "depthUpdate":
        kind = "depth"
    return f"{data.s.lower()}@{kind}" if kind else None


def _event(stream: str, data: _Data, payload: bytes) -> FeedEvent | Invalid:
    kind = data.e
    time_ns: int | None = None
    if data.E is not None:
        # 13 digits are milliseconds, 16 microseconds.
        time_ns = data.E * (1_000_000 if data.E < 10**14 else 1_000)
        if not _EARLIEST_NS < time_ns < _LATEST_NS:
            return Invalid.EVENT_TIME
    elif kind is not None:
        return Invalid.EVENT_TIME
    first: int | None = None
    identity: int | None = None
    try:
        if kind == "trade":
            first = identity = int(data.t)
        elif kind == "aggTrade":
            first = identity = int(data.a)
        elif kind == "depthUpdate":
            first, identity = _range(data)
        elif kind is None or kind == "bookTicker":
            identity = data.u if data.u is not None else data.lastUpdateId
    except ValueError:
        return Invalid.MALFORMED
    in_range = identity is None or 0 <= (identity if first is None else first) <= identity < _ID_LIMIT
    if not in_range or not _is_carriable(stream, payload):
        return Invalid.MALFORMED
    return FeedEvent(stream, identity, first if first is not None else identity, first is not None, time_ns, payload)


def _range(data: _Data) -> tuple[int, int]:
    if data.U is None or data.u is None:
        raise ValueError
    return data.U, data.u


def streams_in(url: str) -> tuple[str, ...]:
    """Return the stream names that a URL subscribes to."""
    parts = urlsplit(url)
    if parts.path.rstrip("/").endswith("/stream"):
        listed = parse_qs(parts.query).get("streams", [""])[0]
        return tuple(name for name in listed.split("/") if name)
    _base, found, names = parts.path.partition("/ws/")
    return tuple(name for name in names.split("/") if name) if found else ()


def feed_url(url: str, streams: tuple[str, ...], *, microseconds: bool = True) -> str:
    """Complete a feed URL: a bare endpoint gets the streams on one combined connection, and the time unit is asked for.

    Args:
        url: ``wss://host:port``, or a full ``/ws/<name>`` or ``/stream?streams=…`` URL, which keeps its streams.
        streams: names to subscribe to where the URL names none.
        microseconds: ask for microsecond times (spot only; futures ignore it).

    Raises:
        ConfigError: not a WebSocket URL, no stream, or more than one connection may carry.
    """
    refusal = ConfigError("feed url", f"{url!r} is not a WebSocket URL", "write wss://stream.binance.com:9443")
    try:
        parts = urlsplit(url)
        possible = parts.scheme in ("ws", "wss") and bool(parts.hostname) and parts.port != 0
    except ValueError as error:
        raise refusal from error
    if not possible:
        raise refusal
    query = parse_qs(parts.query)
    path = parts.path
    named = streams_in(url)
    if not named:
        if path.rstrip("/") not in ("", "/ws", "/stream"):
            raise ConfigError("feed url", f"{path!r} is not a stream path", "use /ws/<stream> or /stream?streams=a/b")
        if not streams:
            raise ConfigError("streams", "none are named", "name at least one, such as btcusdt@trade")
        path, query["streams"] = "/stream", ["/".join(streams)]
    _check_names(named or streams)
    if microseconds:
        query.setdefault("timeUnit", ["MICROSECOND"])
    flat = {key: values[0] for key, values in query.items()}
    return urlunsplit(parts._replace(path=path, query=urlencode(flat, safe="/@!", quote_via=quote)))


def _check_names(names: Sequence[str]) -> None:
    for name in names:
        if len(name) > _MAX_NAME or not name.isascii() or not name.isprintable() or not name:
            raise ConfigError("streams", f"{name!r} is not a stream's name", "write one such as btcusdt@trade")
        symbol = name.partition("@")[0]
        # Symbols are lower case in names; for others the exchange answers nothing at all. "!…" are of all symbols.
        if not symbol.startswith("!") and symbol != symbol.lower():
            raise ConfigError(
                "streams", f"{name!r} would bring nothing", f"symbols are lower case: write {symbol.lower()}"
            )
    if len(names) > MAX_STREAMS:
        raise ConfigError("streams", f"{len(names)} are too many", f"a connection carries {MAX_STREAMS}")
