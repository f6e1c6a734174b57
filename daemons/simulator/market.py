"""The market: an endless, deterministic sequence of events with Binance's keys, types and id rules.

Same seed and same streams give the same events in the same order; only the times differ, and they are filled in
when an event is emitted. Key order and number formats follow what the exchange sends:
Binance, "WebSocket Streams" (spot) and "Websocket Market Streams" (USD-M futures).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Protocol

from daemons.simulator.streams import Stream

__all__ = ["Event", "Market", "Message", "envelope"]


class Message(Protocol):
    """Anything that goes out on a stream."""

    @property
    def stream(self) -> str:
        """The name of the stream that it belongs to."""

    @property
    def binary(self) -> bool:
        """Whether it travels in a binary frame."""

    def render(self, emitted_ns: int, unit_ns: int, *, combined: bool) -> bytes:
        """Return the bytes of the message.

        Args:
            emitted_ns: wall-clock time of emission.
            unit_ns: the client's time unit: 1,000,000 for milliseconds, 1,000 for microseconds.
            combined: whether the client gets envelopes.
        """


def envelope(stream: str, payload: bytes) -> bytes:
    """Wrap a payload as combined streams do."""
    return b'{"stream":"%s","data":%s}' % (stream.encode(), payload)


@dataclass(frozen=True, slots=True)
class Event:
    """One event, complete but for its times.

    Attributes:
        stream: the name of its stream.
        template: the payload with ``%d`` for each time.
        lags_ns: for each time, in order, how long before the emission it lies: 0 for the event time ``E``.
        first_id: the lowest exchange id it carries: ``U`` of a depth range, else its only one.
        last_id: the highest: ``t``, ``a``, ``u`` or ``lastUpdateId``.
    """

    stream: str
    template: bytes
    lags_ns: tuple[int, ...]
    first_id: int
    last_id: int
    binary: bool = False

    def payload(self, emitted_ns: int, unit_ns: int) -> bytes:
        """Return the raw payload; arguments as in :meth:`Message.render`."""
        return self.template % tuple([(emitted_ns - lag) // unit_ns for lag in self.lags_ns])

    def render(self, emitted_ns: int, unit_ns: int, *, combined: bool) -> bytes:
        payload = self.payload(emitted_ns, unit_ns)
        return envelope(self.stream, payload) if combined else payload


class Market:
    """Generates events on the given streams, each drawn with equal chance.

    Args:
        streams: at least one.
        seed: everything random follows from it.
        futures: speak USD-M futures' payloads instead of spot's.
    """

    def __init__(self, streams: Sequence[Stream], seed: int, *, futures: bool = False) -> None:
        assert streams
        self._choice = Random(f"{seed}/choice").random
        books = {stream.symbol: _Book(stream.symbol, seed, futures=futures) for stream in streams}
        self._generators = [books[stream.symbol].generator(stream) for stream in streams]

    def next_event(self, skipped_ids: int = 0) -> Event:
        """Return the next event.

        Args:
            skipped_ids: leave this many ids out just before it, as if events had been lost at the exchange.
        """
        return self._generators[int(self._choice() * len(self._generators))](skipped_ids)


class _Book:
    """One symbol: its price, its ids, and its own source of randomness, so that symbols do not disturb each other.

    Trade and aggregate-trade ids are contiguous. The order book's update id advances by more than one between
    book tickers, as on the exchange, and each diff-depth stream covers every update id exactly once.
    Trades and aggregate trades are numbered separately: ``f..l`` ranges are contiguous among themselves.
    """

    def __init__(self, symbol: str, seed: int, *, futures: bool) -> None:
        rng = Random(f"{seed}/{symbol}")
        self._random = rng.random
        self._symbol = symbol
        self._futures = futures
        self._price = rng.randrange(10_000, 10_000_000)
        self._trade = rng.randrange(10**8, 10**9)
        self._aggregate = rng.randrange(10**8, 10**9)
        self._aggregated = rng.randrange(10**8, 10**9)
        self._update = rng.randrange(10**9, 10**10)

    def generator(self, stream: Stream) -> Callable[[int], Event]:
        """Return the function that makes the next event of a stream, given the number of ids to skip."""
        if stream.kind == "depth" and (stream.levels == 0 or self._futures):
            return self._depth(stream)
        make = {
            "trade": self._next_trade,
            "aggTrade": self._next_aggregate,
            "bookTicker": self._next_ticker,
            "depth": self._next_partial,
        }[stream.kind]
        return lambda skipped: make(stream, skipped)

    def _below(self, limit: int) -> int:
        return int(self._random() * limit)

    def _move(self) -> int:
        """Take one step of the price, in ticks of 0.01, reflected at 10.00."""
        self._price = abs(self._price + self._below(41) - 20 - 1000) + 1000
        return self._price

    def _amount(self) -> str:
        lots = 1 + self._below(200_000)
        return f"{lots // 100_000}.{lots % 100_000:05d}000"

    def _lag_ns(self) -> int:
        """Return how long before its publication a transaction happened: 0.1 to 0.9 ms."""
        return 100_000 + self._below(800_000)

    def _next_trade(self, stream: Stream, skipped: int) -> Event:
        self._trade += 1 + skipped
        maker = "true" if self._random() < 0.5 else "false"
        price, amount = _price(self._move()), self._amount()
        if self._futures:
            text = (
                f'{{"e":"trade","E":%d,"T":%d,"s":"{self._symbol}","t":{self._trade},'
                f'"p":"{price}","q":"{amount}","X":"MARKET","m":{maker}}}'
            )
        else:
            text = (
                f'{{"e":"trade","E":%d,"s":"{self._symbol}","t":{self._trade},'
                f'"p":"{price}","q":"{amount}","T":%d,"m":{maker},"M":true}}'
            )
        return Event(stream.name, text.encode(), (0, self._lag_ns()), self._trade, self._trade)

    def _next_aggregate(self, stream: Stream, skipped: int) -> Event:
        self._aggregate += 1 + skipped
        first = self._aggregated + 1
        self._aggregated += 1 + self._below(5)
        maker = "true" if self._random() < 0.5 else "false"
        text = (
            f'{{"e":"aggTrade","E":%d,"s":"{self._symbol}","a":{self._aggregate},'
            f'"p":"{_price(self._move())}","q":"{self._amount()}","f":{first},"l":{self._aggregated},'
            f'"T":%d,"m":{maker}' + ("}" if self._futures else ',"M":true}')
        )
        return Event(stream.name, text.encode(), (0, self._lag_ns()), self._aggregate, self._aggregate)

    def _next_ticker(self, stream: Stream, skipped: int) -> Event:
        self._update += 1 + skipped + self._below(4)
        bid = self._move()
        quote = (
            f'"u":{self._update},"s":"{self._symbol}","b":"{_price(bid)}","B":"{self._amount()}",'
            f'"a":"{_price(bid + 1)}","A":"{self._amount()}"'
        )
        if self._futures:
            text = f'{{"e":"bookTicker",{quote},"T":%d,"E":%d}}'
            return Event(stream.name, text.encode(), (self._lag_ns(), 0), self._update, self._update)
        return Event(stream.name, f"{{{quote}}}".encode(), (), self._update, self._update)

    def _next_partial(self, stream: Stream, skipped: int) -> Event:
        self._update += 1 + skipped + self._below(8)
        mid, levels = self._move(), stream.levels
        text = (
            f'{{"lastUpdateId":{self._update},"bids":[{self._levels(mid, -1, levels)}],'
            f'"asks":[{self._levels(mid + 1, 1, levels)}]}}'
        )
        return Event(stream.name, text.encode(), (), self._update, self._update)

    def _depth(self, stream: Stream) -> Callable[[int], Event]:
        covered = self._update

        def next_depth(skipped: int) -> Event:
            nonlocal covered
            before = covered + skipped
            # An update that another stream of this symbol showed already is covered by the range.
            # Futures count the updates of all symbols, so that a range does not begin where the last one ended.
            others = self._below(5_000) if self._futures else 0
            self._update = covered = max(self._update, before + others) + 1 + self._below(8)
            mid = self._move()
            bids, asks = stream.levels or self._below(6), stream.levels or 1 + self._below(6)
            book = f'"b":[{self._levels(mid, -1, bids)}],"a":[{self._levels(mid + 1, 1, asks)}]'
            first = before + others + 1
            if self._futures:
                text = (
                    f'{{"e":"depthUpdate","E":%d,"T":%d,"s":"{self._symbol}",'
                    f'"U":{first},"u":{covered},"pu":{before},{book}}}'
                )
                return Event(stream.name, text.encode(), (0, self._lag_ns()), first, covered)
            text = f'{{"e":"depthUpdate","E":%d,"s":"{self._symbol}","U":{first},"u":{covered},{book}}}'
            return Event(stream.name, text.encode(), (0,), first, covered)

        return next_depth

    def _levels(self, price: int, step: int, count: int) -> str:
        return ",".join(f'["{_price(price + step * level)}","{self._amount()}"]' for level in range(count))


def _price(ticks: int) -> str:
    return f"{ticks // 100}.{ticks % 100:02d}000000"
