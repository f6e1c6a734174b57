"""What a stream's name says: whose events it brings, of which kind, how they are numbered, and where it is served.

One table has the rules of all of Binance's products. Spot, the .us and the .tr site number alike, and so do the two
kinds of futures; a depth update of futures says by ``pu`` what it follows, where one of spot says it by ``U``. Sources:

- spot: binance-spot-api-docs, web-socket-streams.md; Binance.US and Binance TR document the same streams and fields.
- USD-M and COIN-M futures: developers.binance.com, "Websocket Market Streams", and "How to manage a local order book
  correctly" for ``pu``.
- which USD-M streams are on which base: "Important WebSocket Change Notice" of 2026-03-06; ``trade``, which it does not
  name, is served with the book data, as users of it found out.

Captures of all five sites were replayed against these rules; see docs/measurement.md.
"""

from typing import Final

import msgspec

from daemons.records import EventKind, Numbering

__all__ = ["MAX_NAME_BYTES", "PARTIAL", "Stream", "identity_of", "misspelt", "stream_of"]

MAX_NAME_BYTES: Final = 255
"""Longest stream name that a link can carry, in UTF-8."""
PARTIAL: Final = "partial"
"""What stands for the missing ``e`` of spot's partial books."""


class Rule(msgspec.Struct, frozen=True):
    """What holds for all streams of one kind.

    Attributes:
        kind: of the events; None where it is the stream's own name, for events that can be told apart only by it.
        numbering: of their ids.
        event: what the payload calls itself by ``e``, on the products where it does; None where it is not known.
        timed: whether the payload has an event time on every product.
        book: whether USD-M futures serve it with the book data, on ``/public``, and not on ``/market``.
    """

    kind: str | None
    numbering: Numbering
    event: str | None
    timed: bool = False
    book: bool = False


_BOOK_DIFF: Final = Rule(None, Numbering.CHAINED, "depthUpdate", timed=True, book=True)
# Partial books are snapshots on a timer: one that is missing is made good by the next.
_BOOK_PART: Final = Rule(None, Numbering.INCREASING, "depthUpdate", book=True)

RULES: Final = {
    "trade": Rule("trade", Numbering.CONTIGUOUS, "trade", timed=True, book=True),
    "aggTrade": Rule("aggTrade", Numbering.CONTIGUOUS, "aggTrade", timed=True),
    "bookTicker": Rule("book", Numbering.INCREASING, "bookTicker", book=True),
    # The same in SBE. Under load the exchange leaves outdated ones out: missing ids are no loss.
    "bestBidAsk": Rule("book", Numbering.INCREASING, None),
    "depth": _BOOK_DIFF,
    "rpiDepth": _BOOK_DIFF,
    "depth5": _BOOK_PART,
    "depth10": _BOOK_PART,
    "depth20": _BOOK_PART,
    "ticker": Rule(None, Numbering.NONE, "24hrTicker"),
    "miniTicker": Rule(None, Numbering.NONE, "24hrMiniTicker"),
    "kline": Rule(None, Numbering.NONE, "kline"),
    "avgPrice": Rule(None, Numbering.NONE, "avgPrice"),
    "referencePrice": Rule(None, Numbering.NONE, "referencePrice"),
    "markPrice": Rule(None, Numbering.NONE, "markPriceUpdate"),
    "forceOrder": Rule(None, Numbering.NONE, "forceOrder"),
}
"""By the stream's name after its symbol, without the speed (``@100ms``) and a kline's interval (``_1m``)."""
_LOWER: Final = {name.lower(): name for name in RULES}
_OTHER: Final = Rule(None, Numbering.NONE, None)


class Stream(msgspec.Struct, frozen=True):
    """One stream.

    Attributes:
        name: as subscribed.
        symbol: in lower case; empty for a stream of all symbols (``!…``).
        kind: of its events.
        rule: what holds for it.
    """

    name: str
    symbol: str
    kind: EventKind
    rule: Rule

    @property
    def is_of_all(self) -> bool:
        """Whether it brings events of every symbol."""
        return self.name.startswith("!")

    def signatures(self, *, futures: bool) -> tuple[tuple[str, str], ...]:
        """Return by what its payloads are known where they come without its name: what ``e`` says, and the symbol.

        Spot's partial books say neither. None are returned where it is not known what ``e`` would say.
        """
        if self.rule is _BOOK_PART and not futures:
            return ((PARTIAL, ""),)
        return ((self.rule.event, self.symbol),) if self.rule.event is not None else ()


def misspelt(of: str) -> str:
    """Return the right spelling of what a stream's name says after its symbol, where letters are of the wrong case.

    Returns:
        Nothing where the name is right, or none that is known. The interval of a kline has a case of its own.
    """
    base, at, speed = of.partition("@")
    known, mark, interval = base.partition("_")
    right = _LOWER.get(known.lower(), known)
    return "" if right == known else f"{right}{mark}{interval}{at}{speed}"


def identity_of(name: str) -> tuple[str, str]:
    """Return symbol and kind of a stream's events; with an event's id they are its identity on every path."""
    stream = stream_of(name)
    return ("", "") if stream is None else (stream.symbol, stream.kind.name)


def stream_of(name: str) -> Stream | None:
    """Read a stream's name; None for one that a link cannot carry."""
    try:
        encoded = name.encode()
    except UnicodeEncodeError:
        return None
    if not name or len(encoded) > MAX_NAME_BYTES:
        return None
    if name.startswith("!"):
        symbol, of = "", name[1:]
    else:
        symbol, _at, of = name.partition("@")
    base = of.partition("@")[0]
    rule = RULES.get("kline" if base.startswith("kline_") else base, _OTHER)
    return Stream(name, symbol.lower(), EventKind(rule.kind or of, rule.numbering), rule)
