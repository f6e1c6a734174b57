import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemons.errors import ConfigError
from daemons.feed.binance import Decoder, Invalid, Reply, feed_url, streams_in
from daemons.records import FeedEvent

TRADE = {"e": "trade", "E": 1672515782136, "s": "BNBBTC", "t": 12345, "p": "0.001", "q": "100", "T": 1672515782136}
AGG = {"e": "aggTrade", "E": 1672515782136123, "s": "BNBBTC", "a": 777, "p": "0.001", "f": 100, "l": 105}
BOOK = {"u": 400900217, "s": "BNBUSDT", "b": "25.35190000", "B": "31.21", "a": "25.36520000", "A": "40.66"}
FUTURES_BOOK = {"e": "bookTicker", "u": 5, "E": 1568014460893, "T": 1568014460891, "s": "BNBUSDT", "b": "25", "a": "26"}
DEPTH = {"e": "depthUpdate", "E": 1672515782136, "s": "BNBBTC", "U": 157, "u": 160, "b": [["0.0024", "10"]], "a": []}
PARTIAL = {"lastUpdateId": 160, "bids": [["0.0024", "10"]], "asks": [["0.0026", "100"]]}
KLINE = {"e": "kline", "E": 1672515782136, "s": "BNBBTC", "k": {"t": 1672515780000}}


def combined(stream: str, data: object) -> bytes:
    return json.dumps({"stream": stream, "data": data}).encode()


@pytest.mark.parametrize(
    ("stream", "data", "identity", "first", "contiguous", "time_ns"),
    [
        ("bnbbtc@trade", TRADE, 12345, 12345, True, 1672515782136_000_000),
        ("bnbbtc@aggTrade", AGG, 777, 777, True, 1672515782136123_000),
        ("bnbusdt@bookTicker", BOOK, 400900217, 400900217, False, None),
        ("bnbusdt@bookTicker", FUTURES_BOOK, 5, 5, False, 1568014460893_000_000),
        ("bnbbtc@depth@100ms", DEPTH, 160, 157, True, 1672515782136_000_000),
        ("bnbbtc@depth5", PARTIAL, 160, 160, False, None),
        ("bnbbtc@kline_1m", KLINE, None, None, False, 1672515782136_000_000),
    ],
)
def test_each_stream_has_its_identity_and_time(
    stream: str, data: object, identity: int | None, first: int | None, contiguous: bool, time_ns: int | None
) -> None:
    payload = combined(stream, data)
    expected = FeedEvent(stream, identity, first, contiguous, time_ns, payload)
    assert Decoder().decode(payload) == expected
    raw = json.dumps(data).encode()
    assert Decoder(stream).decode(raw) == FeedEvent(stream, identity, first, contiguous, time_ns, raw)


def test_the_stream_of_a_bare_event_is_derived_when_the_url_does_not_tell() -> None:
    names = [Decoder().decode(json.dumps(data).encode()) for data in (TRADE, BOOK, DEPTH)]
    assert [event.stream for event in names if isinstance(event, FeedEvent)] == [
        "bnbbtc@trade",
        "bnbusdt@bookTicker",
        "bnbbtc@depth",
    ]


def test_all_market_arrays_are_events_without_identity_and_other_arrays_are_not() -> None:
    payload = combined("!ticker@arr", [{"e": "24hrTicker"}])
    assert Decoder().decode(payload) == FeedEvent("!ticker@arr", None, None, False, None, payload)
    assert Decoder().decode(b"[1,2]") is Invalid.ARRAY
    assert Decoder("btcusdt@trade").decode(b" [1,2]") is Invalid.ARRAY
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
        (combined("\u00e4@trade", TRADE), Invalid.MALFORMED),
        (combined("a@trade", TRADE).replace(b'"BNBBTC"', b'"BNB\xff"'), Invalid.MALFORMED),
        (combined("a@trade", {**TRADE, "x": "y"}).replace(b'"y"', b'"\xff"'), Invalid.MALFORMED),
        (combined("!\u00e4@arr", [TRADE]), Invalid.MALFORMED),
        (combined("!x@arr", ["y"]).replace(b'"y"', b'"\xff"'), Invalid.MALFORMED),
    ],
)
def test_what_is_no_event_has_a_reason(payload: bytes, reason: Invalid) -> None:
    assert Decoder().decode(payload) is reason


@given(st.binary(max_size=300))
def test_no_bytes_raise(payload: bytes) -> None:
    Decoder().decode(payload)
    Decoder("a@trade").decode(payload)


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


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("wss://h:9443", "wss://h:9443/stream?streams=a@trade/b@depth&timeUnit=MICROSECOND"),
        ("wss://h/stream?streams=x@trade", "wss://h/stream?streams=x@trade&timeUnit=MICROSECOND"),
        ("ws://h/ws/x@trade?timeUnit=MILLISECOND", "ws://h/ws/x@trade?timeUnit=MILLISECOND"),
        ("ws://h/ws/x@trade", "ws://h/ws/x@trade?timeUnit=MICROSECOND"),
    ],
)
def test_urls_are_completed(url: str, expected: str) -> None:
    assert feed_url(url, ("a@trade", "b@depth")) == expected


def test_streams_are_read_back_from_urls() -> None:
    assert streams_in("wss://h/stream?streams=a@trade/b@depth@100ms") == ("a@trade", "b@depth@100ms")
    assert streams_in("wss://h/ws/a@trade") == ("a@trade",)
    assert streams_in("wss://h:9443") == ()


@pytest.mark.parametrize(
    ("url", "streams", "message"),
    [
        ("http://h", ("a@trade",), "is not a WebSocket URL"),
        ("wss://", ("a@trade",), "is not a WebSocket URL"),
        ("wss://h:port", ("a@trade",), "is not a WebSocket URL"),
        ("wss://h:99999", ("a@trade",), "is not a WebSocket URL"),
        ("wss://h:0", ("a@trade",), "is not a WebSocket URL"),
        ("wss://[::1", ("a@trade",), "is not a WebSocket URL"),
        ("wss://h", ("a b\n",), "is not a stream's name"),
        ("wss://h/ws/\u00e4", (), "is not a stream's name"),
        ("wss://h/other", ("a@trade",), "is not a stream path"),
        ("wss://h", ("BTCUSDT@trade",), "write btcusdt"),
        ("wss://h/ws/BtcUsdt@aggTrade", (), "write btcusdt"),
        ("wss://h", (), "none are named"),
        ("wss://h", tuple(f"s{i}@trade" for i in range(1025)), "1025 are too many"),
    ],
)
def test_bad_urls_are_refused(url: str, streams: tuple[str, ...], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        feed_url(url, streams)


@pytest.mark.parametrize("levels", [900, 995, 1_000, 5_000, 100_000])
@pytest.mark.parametrize(
    "head", [b'{"stream":"btcusdt@trade","data":', b'{"e":"trade","E":1,"s":"BTCUSDT","t":1,"x":', b"", b'{"data":']
)
@pytest.mark.parametrize("opening", [b"[", b'{"a":'])
def test_deep_nesting_is_no_event_and_nothing_worse(head: bytes, opening: bytes, levels: int) -> None:
    closing = b"]" if opening == b"[" else b"}"
    for payload in (head + opening * levels, head + opening * levels + b"1" + closing * levels + b"}" * bool(head)):
        assert isinstance(Decoder().decode(payload), Invalid)
