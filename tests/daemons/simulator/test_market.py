import itertools
import json
from collections import defaultdict
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemons.simulator.market import Event, Market, _Book, envelope
from daemons.simulator.streams import Stream, parse

NOW_NS = 1_767_225_600_123_456_789
KINDS = ("trade", "aggTrade", "bookTicker", "depth", "depth@100ms", "depth5", "depth20@100ms")
NAMES = [f"{symbol}@{kind}" for symbol in ("btcusdt", "ethusdt") for kind in KINDS]

seeds = st.integers(0, 2**64)
some_names = st.lists(st.sampled_from(NAMES), min_size=1, unique=True)


def stream(name: str) -> Stream:
    parsed = parse(name)
    assert parsed is not None
    return parsed


def market(names: list[str], seed: int = 1, *, futures: bool = False) -> Market:
    return Market([stream(name) for name in names], seed, futures=futures)


def decoded(event: Event, unit_ns: int = 1_000_000) -> dict[str, Any]:
    payload: dict[str, Any] = json.loads(event.payload(NOW_NS, unit_ns))
    return payload


@pytest.mark.parametrize(
    ("name", "futures", "keys"),
    [
        ("btcusdt@trade", False, "e E s t p q T m M"),
        ("btcusdt@aggTrade", False, "e E s a p q f l T m M"),
        ("btcusdt@bookTicker", False, "u s b B a A"),
        ("btcusdt@depth", False, "e E s U u b a"),
        ("btcusdt@depth@100ms", False, "e E s U u b a"),
        ("btcusdt@depth10", False, "lastUpdateId bids asks"),
        ("btcusdt@trade", True, "e E T s t p q X m"),
        ("btcusdt@aggTrade", True, "e E s a p q f l T m"),
        ("btcusdt@bookTicker", True, "e u s b B a A T E"),
        ("btcusdt@depth", True, "e E T s U u pu b a"),
        ("btcusdt@depth10", True, "e E T s U u pu b a"),
    ],
)
def test_keys_come_in_the_exchange_s_order(name: str, futures: bool, keys: str) -> None:
    assert list(decoded(market([name], futures=futures).next_event())) == keys.split()


def test_values_have_the_exchange_s_types() -> None:
    trade = decoded(market(["btcusdt@trade"]).next_event())
    assert trade["e"] == "trade"
    assert trade["s"] == "BTCUSDT"
    assert trade["M"] is True
    assert isinstance(trade["m"], bool)
    assert isinstance(trade["t"], int)
    for key in ("p", "q"):
        whole, fraction = trade[key].split(".")
        assert int(whole) >= 0
        assert len(fraction) == 8
    ticker = decoded(market(["btcusdt@bookTicker"]).next_event())
    assert float(ticker["b"]) < float(ticker["a"])
    partial = decoded(market(["btcusdt@depth5"]).next_event())
    assert len(partial["bids"]) == len(partial["asks"]) == 5
    assert float(partial["bids"][0][0]) < float(partial["asks"][0][0])
    assert sorted(partial["bids"], key=lambda level: -float(level[0])) == partial["bids"]
    assert sorted(partial["asks"], key=lambda level: float(level[0])) == partial["asks"]


def test_times_are_those_of_the_emission_in_the_client_s_unit() -> None:
    trade = market(["btcusdt@trade"]).next_event()
    milli, micro = decoded(trade, 1_000_000), decoded(trade, 1_000)
    assert milli["E"] == 1_767_225_600_123
    assert micro["E"] == 1_767_225_600_123_456
    assert 100 <= micro["E"] - micro["T"] <= 900
    assert milli["T"] == micro["T"] // 1000
    futures = decoded(market(["btcusdt@bookTicker"], futures=True).next_event())
    assert futures["E"] == 1_767_225_600_123
    assert futures["E"] - futures["T"] in (0, 1)


def test_combined_streams_get_an_envelope() -> None:
    event = market(["btcusdt@trade"]).next_event()
    whole = event.render(NOW_NS, 1000, combined=True)
    assert whole == b'{"stream":"btcusdt@trade","data":%s}' % event.render(NOW_NS, 1000, combined=False)
    assert json.loads(envelope("币安人生usdt@trade", b"{}"))["stream"] == "币安人生usdt@trade"


@given(some_names, seeds, st.booleans())
def test_the_seed_decides_everything(names: list[str], seed: int, futures: bool) -> None:
    one, other = market(names, seed, futures=futures), market(names, seed, futures=futures)
    assert [one.next_event() for _ in range(50)] == [other.next_event() for _ in range(50)]


def test_other_seeds_give_other_events() -> None:
    assert market(["btcusdt@trade"], 1).next_event() != market(["btcusdt@trade"], 2).next_event()


def test_every_stream_gets_its_turn() -> None:
    exchange = market(NAMES)
    assert {exchange.next_event().stream for _ in range(500)} == set(NAMES)


@given(some_names, seeds, st.lists(st.integers(0, 5), min_size=40, max_size=200), st.booleans())
def test_ids_are_contiguous_but_for_what_was_skipped(
    names: list[str], seed: int, skips: list[int], futures: bool
) -> None:
    exchange = market(names, seed, futures=futures)
    by_stream: dict[str, list[tuple[int, Event]]] = defaultdict(list)
    for skipped in skips:
        event = exchange.next_event(skipped)
        by_stream[event.stream].append((skipped, event))
    for name, events in by_stream.items():
        for (_, before), (skipped, after) in itertools.pairwise(events):
            old, new = decoded(before), decoded(after)
            assert after.last_id > before.last_id
            kind = stream(name).kind
            if kind == "trade":
                assert new["t"] == old["t"] + 1 + skipped == after.first_id == after.last_id
            elif kind == "aggTrade":
                assert new["a"] == old["a"] + 1 + skipped == after.first_id == after.last_id
                assert new["f"] == old["l"] + 1
                assert new["l"] >= new["f"]
            elif kind == "depth" and "U" in new:
                assert new["u"] >= new["U"] == after.first_id
                assert new["u"] == after.last_id
                previous = new["pu"] if futures else new["U"] - 1
                assert previous == old["u"] + skipped


@given(seeds)
def test_depth_covers_what_the_book_ticker_showed(seed: int) -> None:
    exchange = market(["btcusdt@depth", "btcusdt@bookTicker"], seed)
    shown = 0
    for _ in range(100):
        event = exchange.next_event()
        if event.stream.endswith("depth"):
            assert event.last_id > shown
        else:
            shown = event.last_id


@given(seeds)
def test_a_symbol_is_not_disturbed_by_another(seed: int) -> None:
    alone, among = market(["btcusdt@trade"], seed), market(["btcusdt@trade", "ethusdt@trade"], seed)
    others = (event for event in iter(among.next_event, None) if event.stream == "btcusdt@trade")
    assert [alone.next_event() for _ in range(20)] == list(itertools.islice(others, 20))


def test_prices_stay_positive_however_far_they_fall() -> None:
    book = _Book("BTCUSDT", 3, futures=False)
    book._price = 1005
    # The twentieth bid of a partial book is 19 ticks below.
    assert min(book._move() for _ in range(10_000)) >= 1000
