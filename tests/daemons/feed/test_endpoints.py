import re

import pytest

from daemons.errors import ConfigError
from daemons.feed.endpoints import feed_urls, streams_in

LIVE = "wss://fstream.binance.com"


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("wss://h:9443", "wss://h:9443/stream?streams=a@trade/b@depth&timeUnit=MICROSECOND"),
        ("wss://h/stream", "wss://h/stream?streams=a@trade/b@depth&timeUnit=MICROSECOND"),
        ("wss://h/stream?streams=x@trade", "wss://h/stream?streams=x@trade&timeUnit=MICROSECOND"),
        ("ws://h/ws/x@trade?timeUnit=MILLISECOND", "ws://h/ws/x@trade?timeUnit=MILLISECOND"),
        ("ws://h/ws/x@trade", "ws://h/ws/x@trade?timeUnit=MICROSECOND"),
        ("ws://h/proxied/ws/x@trade", "ws://h/proxied/ws/x@trade?timeUnit=MICROSECOND"),
        ("wss://h./ws/\u5e01@trade", "wss://h./ws/%E5%B8%81@trade?timeUnit=MICROSECOND"),
        (
            "wss://h/ws/a@depth@100ms/b@depth5@100ms/a@trade",
            "wss://h/ws/a@depth@100ms/b@depth5@100ms/a@trade?timeUnit=MICROSECOND",
        ),
    ],
)
def test_urls_are_completed(url: str, expected: str) -> None:
    assert feed_urls(url, ("a@trade", "b@depth")) == (expected,)
    assert feed_urls(expected, ()) == (expected,)


BOTH = ("a@bookTicker", "a@aggTrade", "b@depth5@100ms", "a@trade", "a@markPrice@1s", "!bookTicker", "b@rpiDepth@500ms")
PUBLIC = "streams=a@bookTicker/b@depth5@100ms/a@trade/!bookTicker/b@rpiDepth@500ms"
MARKET = "streams=a@aggTrade/a@markPrice@1s"


@pytest.mark.parametrize(
    ("url", "streams", "expected"),
    [
        (LIVE, BOTH, (f"{LIVE}/public/stream?{PUBLIC}", f"{LIVE}/market/stream?{MARKET}")),
        (f"{LIVE}/market", BOTH, (f"{LIVE}/public/stream?{PUBLIC}", f"{LIVE}/market/stream?{MARKET}")),
        (f"{LIVE}/public/ws", ("a@depth",), (f"{LIVE}/public/stream?streams=a@depth",)),
        (f"{LIVE}/public", ("a@aggTrade",), (f"{LIVE}/market/stream?streams=a@aggTrade",)),
        ("ws://10.0.0.1:9/public", ("a@depth",), ("ws://10.0.0.1:9/public/stream?streams=a@depth",)),
        # Full URLs of before the split are brought to where their streams are now.
        (f"{LIVE}/ws/a@aggTrade", (), (f"{LIVE}/market/ws/a@aggTrade",)),
        (f"{LIVE}/ws/a@aggTrade/a@depth", (), (f"{LIVE}/public/ws/a@depth", f"{LIVE}/market/ws/a@aggTrade")),
        (f"{LIVE}/stream?streams=a@kline_1m", (), (f"{LIVE}/market/stream?streams=a@kline_1m",)),
        (f"{LIVE}/public/ws/a@forceOrder", (), (f"{LIVE}/market/ws/a@forceOrder",)),
    ],
)
def test_streams_of_usd_m_futures_go_to_the_base_that_has_them(
    url: str, streams: tuple[str, ...], expected: tuple[str, ...]
) -> None:
    assert feed_urls(url, streams) == expected
    assert [feed_urls(one, ()) for one in expected] == [(one,) for one in expected]


def test_other_products_are_not_split() -> None:
    for host in ("stream.binance.com:9443", "dstream.binance.com", "stream.binance.us", "fstream.binancefuture.com"):
        (url,) = feed_urls(f"wss://{host}", BOTH, microseconds=False)
        assert url == f"wss://{host}/stream?streams={'/'.join(BOTH)}"


def test_streams_are_read_back_from_urls() -> None:
    assert streams_in("wss://h/stream?streams=a@trade/b@depth@100ms") == ("a@trade", "b@depth@100ms")
    assert streams_in("wss://h/ws/a@trade") == ("a@trade",)
    assert streams_in("wss://h/ws/%E5%B8%81@trade") == ("\u5e01@trade",)
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
        ("wss://stream..example", ("a@trade",), "is no host's name"),
        ("wss://.example", ("a@trade",), "is no host's name"),
        (f"wss://{'a' * 64}.example", ("a@trade",), "is no host's name"),
        ("wss://h", ("a b\n",), "is not a stream's name"),
        ("wss://h", ("a@trade&x=1",), "is not a stream's name"),
        ("wss://h", ("btcusdt",), "is not a stream's name"),
        ("wss://h", ("@trade",), "is not a stream's name"),
        ("wss://h/ws/../a@trade", (), "is not a stream's name"),
        ("wss://h/ws/" + "\u00e4" * 128, (), "is not a stream's name"),
        ("wss://h/other", ("a@trade",), "is not a stream path"),
        ("wss://h/private", ("a@trade",), "is not a stream path"),
        ("wss://h", ("BTCUSDT@trade",), "write btcusdt"),
        ("wss://h/ws/BtcUsdt@aggTrade", (), "write btcusdt"),
        ("wss://h", (), "none are named"),
        ("wss://h", tuple(f"s{i}@trade" for i in range(1025)), "1025 are too many"),
        ("wss://h/stream?streams=a@trade&streams=b@trade", (), "streams= is given twice"),
        ("wss://h/ws/a@trade?timeUnit=MICROSECOND&timeUnit=MILLISECOND", (), "timeUnit= is given twice"),
        ("wss://h/ws/a@depth5/b@depth10", (), "could not be told from those of a@depth5"),
        ("wss://h/ws/a@depth/a@depth@100ms", (), "could not be told from those of a@depth"),
        ("wss://h/ws/a@kline_1m/a@kline_5m", (), "could not be told from those of a@kline_1m"),
        ("wss://h/ws/a@trade/a@inventedLater", (), "could not be told from those of other streams"),
        (f"{LIVE}/public/ws/a@depth/a@depth5", (), "could not be told from those of a@depth"),
        ("wss://dstream.binance.com/ws/a@depth/a@depth5", (), "could not be told from those of a@depth"),
    ],
)
def test_bad_urls_are_refused(url: str, streams: tuple[str, ...], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        feed_urls(url, streams)


@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        ("btcusdt@aggtrade", "write btcusdt@aggTrade"),
        ("btcusdt@BookTicker", "write btcusdt@bookTicker"),
        ("btcusdt@Depth5@100ms", "write btcusdt@depth5@100ms"),
        ("btcusdt@Kline_1M", "write btcusdt@kline_1M"),
        ("btcusdt@trade,ethusdt@trade", "is not a stream's name"),
    ],
)
def test_a_name_that_would_bring_nothing_is_refused_with_the_right_one(name: str, remedy: str) -> None:
    """Public reports: an exchange accepts any name, and sends nothing."""
    with pytest.raises(ConfigError, match=re.escape(remedy)):
        feed_urls("wss://stream.binance.com:9443", (name,))


@pytest.mark.parametrize("name", ["btcusdt@kline_1M", "btcusdt@kline_1m", "btcusd_perp@indexPrice@1s", "a@bestBidAsk"])
def test_names_that_are_right_or_not_known_are_left_alone(name: str) -> None:
    assert streams_in(feed_urls("wss://stream.binance.com:9443", (name,))[0]) == (name,)


def test_doubled_and_trailing_slashes_between_names_are_no_names() -> None:
    """Public report: a list of names joined with // and ending with / is refused by the exchange with HTTP 400."""
    (url,) = feed_urls("wss://stream.binance.com:9443/stream?streams=a@trade//b@trade/", ())
    assert "streams=a@trade/b@trade&" in url
