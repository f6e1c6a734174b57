import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemons.feed.binance import Decoder, Invalid, Reply
from daemons.records import FeedEvent
from tests.daemons.made import feed_event

TRADE = {"e": "trade", "E": 1672515782136, "s": "BNBBTC", "t": 12345, "p": "0.001", "q": "100", "T": 1672515782136}
AGG = {"e": "aggTrade", "E": 1672515782136123, "s": "BNBBTC", "a": 777, "p": "0.001", "f": 100, "l": 105}
BOOK = {"u": 400900217, "s": "BNBUSDT", "b": "25.35190000", "B": "31.21", "a": "25.36520000", "A": "40.66"}
FUTURES_BOOK = {"e": "bookTicker", "u": 5, "E": 1568014460893, "T": 1568014460891, "s": "BNBUSDT", "b": "25", "a": "26"}
DEPTH = {"e": "depthUpdate", "E": 1672515782136, "s": "BNBBTC", "U": 157, "u": 160, "b": [["0.0024", "10"]], "a": []}
PARTIAL = {"lastUpdateId": 160, "bids": [["0.0024", "10"]], "asks": [["0.0026", "100"]]}
FUTURES_DEPTH = {**DEPTH, "T": 1672515782130, "pu": 140}
REFERENCE = {"e": "referencePrice", "s": "BNBBTC", "r": "0.0024", "t": 1672515782136}
KLINE = {"e": "kline", "E": 1672515782136, "s": "BNBBTC", "k": {"t": 1672515780000}}


def combined(stream: str, data: object) -> bytes:
    return json.dumps({"stream": stream, "data": data}).encode()


@pytest.mark.parametrize(
    ("stream", "data", "identity", "previous", "time_ns"),
    [
        ("bnbbtc@trade", TRADE, 12345, 12344, 1672515782136_000_000),
        ("bnbbtc@aggTrade", AGG, 777, 776, 1672515782136123_000),
        ("bnbusdt@bookTicker", BOOK, 400900217, None, None),
        ("bnbusdt@bookTicker", FUTURES_BOOK, 5, None, 1568014460893_000_000),
        ("bnbbtc@depth@100ms", DEPTH, 160, 156, 1672515782136_000_000),
        ("bnbbtc@depth@100ms", FUTURES_DEPTH, 160, 140, 1672515782136_000_000),
        ("bnbbtc@rpiDepth@500ms", FUTURES_DEPTH, 160, 140, 1672515782136_000_000),
        ("bnbbtc@depth5", PARTIAL, 160, None, None),
        ("bnbbtc@depth5@100ms", FUTURES_DEPTH, 160, None, 1672515782136_000_000),
        ("bnbbtc@kline_1m", KLINE, None, None, 1672515782136_000_000),
        ("bnbbtc@referencePrice", REFERENCE, None, None, None),
        ("\u5e01\u5b89\u4eba\u751fusdt@trade", TRADE, 12345, 12344, 1672515782136_000_000),
        ("bnbbtc@inventedLater", {"s": "BNBBTC", "u": "x", "E": 1672515782136}, None, None, 1672515782136_000_000),
        ("bnbbtc@inventedLater", {"w": 1}, None, None, None),
    ],
)
def test_each_stream_has_its_identity_and_time(
    stream: str, data: object, identity: int | None, previous: int | None, time_ns: int | None
) -> None:
    payload = combined(stream, data)
    expected = feed_event(stream, identity, previous, time_ns=time_ns, payload=payload)
    assert Decoder().decode(payload) == expected
    raw = json.dumps(data).encode()
    expected.payload = raw
    if data != {"w": 1}:
        assert Decoder((stream,)).decode(raw) == expected


def test_the_names_of_a_raw_connection_with_several_streams_are_those_subscribed() -> None:
    names = ("bnbbtc@depth@100ms", "bnbusdt@bookTicker", "ethbtc@depth5@100ms", "bnbbtc@trade", "bnbbtc@aggTrade")
    decoder = Decoder(names)
    found = [decoder.decode(json.dumps(data).encode()) for data in (DEPTH, BOOK, PARTIAL, TRADE, AGG)]
    assert [event.stream for event in found if isinstance(event, FeedEvent)] == list(names)
    # Of futures, which give partial books the form of diffs.
    other = decoder.decode(json.dumps({**FUTURES_DEPTH, "s": "ETHBTC"}).encode())
    assert isinstance(other, FeedEvent)
    assert other.stream == "ethbtc@depth5@100ms"
    assert decoder.decode(json.dumps({**TRADE, "s": "XRPBTC"}).encode()) is Invalid.UNKNOWN


def test_the_stream_of_a_bare_event_is_derived_when_the_url_does_not_tell() -> None:
    names = [Decoder().decode(json.dumps(data).encode()) for data in (TRADE, BOOK, DEPTH)]
    assert [event.stream for event in names if isinstance(event, FeedEvent)] == [
        "bnbbtc@trade",
        "bnbusdt@bookTicker",
        "bnbbtc@depth",
    ]


def test_bare_events_have_the_names_known_from_elsewhere_where_one_only_can_be_meant() -> None:
    """As those of a link in the JSON format, whose receiver has feeds of its own."""

    def named(*names: str) -> list[str]:
        decoder = Decoder(names, elsewhere=True)
        found = [decoder.decode(json.dumps(data).encode()) for data in (TRADE, BOOK, DEPTH, PARTIAL)]
        return [event.stream if isinstance(event, FeedEvent) else "" for event in found]

    likely = ["bnbbtc@trade", "bnbusdt@bookTicker", "bnbbtc@depth", ""]
    assert named() == likely
    # The only stream of a connection would be that of every event there; elsewhere it is one among others.
    assert named("bnbbtc@depth@100ms") == [*likely[:2], "bnbbtc@depth@100ms", ""]
    assert named("bnbbtc@depth@100ms", "ethbtc@depth5") == [*likely[:2], "bnbbtc@depth@100ms", "ethbtc@depth5"]
    # Which of them it is cannot be told.
    assert named("bnbbtc@depth@100ms", "bnbbtc@depth") == likely
    assert named("ethbtc@depth5", "ethbtc@depth10") == likely


def test_events_of_a_stream_of_all_symbols_say_whose_they_are() -> None:
    found = [Decoder().decode(combined("!bookTicker", {**BOOK, "s": symbol})) for symbol in ("BNBUSDT", "ETHUSDT")]
    assert [(one.stream, one.symbol, one.kind.name) for one in found if isinstance(one, FeedEvent)] == [
        ("!bookTicker", "bnbusdt", "book"),
        ("!bookTicker", "ethusdt", "book"),
    ]
    assert Decoder().symbol_of(json.dumps(BOOK).encode()) == "bnbusdt"
    assert Decoder().symbol_of(b"[]") == ""


def test_all_market_arrays_are_events_without_identity_and_other_arrays_are_not() -> None:
    payload = combined("!ticker@arr", [{"e": "24hrTicker"}])
    assert Decoder().decode(payload) == feed_event("!ticker@arr", payload=payload)
    assert Decoder(("!ticker@arr",)).decode(b"[]") == feed_event("!ticker@arr", payload=b"[]")
    assert Decoder().decode(b"[1,2]") is Invalid.ARRAY
    assert Decoder(("btcusdt@trade",)).decode(b" [1,2]") is Invalid.ARRAY
    assert Decoder().decode(combined("btcusdt@trade", [TRADE])) is Invalid.ARRAY


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        (b'{"result":null,"id":1}', Reply(1, None)),
        (b'{"result":["btcusdt@trade"],"id":"x"}', Reply("x", None)),
        (b'{"code":2,"msg":"Invalid request: unknown"}', Reply(None, "2 Invalid request: unknown")),
        (b'{"error":{"code":2,"msg":"bad"},"id":4}', Reply(4, '{"code":2,"msg":"bad"}')),
    ],
)
def test_answers_to_control_requests_are_not_events(payload: bytes, expected: Reply) -> None:
    assert Decoder().decode(payload) == expected


def without(data: dict[str, object], key: str) -> dict[str, object]:
    return {name: value for name, value in data.items() if name != key}


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b"", Invalid.MALFORMED),
        (b'{"stream":"a@trade","data":{"e":"tra', Invalid.MALFORMED),
        (b"\xff\xfe", Invalid.MALFORMED),
        (b"12", Invalid.MALFORMED),
        (b"{}", Invalid.UNKNOWN),
        (b'{"hello":"world"}', Invalid.UNKNOWN),
        (combined("a@trade", without(TRADE, "E")), Invalid.EVENT_TIME),
        (combined("a@trade", {**TRADE, "E": 1}), Invalid.EVENT_TIME),
        (combined("a@trade", {**TRADE, "E": 10**18}), Invalid.EVENT_TIME),
        (combined("a@trade", {**TRADE, "E": "soon"}), Invalid.MALFORMED),
        (combined("a@trade", {**TRADE, "E": -5}), Invalid.EVENT_TIME),
        (combined("a@trade", without(TRADE, "t")), Invalid.MALFORMED),
        (combined("a@trade", {**TRADE, "t": "x"}), Invalid.MALFORMED),
        (combined("a@depth", {**DEPTH, "u": 156}), Invalid.MALFORMED),
        (combined("a@depth", {**DEPTH, "U": -1}), Invalid.MALFORMED),
        (combined("a@trade", {**TRADE, "t": 1 << 63}), Invalid.MALFORMED),
        (combined("a" * 256, TRADE), Invalid.MALFORMED),
        (combined("\u00e4" * 125 + "@trade", TRADE), Invalid.MALFORMED),
        (combined("a@depth", {**DEPTH, "pu": 160}), Invalid.MALFORMED),
        (combined("a@bookTicker", without(BOOK, "u")), Invalid.MALFORMED),
        (combined("a@trade", TRADE).replace(b'"BNBBTC"', b'"BNB\xff"'), Invalid.MALFORMED),
        (combined("a@trade", {**TRADE, "x": "y"}).replace(b'"y"', b'"\xff"'), Invalid.MALFORMED),
        (combined("!" + "\u00e4" * 127 + "@arr", [TRADE]), Invalid.MALFORMED),
        (combined("!x@arr", ["y"]).replace(b'"y"', b'"\xff"'), Invalid.MALFORMED),
    ],
)
def test_what_is_no_event_has_a_reason(payload: bytes, reason: Invalid) -> None:
    assert Decoder().decode(payload) is reason


@given(st.binary(max_size=300))
def test_no_bytes_raise(payload: bytes) -> None:
    Decoder().decode(payload)
    Decoder(("a@trade",)).decode(payload)
    Decoder(("a@trade", "b@depth5", "b@depth")).decode(payload)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(
                    ["e", "E", "s", "t", "a", "u", "U", "stream", "data", "id", "result", "code", "msg", "error"]
                ),
                inner,
                max_size=6,
            )
        ),
        max_leaves=12,
    )
)
def test_no_json_raises(value: object) -> None:
    Decoder().decode(msgspec.json.encode(value))


@pytest.mark.parametrize("levels", [900, 995, 1_000, 5_000, 100_000])
@pytest.mark.parametrize(
    "head", [b'{"stream":"btcusdt@trade","data":', b'{"e":"trade","E":1,"s":"BTCUSDT","t":1,"x":', b"", b'{"data":']
)
@pytest.mark.parametrize("opening", [b"[", b'{"a":'])
def test_deep_nesting_is_no_event_and_nothing_worse(head: bytes, opening: bytes, levels: int) -> None:
    closing = b"]" if opening == b"[" else b"}"
    for payload in (head + opening * levels, head + opening * levels + b"1" + closing * levels + b"}" * bool(head)):
        assert isinstance(Decoder().decode(payload), Invalid)
