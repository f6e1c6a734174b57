"""What recorders found on five of Binance's sites, with every value replaced: the forms, and how ids follow, remain."""

import json
import random
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.replay import replay

MILLISECOND = 1_700_000_000_000


def futures_depth(symbol: str, rng: random.Random) -> Iterator[dict[str, Any]]:
    """USD-M and COIN-M: ``pu`` is the last ``u``; ids are one count for all symbols, so ``U`` is far beyond it."""
    last = 600_000_000_000
    while True:
        previous, first = last, last + rng.randrange(2, 40_000)
        last = first + rng.randrange(3_000) * rng.randrange(2)
        yield {"e": "depthUpdate", "T": MILLISECOND, "s": symbol, "U": first, "u": last, "pu": previous}


def spot_depth(symbol: str, rng: random.Random) -> Iterator[dict[str, Any]]:
    """Spot, .us and .tr: ``U`` is the last ``u`` plus one."""
    last = 500_000_000
    while True:
        first, last = last + 1, last + 1 + rng.randrange(30)
        yield {"e": "depthUpdate", "s": symbol, "U": first, "u": last}


def book(symbol: str, rng: random.Random, **more: Any) -> Iterator[dict[str, Any]]:
    last = 600_000_000_000
    while True:
        last += rng.randrange(1, 5_000)
        yield {**more, "u": last, "s": symbol, "b": "1.00", "B": "2", "a": "1.01", "A": "3"}


def trades(symbol: str, **more: Any) -> Iterator[dict[str, Any]]:
    number = 16_000_000
    while True:
        number += 1
        yield {"e": "aggTrade", "a": number, "s": symbol, "p": "1", "q": "2", "f": 1, "l": 1, "m": True, **more}


def kline(symbol: str) -> Iterator[dict[str, Any]]:
    while True:
        yield {"e": "kline", "s": symbol, "k": {"t": MILLISECOND, "s": symbol, "i": "1m"}}


Depth = Callable[[str, random.Random], Iterator[dict[str, Any]]]
SITES: dict[str, tuple[Depth, dict[str, Any]]] = {
    "wss://stream.binance.com:9443": (spot_depth, {}),
    "wss://stream.binance.us:9443": (spot_depth, {}),
    "wss://stream-cloud.trbinance.com": (spot_depth, {}),
    "wss://fstream.binance.com": (futures_depth, {"e": "bookTicker", "T": MILLISECOND}),
    "wss://dstream.binance.com": (futures_depth, {"e": "bookTicker", "ps": "AUSD"}),
}
"""How each chains its depth updates, and what its book tickers hold more than those of spot."""


def capture(site: str, count: int, lost: float = 0.0) -> tuple[list[str], int, int]:
    """Make a recording; return its lines, and how many trades and how many runs of depth updates are missing in it."""
    rng = random.Random(count)
    depth, more = SITES[site]
    streams: dict[str, Iterator[dict[str, Any]]] = {}
    for symbol in ("AUSDT", "BUSDT", "\u5e01USDT"):
        name = symbol.lower()
        streams[f"{name}@depth@100ms"] = depth(symbol, rng)
        streams[f"{name}@kline_1m"] = kline(symbol)
        streams[f"{name}@bookTicker"] = book(symbol, rng, **more)
        streams[f"{name}@aggTrade"] = trades(symbol)
    names = sorted(streams)
    lines = [f"{site}/stream?streams={'/'.join(names)} <-> 1700000000.0", '1700000000.1: {"result":null,"id":1}']
    trades_lost = breaks = 0
    begun: set[str] = set()
    pending: dict[str, int] = {}
    for turn in range(count):
        name = rng.choice(names)
        event = next(streams[name])
        if rng.random() < lost and name in begun:
            pending[name] = pending.get(name, 0) + 1
            continue
        begun.add(name)
        missed = pending.pop(name, 0)
        trades_lost += missed if name.endswith("aggTrade") else 0
        breaks += name.endswith("depth@100ms") and missed > 0
        if "e" in event:
            event = {**event, "E": MILLISECOND + turn}
        lines.append(f"{1_700_000_000 + turn / 1000}: {json.dumps({'stream': name, 'data': event})}")
    return lines, trades_lost, breaks


@pytest.mark.parametrize("site", SITES)
def test_a_whole_recording_has_no_loss(site: str) -> None:
    lines, _trades, _breaks = capture(site, 2000)
    done = replay(lines)
    assert (done.total("missing"), done.total("gaps"), dict(done.invalid), done.replies) == (0, 0, {}, 1)
    assert sum(account.events for account in done.accounts.values()) == 2000
    assert not any(account.duplicates or account.invalid["absurd_sequence"] for account in done.accounts.values())
    assert "depth@100ms" in done.table()


@pytest.mark.parametrize("site", SITES)
def test_of_a_recording_with_holes_all_trades_and_each_break_of_a_chain_are_counted(site: str) -> None:
    lines, trades_lost, breaks = capture(site, 3000, lost=0.1)
    done = replay(lines)
    assert trades_lost > 50
    assert breaks > 20
    assert done.accounts["aggTrade"].total("missing") == trades_lost
    assert done.accounts["depth@100ms"].total("missing") == breaks
    assert done.accounts["book"].total("missing") == 0


def test_a_raw_connection_s_url_gives_the_names() -> None:
    url = "wss://stream.binance.com:9443/ws/a@depth@100ms/b@depth20@100ms <-> 1"
    depth = {"e": "depthUpdate", "E": MILLISECOND, "s": "A", "U": 1, "u": 2, "b": [], "a": []}
    done = replay([url, json.dumps(depth), json.dumps({"lastUpdateId": 7, "bids": [], "asks": []}), "noise"])
    assert {kind: account.events for kind, account in done.accounts.items()} == {"depth@100ms": 1, "depth20@100ms": 1}
