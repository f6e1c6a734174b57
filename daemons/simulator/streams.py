"""Stream names, as Binance writes them: ``btcusdt@trade``, ``btcusdt@depth5@100ms``.

Source: Binance, "WebSocket Streams" (spot) and "Websocket Market Streams" (USD-M futures).
"""

import re
from dataclasses import dataclass

__all__ = ["KINDS", "Stream", "is_book_data", "parse"]

KINDS = ("trade", "aggTrade", "bookTicker", "depth", "depth5", "depth10", "depth20")
"""The kinds that the simulator can generate; depth kinds may be followed by ``@100ms`` or ``@1000ms``."""

# Symbols may hold letters of any script (Binance changelog, 2025-10); case is lower in stream names.
_NAME = re.compile(
    r"(?P<symbol>\w{1,40})@(?:(?P<kind>trade|aggTrade|bookTicker)"
    r"|depth(?P<levels>5|10|20)?(?:@(?:100|250|500|1000)ms)?)"
)


@dataclass(frozen=True, slots=True)
class Stream:
    """A stream that can be generated.

    Attributes:
        name: the whole name, which subscribers ask for.
        symbol: upper case, as payloads carry it.
        kind: ``trade``, ``aggTrade``, ``bookTicker`` or ``depth``.
        levels: of a partial book; 0 for anything else.
    """

    name: str
    symbol: str
    kind: str
    levels: int = 0


def is_book_data(name: str) -> bool:
    """Say whether USD-M futures serve a stream on ``/public``: order books, their best prices, and trades."""
    of = name[1:] if name.startswith("!") else name.partition("@")[2]
    return of.startswith(("depth", "rpiDepth", "bookTicker")) or of == "trade"


def parse(name: str) -> Stream | None:
    """Return the stream that a name stands for, or None when the simulator cannot generate it."""
    match = _NAME.fullmatch(name)
    if match is None or match["symbol"] != match["symbol"].lower():
        return None
    return Stream(name, match["symbol"].upper(), match["kind"] or "depth", int(match["levels"] or 0))
