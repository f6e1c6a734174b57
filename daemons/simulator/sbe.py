"""The exchange's messages in SBE, written from the public schema, and the endpoint's way of serving them.

That is ``sbe/schemas/stream_1_0.xml`` of binance-spot-api-docs: ``spot_stream``, id 1, version 0. ``longer`` bytes
stand at the end of each block, as a later version of the schema may put them there.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from struct import pack
from typing import Any

from daemons.simulator.emission import Emission
from daemons.simulator.faults import Malformed
from daemons.simulator.market import Event

__all__ = ["best_bid_ask", "depth_diff", "depth_snapshot", "in_sbe", "of_json", "trades"]

EXPONENT = -8
_SERVED = {"trade": "trade", "bookTicker": "bestBidAsk", "depth": "depth", "depth20": "depth20"}
"""What is called what in SBE, of the streams that there are in both encodings."""

Level = tuple[int, int]
"""Mantissas of price and quantity."""


def trades(
    event_us: int,
    transact_us: int,
    symbol: str,
    listed: Sequence[tuple[int, int, int, bool]],
    *,
    version: int = 0,
    longer: int = 0,
) -> bytes:
    """Make a TradesStreamEvent; each trade is its id, price, quantity, and whether the buyer was the maker."""
    root = pack("<qqbb", event_us, transact_us, EXPONENT, EXPONENT)
    entries = b"".join(pack("<qqqB", *trade) + bytes(longer) for trade in listed)
    return _message(10000, version, root, longer, pack("<HI", 25 + longer, len(listed)) + entries, symbol)


def best_bid_ask(
    event_us: int, update_id: int, symbol: str, bid: Level, ask: Level, *, version: int = 0, longer: int = 0
) -> bytes:
    """Make a BestBidAskStreamEvent."""
    root = pack("<qqbbqqqq", event_us, update_id, EXPONENT, EXPONENT, *bid, *ask)
    return _message(10001, version, root, longer, b"", symbol)


def depth_snapshot(
    event_us: int,
    update_id: int,
    symbol: str,
    bids: Sequence[Level],
    asks: Sequence[Level],
    *,
    version: int = 0,
    longer: int = 0,
) -> bytes:
    """Make a DepthSnapshotStreamEvent."""
    root = pack("<qqbb", event_us, update_id, EXPONENT, EXPONENT)
    return _message(10002, version, root, longer, _levels(bids, longer) + _levels(asks, longer), symbol)


def depth_diff(
    event_us: int,
    first_id: int,
    last_id: int,
    symbol: str,
    bids: Sequence[Level],
    asks: Sequence[Level],
    *,
    version: int = 0,
    longer: int = 0,
) -> bytes:
    """Make a DepthDiffStreamEvent."""
    root = pack("<qqqbb", event_us, first_id, last_id, EXPONENT, EXPONENT)
    return _message(10003, version, root, longer, _levels(bids, longer) + _levels(asks, longer), symbol)


@dataclass(frozen=True, slots=True)
class SbeEvent:
    """An event of the market, in SBE; a :class:`~daemons.simulator.market.Message`.

    Attributes:
        event: of the market.
        symbol: in upper case.
        stream: its name in SBE.
        cut: leave the second half of the message out.
    """

    event: Event
    symbol: str
    stream: str
    cut: bool = False
    binary: bool = True

    def render(self, emitted_ns: int, unit_ns: int, *, combined: bool) -> bytes:
        whole = of_json(self.event.payload(emitted_ns, 1000), emitted_ns // 1000, self.symbol)
        return whole[: len(whole) // 2] if self.cut else whole


def in_sbe(emission: Emission, *, cull: bool = False) -> Emission | None:
    """Return what goes out in SBE for an emission of the market; None for what is not served there.

    Of malformed messages there is one kind: cut in half.

    Args:
        emission: of the market.
        cull: of best bids and asks that wait to be written only the newest goes out, as the exchange does under load.
    """
    message = emission.message
    symbol, _at, kind = message.stream.partition("@")
    event = message.event if isinstance(message, Malformed) else message
    if not isinstance(event, Event) or kind not in _SERVED:
        return None
    name = f"{symbol}@{_SERVED[kind]}"
    made = SbeEvent(event, symbol.upper(), name, cut=event is not message)
    return Emission(made, emission.emitted_ns, culled=cull and kind == "bookTicker" and not made.cut)


def of_json(payload: bytes, emitted_us: int, symbol: str) -> bytes:
    """Make of one of spot's JSON payloads the same event in SBE."""
    event: dict[str, Any] = json.loads(payload)
    if event.get("e") == "trade":
        trade = (event["t"], _mantissa(event["p"]), _mantissa(event["q"]), event["m"])
        return trades(emitted_us, emitted_us, symbol, [trade])
    if event.get("e") == "depthUpdate":
        return depth_diff(emitted_us, event["U"], event["u"], symbol, _mantissas(event["b"]), _mantissas(event["a"]))
    if "lastUpdateId" in event:
        bids, asks = _mantissas(event["bids"]), _mantissas(event["asks"])
        return depth_snapshot(emitted_us, event["lastUpdateId"], symbol, bids, asks)
    bid, ask = _mantissas([(event["b"], event["B"]), (event["a"], event["A"])])
    return best_bid_ask(emitted_us, event["u"], symbol, bid, ask)


def _message(template: int, version: int, root: bytes, longer: int, groups: bytes, symbol: str) -> bytes:
    name = symbol.encode()
    head = pack("<HHHH", len(root) + longer, template, 1, version)
    return head + root + bytes(longer) + groups + bytes([len(name)]) + name


def _levels(levels: Sequence[Level], longer: int) -> bytes:
    return pack("<HH", 16 + longer, len(levels)) + b"".join(pack("<qq", *level) + bytes(longer) for level in levels)


def _mantissa(number: str) -> int:
    return int(Decimal(number).scaleb(-EXPONENT))


def _mantissas(levels: Sequence[Sequence[str]]) -> list[Level]:
    return [(_mantissa(price), _mantissa(quantity)) for price, quantity in levels]
