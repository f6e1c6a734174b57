"""What Binance's messages mean: which stream, which identity, which event time.

Facts from Binance's own documentation (web-socket-streams.md of binance-spot-api-docs, and the USD-M futures pages):
one key has different types in different streams (``a`` is a price in bookTicker, an id in aggTrade and a list in
depth), times are milliseconds or microseconds as the connection asked, and spot bookTicker, partial depth and
referencePrice carry no event time at all. What a stream's name says is in :mod:`daemons.feed.streams`.
"""

from collections.abc import Sequence
from enum import StrEnum
from typing import Final

import msgspec

from daemons.decoding import UNDECODABLE
from daemons.feed.streams import PARTIAL, Stream, stream_of
from daemons.records import EventKind, FeedEvent, Numbering

__all__ = ["EARLIEST_NS", "LATEST_NS", "Decoder", "Invalid", "Notice", "Reply"]

# Exchange clocks before the first market and after the year 2100 are not times.
EARLIEST_NS = 1_483_228_800 * 10**9
LATEST_NS = 4_102_444_800 * 10**9
_ID_LIMIT = 1 << 63
_SHUTDOWN = "serverShutdown"
_MAX_KNOWN = 8192
"""Names whose meaning is remembered; an exchange allows 1,024 streams on a connection."""
_CONTIGUOUS: Final = Numbering.CONTIGUOUS
_CHAINED: Final = Numbering.CHAINED
_INCREASING: Final = Numbering.INCREASING


class Invalid(StrEnum):
    """Why a message is not an event; the values are label values of the invalid-events counter."""

    MALFORMED = "malformed"
    """Not JSON in UTF-8 (or, in SBE, cut off), or fields of the wrong type or out of range."""
    ARRAY = "array"
    """An array on a stream that has none."""
    BINARY = "binary"
    """A binary frame on a connection of JSON."""
    EVENT_TIME = "event_time"
    """The event time is missing where the stream has one, or is no possible time."""
    UNKNOWN = "unknown"
    """Of no kind that is known, or of no stream of the connection."""


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
    pu: int | None = None
    lastUpdateId: int | None = None  # noqa: N815 Binance's spelling


class _Unnumbered(msgspec.Struct, gc=False):
    """What is read of streams that have no ids; their other fields may be of any type."""

    e: str | None = None
    E: int | None = None


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
        names: the streams subscribed to, where messages do not say themselves of which they are (raw ``/ws/<name>``
            connections). Without any, an event that does not say it gets the name that it would most likely have.
        elsewhere: the streams were subscribed to on other connections than the one that is read: an event has the name
            of one of them where it can be of no other of them, and else the likely one.
    """

    def __init__(self, names: Sequence[str] = (), *, elsewhere: bool = False) -> None:
        self._known: dict[str, Stream] = {}
        self._envelope = msgspec.json.Decoder(_Envelope).decode
        self._bare = msgspec.json.Decoder(_Data).decode
        self._unnumbered = msgspec.json.Decoder(_Unnumbered).decode
        self._answer = msgspec.json.Decoder(_Answer).decode
        self._named = msgspec.json.Decoder(_Named).decode
        streams = [stream for name in names if (stream := self._stream(name)) is not None]
        self._elsewhere = elsewhere
        self._only = streams[0] if len(streams) == 1 and not elsewhere else None
        if elsewhere:
            self._signed = _unmistakable(streams)
            return
        self._signed = {sign: stream for stream in streams for sign in stream.signatures(futures=False)}
        for stream in streams:
            # Of futures, which do not mix these on a raw connection: see feed.endpoints.
            for sign in stream.signatures(futures=True):
                self._signed.setdefault(sign, stream)

    def decode(self, payload: bytes) -> FeedEvent | Reply | Notice | Invalid:
        """Read one text message.

        Returns:
            The event; or a :class:`Reply` to a control request; or a :class:`Notice`; or why it is none of these.
        """
        try:
            envelope = self._envelope(payload)
            data = envelope.data
            if data is not None and envelope.stream is not None:
                stream = self._known.get(envelope.stream) or self._stream(envelope.stream)
                if data.e == _SHUTDOWN:
                    return Notice()
                return Invalid.MALFORMED if stream is None else _event(stream, data, payload)
            data = self._bare(payload)
        except msgspec.ValidationError:
            return self._odd(payload)
        except UNDECODABLE:
            return Invalid.MALFORMED
        if data.e is None and data.u is None and data.lastUpdateId is None:
            return self._odd(payload)
        if data.e == _SHUTDOWN:
            return Notice()
        stream = self._only or self._stream_of(data)
        return Invalid.UNKNOWN if stream is None else _event(stream, data, payload)

    def symbol_of(self, payload: bytes) -> str:
        """Return the symbol of an event, in lower case; empty where it is of no single one."""
        found = self.decode(payload)
        return found.symbol if isinstance(found, FeedEvent) else ""

    def _stream(self, name: str) -> Stream | None:
        stream = stream_of(name)
        if stream is not None and len(self._known) < _MAX_KNOWN:
            self._known[name] = stream
        return stream

    def _stream_of(self, data: _Data) -> Stream | None:
        """Find the stream of an event that came without an envelope."""
        event = data.e or ("bookTicker" if data.u is not None else PARTIAL)
        symbol = data.s.lower() if data.s is not None else ""
        if self._signed:
            signed = self._signed.get((event, symbol))
            if signed is not None or not self._elsewhere:
                return signed
        name = f"{symbol}@{'depth' if event == 'depthUpdate' else event}"
        return (self._known.get(name) or self._stream(name)) if symbol else None

    def _odd(self, payload: bytes) -> FeedEvent | Reply | Invalid:
        """Read what is no single event with an id: arrays, replies, errors, nonsense, and fields of other types."""
        try:
            if payload.lstrip()[:1] == b"[":
                msgspec.json.decode(payload, type=list[msgspec.Raw])
                return self._array(self._only, payload)
            answer = self._answer(payload)
            if answer.code is not None or answer.error:
                return Reply(answer.id, f"{answer.code} {answer.msg}" if answer.msg else bytes(answer.error).decode())
            if answer.result or answer.id is not None:
                return Reply(answer.id, None)
            named = self._named(payload)
            if named.stream is not None:
                stream, data = self._known.get(named.stream) or self._stream(named.stream), bytes(named.data)
                if stream is not None and data[:1] == b"[":
                    return self._array(stream, payload)
            else:
                stream, data = self._only, payload
            if stream is None or stream.kind.numbering is not Numbering.NONE:
                return Invalid.UNKNOWN if named.stream is None else Invalid.MALFORMED
            found = self._unnumbered(data)
        except UNDECODABLE:
            return Invalid.MALFORMED
        return _event(stream, _Data(e=found.e, E=found.E), payload)

    def _array(self, stream: Stream | None, payload: bytes) -> FeedEvent | Invalid:
        if stream is None or not stream.is_of_all:
            return Invalid.ARRAY
        if not _is_utf8(payload):
            return Invalid.MALFORMED
        # All-market arrays are emitted on a timer and have no identity; they are carried, not compared.
        return FeedEvent(stream.name, "", stream.kind, None, None, None, payload)


def _unmistakable(streams: Sequence[Stream]) -> dict[tuple[str, str], Stream]:
    """Return the streams by what their payloads say, where no other of them says the same on any product."""
    found: dict[tuple[str, str], set[Stream]] = {}
    for stream in streams:
        for futures in (False, True):
            for sign in stream.signatures(futures=futures):
                found.setdefault(sign, set()).add(stream)
    return {sign: next(iter(those)) for sign, those in found.items() if len(those) == 1}


def _is_utf8(payload: bytes) -> bool:
    """Say whether a link can carry it: UTF-8, as RFC 6455 demands of a text message.

    The decoder alone does not see to it: msgspec looks only at the strings that it decodes.
    """
    if payload.isascii():
        return True
    try:
        payload.decode()
    except UnicodeDecodeError:
        return False
    return True


def _event(stream: Stream, data: _Data, payload: bytes) -> FeedEvent | Invalid:
    time_ns: int | None = None
    if data.E is not None:
        # 13 digits are milliseconds, 16 microseconds.
        time_ns = data.E * (1_000_000 if data.E < 10**14 else 1_000)
        if not EARLIEST_NS < time_ns < LATEST_NS:
            return Invalid.EVENT_TIME
    elif stream.rule.timed:
        return Invalid.EVENT_TIME
    try:
        identity, previous = _ids(stream.kind, data)
    except ValueError:
        return Invalid.MALFORMED
    if not (payload.isascii() or _is_utf8(payload)):
        return Invalid.MALFORMED
    symbol = stream.symbol
    if not symbol and data.s is not None:
        symbol = data.s.lower()
    return FeedEvent(stream.name, symbol, stream.kind, identity, previous, time_ns, payload)


def _ids(kind: EventKind, data: _Data) -> tuple[int | None, int | None]:
    """Return an event's id and the one that it follows.

    Raises:
        ValueError: they are missing, or are none.
    """
    numbering = kind.numbering
    if numbering is _CONTIGUOUS:
        number = int(data.t if kind.name == "trade" else data.a)
        if 0 <= number < _ID_LIMIT:
            return number, number - 1
    elif numbering is _INCREASING:
        found = data.u if data.u is not None else data.lastUpdateId
        if found is not None and 0 <= found < _ID_LIMIT:
            return found, None
    elif numbering is _CHAINED:
        return _linked(data)
    else:
        return None, None
    raise ValueError


def _linked(data: _Data) -> tuple[int, int]:
    """Return the last id of a range, and the id that the range follows: futures say it, spot says its own first."""
    first, last = data.U, data.u
    if first is not None and last is not None and 0 <= first <= last < _ID_LIMIT:
        previous = first - 1 if data.pu is None else data.pu
        if -1 <= previous < last:
            return last, previous
    raise ValueError
