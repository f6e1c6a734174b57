"""What the messages of Binance's SBE streams mean: simple binary encoding, schema ``spot_stream``, id 1.

Source: ``sbe/schemas/stream_1_0.xml`` and ``sbe-market-data-streams.md`` of binance-spot-api-docs. A message is a head
(lengths and numbers of 16 bits), a root block, groups of entries, and the symbol. All is little-endian; times are in
microseconds. What follows a block is found by the block's stated length, so that a newer version of the schema, which
may lengthen blocks or add something at the end, is read like this one.

The same trade has the same id as in JSON, and ``bookUpdateId`` of bestBidAsk is the ``u`` of bookTicker. Depth is cut
into other ranges than in JSON, so its streams are known by names of their own here and are not raced against those.
"""

from struct import Struct
from struct import error as StructError  # noqa: N812 it is an exception class
from typing import Final

from daemons.errors import ConfigError
from daemons.feed.binance import EARLIEST_NS, LATEST_NS, Invalid
from daemons.feed.streams import Stream, stream_of
from daemons.records import FeedEvent

__all__ = ["SbeDecoder", "known_as"]

SCHEMA_ID: Final = 1
TRADES: Final = 10000
BEST_BID_ASK: Final = 10001
DEPTH_SNAPSHOT: Final = 10002
DEPTH_DIFF: Final = 10003
_KINDS: Final = {TRADES: "trade", BEST_BID_ASK: "bestBidAsk", DEPTH_SNAPSHOT: "depth20@sbe", DEPTH_DIFF: "depth@sbe"}
_SERVED: Final = {kind.removesuffix("@sbe"): kind for kind in _KINDS.values()}

_HEAD: Final = Struct("<HHHH")
"""Length of the root block, template, schema, and the schema's version."""
_BODY_AT: Final = 8
_unpack_head: Final = Struct("<HHHxxq8x").unpack_from
"""Length of the root block, template, schema; event time, behind which every message has eight bytes more at least."""
_ID: Final = Struct("<q")
_ID_AT: Final = 16
_ROOT_BYTES: Final = {TRADES: 18, BEST_BID_ASK: 50, DEPTH_SNAPSHOT: 18, DEPTH_DIFF: 26}
_TRADES_HEAD: Final = Struct("<HI")
_TRADE_BYTES: Final = 25
_LEVELS_HEAD: Final = Struct("<HH")
_LEVEL_BYTES: Final = 16

# What nearly all messages are, read in one piece: version 0, known by their first eight bytes.
_ONE_TRADE, _BOOK, _DIFF = (
    _HEAD.pack(_ROOT_BYTES[template], template, SCHEMA_ID, 0) for template in (TRADES, BEST_BID_ASK, DEPTH_DIFF)
)
_unpack_one_trade: Final = Struct("<8xq10xHIq").unpack_from
"""Event time; of the group of trades the length of each, and how many; the first one's id."""
_ONE_TRADE_SYMBOL_AT: Final = _BODY_AT + _ROOT_BYTES[TRADES] + _TRADES_HEAD.size + _TRADE_BYTES
_unpack_book: Final = Struct("<8xqq").unpack_from
_BOOK_SYMBOL_AT: Final = _BODY_AT + _ROOT_BYTES[BEST_BID_ASK]
_unpack_diff: Final = Struct("<8xqqqxxHH").unpack_from
"""Event time, first and last id, and after the exponents the length of each bid, and how many."""
_DIFF_LEVELS_AT: Final = _BODY_AT + _ROOT_BYTES[DEPTH_DIFF] + _LEVELS_HEAD.size
_unpack_levels: Final = _LEVELS_HEAD.unpack_from
_MAX_KNOWN: Final = 8192
_EARLIEST_US: Final = EARLIEST_NS // 1000
_LATEST_US: Final = LATEST_NS // 1000


def known_as(name: str) -> str:
    """Return by what name the events of a stream are known here.

    Raises:
        ConfigError: there is no such stream in SBE.
    """
    symbol, _at, of = name.partition("@")
    kind = _SERVED.get(of)
    if kind is None:
        remedy = "use bestBidAsk" if of == "bookTicker" else f"choose of {', '.join(sorted(_SERVED))}"
        raise ConfigError("streams", f"{name!r} is not served in SBE", remedy)
    return f"{symbol}@{kind}"


class SbeDecoder:
    """Reads binary messages of one connection."""

    def __init__(self) -> None:
        self._known: dict[int, dict[bytes, Stream]] = {template: {} for template in _KINDS}
        # By what stands at the end of a message of the usual form: the symbol with its length.
        self._ends: dict[int, dict[bytes, Stream]] = {template: {} for template in _KINDS}
        self._trades_of, self._books = self._ends[TRADES], self._ends[BEST_BID_ASK]
        self._diffs = self._ends[DEPTH_DIFF]

    def decode(self, payload: bytes) -> list[FeedEvent] | Invalid:
        """Read one binary message.

        Returns:
            Its events, of which a message of trades may hold several; or why it has none.
        """
        stream: Stream | None = None
        previous: int | None = None
        time_us = number = 0
        head = payload[:_BODY_AT]
        try:
            if head == _ONE_TRADE:
                time_us, size, count, number = _unpack_one_trade(payload)
                if size == _TRADE_BYTES and count == 1 and number >= 0:
                    stream, previous = self._trades_of.get(payload[_ONE_TRADE_SYMBOL_AT:]), number - 1
            elif head == _BOOK:
                time_us, number = _unpack_book(payload)
                if number >= 0:
                    stream = self._books.get(payload[_BOOK_SYMBOL_AT:])
            elif head == _DIFF:
                time_us, first, number, size, bids = _unpack_diff(payload)
                at = _DIFF_LEVELS_AT + size * bids
                other, asks = _unpack_levels(payload, at)
                if size == other == _LEVEL_BYTES and number >= first >= 0:
                    stream, previous = self._diffs.get(payload[at + _LEVELS_HEAD.size + other * asks :]), first - 1
            if stream is not None and _EARLIEST_US < time_us < _LATEST_US:
                return [FeedEvent(stream.name, stream.symbol, stream.kind, number, previous, time_us * 1000, payload)]
        except StructError:
            # It is cut off; what is wrong with it first is said below.
            pass
        try:
            return self._unusual(payload)
        except (StructError, IndexError, ValueError):
            return Invalid.MALFORMED

    def _unusual(self, payload: bytes) -> list[FeedEvent] | Invalid:
        """Read a message of any form.

        Raises:
            StructError, IndexError, ValueError: it is malformed.
        """
        block, template, schema, time_us = _unpack_head(payload)
        if schema != SCHEMA_ID or template not in _ROOT_BYTES:
            return Invalid.UNKNOWN
        if not _EARLIEST_US < time_us < _LATEST_US:
            return Invalid.EVENT_TIME
        if block < _ROOT_BYTES[template]:
            return Invalid.MALFORMED
        at = _BODY_AT + block
        if template == TRADES:
            return self._trades(payload, at, time_us * 1000)
        number, previous = _ids(template, payload)
        if template != BEST_BID_ASK:
            at = _after_levels(payload, _after_levels(payload, at))
        stream = self._stream(template, payload, at)
        return [FeedEvent(stream.name, stream.symbol, stream.kind, number, previous, time_us * 1000, payload)]

    def _trades(self, payload: bytes, at: int, time_ns: int) -> list[FeedEvent] | Invalid:
        size, count = _TRADES_HEAD.unpack_from(payload, at)
        first, at = at + _TRADES_HEAD.size, at + _TRADES_HEAD.size + size * count
        # Without this a few bytes could ask for billions of trades.
        if not count or size < _TRADE_BYTES or at >= len(payload):
            return Invalid.MALFORMED
        stream = self._stream(TRADES, payload, at)
        events = []
        for begin in range(first, at, size):
            (number,) = _ID.unpack_from(payload, begin)
            if number < 0:
                return Invalid.MALFORMED
            events.append(FeedEvent(stream.name, stream.symbol, stream.kind, number, number - 1, time_ns, payload))
        return events

    def _stream(self, template: int, payload: bytes, at: int) -> Stream:
        """Find the stream by the symbol, which stands here after its length.

        Raises:
            IndexError, ValueError: it is cut off, or is none.
        """
        end = at + 1 + payload[at]
        if end > len(payload):
            raise IndexError
        symbol = payload[at + 1 : end]
        return self._known[template].get(symbol) or self._named(template, symbol)

    def _named(self, template: int, symbol: bytes) -> Stream:
        name = f"{symbol.decode().lower()}@{_KINDS[template]}"
        # A symbol with a sign that means something in a stream's name would make it the name of another stream.
        stream = None if symbol[:1] in (b"", b"!") or b"@" in symbol else stream_of(name)
        if stream is None:
            raise ValueError
        known = self._known[template]
        if len(known) < _MAX_KNOWN:
            known[symbol] = self._ends[template][bytes([len(symbol)]) + symbol] = stream
        return stream


def _ids(template: int, payload: bytes) -> tuple[int, int | None]:
    """Return a book update's id, and the id that it follows where it says so.

    Raises:
        ValueError: they are none.
    """
    (first,) = _ID.unpack_from(payload, _ID_AT)
    if first < 0:
        raise ValueError
    if template != DEPTH_DIFF:
        return first, None
    (last,) = _ID.unpack_from(payload, _ID_AT + _ID.size)
    if last < first:
        raise ValueError
    return last, first - 1


def _after_levels(payload: bytes, at: int) -> int:
    """Return where a group of price levels ends."""
    size, count = _LEVELS_HEAD.unpack_from(payload, at)
    if count and size < _LEVEL_BYTES:
        raise ValueError
    end: int = at + _LEVELS_HEAD.size + size * count
    return end
