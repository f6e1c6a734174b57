import pytest

from daemons.simulator.streams import Stream, parse


@pytest.mark.parametrize(
    ("name", "stream"),
    [
        ("btcusdt@trade", Stream("btcusdt@trade", "BTCUSDT", "trade")),
        ("ethbtc@aggTrade", Stream("ethbtc@aggTrade", "ETHBTC", "aggTrade")),
        ("1000pepeusdt@bookTicker", Stream("1000pepeusdt@bookTicker", "1000PEPEUSDT", "bookTicker")),
        ("btcusdt@depth", Stream("btcusdt@depth", "BTCUSDT", "depth")),
        ("btcusdt@depth@100ms", Stream("btcusdt@depth@100ms", "BTCUSDT", "depth")),
        ("btcusdt@depth20@1000ms", Stream("btcusdt@depth20@1000ms", "BTCUSDT", "depth", 20)),
        ("btcusdt_260327@depth5", Stream("btcusdt_260327@depth5", "BTCUSDT_260327", "depth", 5)),
        ("币安人生usdt@trade", Stream("币安人生usdt@trade", "币安人生USDT", "trade")),
    ],
)
def test_names_that_can_be_generated(name: str, stream: Stream) -> None:
    assert parse(name) == stream


@pytest.mark.parametrize(
    "name",
    [
        "",
        "btcusdt",
        "@trade",
        "BTCUSDT@trade",
        "btcusdt@Trade",
        "btcusdt@trade@100ms",
        "btcusdt@depth7",
        "btcusdt@depth@10ms",
        "btcusdt@kline_1m",
        "!miniTicker@arr",
        "btc%dusdt@trade",
        'btc"usdt@trade',
        "btcusdt@trade\n",
    ],
)
def test_names_that_cannot(name: str) -> None:
    assert parse(name) is None
