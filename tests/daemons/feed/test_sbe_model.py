"""The decoder of SBE beside a model that reads a message field by field from a table of the public schema.

The model knows nothing of usual forms, and remembers no symbol: what it says of any bytes, the decoder has to say.
"""

import random
import struct
from dataclasses import dataclass

import pytest

from daemons.feed.binance import EARLIEST_NS, LATEST_NS, Invalid
from daemons.feed.sbe import SbeDecoder
from daemons.simulator import sbe

SIZES = {"i64": 8, "i8": 1, "u8": 1, "u16": 2, "u32": 4}
SIGNED = ("i64", "i8")
EXPONENTS = (("price_exponent", "i8"), ("quantity_exponent", "i8"))
LEVEL = (("price", "i64"), ("quantity", "i64"))
LEVELS = ("u16", LEVEL)


@dataclass(frozen=True)
class Template:
    """What the schema says of one message: the fields of its root block, its groups, and our name of its stream."""

    kind: str
    root: tuple[tuple[str, str], ...]
    groups: tuple[tuple[str, tuple[tuple[str, str], ...]], ...] = ()


TEMPLATES = {
    10000: Template(
        "trade",
        (("time", "i64"), ("transact_time", "i64"), *EXPONENTS),
        (("u32", (("id", "i64"), *LEVEL, ("is_buyer_maker", "u8"))),),
    ),
    10001: Template(
        "bestBidAsk",
        (("time", "i64"), ("id", "i64"), *EXPONENTS, ("bid", "i64"), ("bids", "i64"), ("ask", "i64"), ("asks", "i64")),
    ),
    10002: Template("depth20@sbe", (("time", "i64"), ("id", "i64"), *EXPONENTS), (LEVELS, LEVELS)),
    10003: Template("depth@sbe", (("time", "i64"), ("first", "i64"), ("last", "i64"), *EXPONENTS), (LEVELS, LEVELS)),
}


class CutOffError(Exception):
    """There is less than a field needs."""


class Reader:
    """Takes one field after the other."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.at = 0

    def take(self, size: int) -> bytes:
        if self.at + size > len(self._data):
            raise CutOffError
        self.at += size
        return self._data[self.at - size : self.at]

    def number(self, kind: str) -> int:
        return int.from_bytes(self.take(SIZES[kind]), "little", signed=kind in SIGNED)

    def block(self, fields: tuple[tuple[str, str], ...], size: int) -> dict[str, int]:
        """Read the fields of a block, and pass over what a later version has added to it."""
        end = self.at + size
        found = {name: self.number(kind) for name, kind in fields}
        if self.at > end:
            raise CutOffError
        self.take(end - self.at)
        return found


Said = list[tuple[str, str, str, int, int | None, int]] | Invalid


def model(payload: bytes) -> Said:
    """Say what a message holds: stream, symbol, kind, id, predecessor and time of each of its events."""
    reader = Reader(payload)
    try:
        block, number, schema, _version = (reader.number("u16") for _field in range(4))
        # Of any message of this schema at least two fields of 64 bits are there.
        reader.take(16)
        reader.at -= 16
        template = TEMPLATES.get(number)
        if schema != 1 or template is None:
            return Invalid.UNKNOWN
        time_us = reader.number("i64")
        reader.at -= 8
        if not EARLIEST_NS < time_us * 1000 < LATEST_NS:
            return Invalid.EVENT_TIME
        root = reader.block(template.root, block)
        entries: list[dict[str, int]] = []
        for counted, fields in template.groups:
            size, count = reader.number("u16"), reader.number(counted)
            if count and size < sum(SIZES[kind] for _name, kind in fields):
                return Invalid.MALFORMED
            # Before an entry is made of it, for a count can be of billions.
            reader.take(size * count)
            reader.at -= size * count
            entries = [reader.block(fields, size) for _entry in range(count)]
        symbol = reader.take(reader.number("u8")).decode().lower()
    except (CutOffError, UnicodeDecodeError):
        return Invalid.MALFORMED
    stream = f"{symbol}@{template.kind}"
    # The first sign of a stream of all symbols, and what parts a stream's name, are in no symbol.
    if not symbol or symbol.startswith("!") or "@" in symbol or len(stream.encode()) > 255:
        return Invalid.MALFORMED
    ids = _ids(number, root, entries)
    if not ids or any(one < 0 or (previous is not None and previous >= one) for one, previous in ids):
        return Invalid.MALFORMED
    kind = "book" if template.kind == "bestBidAsk" else template.kind
    return [(stream, symbol, kind, one, previous, time_us * 1000) for one, previous in ids]


def _ids(number: int, root: dict[str, int], entries: list[dict[str, int]]) -> list[tuple[int, int | None]]:
    if number == 10000:
        return [(entry["id"], entry["id"] - 1) for entry in entries]
    if number == 10003:
        # A range that begins below nothing, or ends before it begins, is none.
        return [(root["last"], root["first"] - 1)] if 0 <= root["first"] <= root["last"] else []
    return [(root["id"], None)]


def said(decoder: SbeDecoder, payload: bytes) -> Said:
    found = decoder.decode(payload)
    if isinstance(found, Invalid):
        return found
    assert all(event.payload is payload for event in found)
    return [
        (one.stream, one.symbol, one.kind.name, one.event_id or 0, one.previous_id, one.event_time_ns or 0)
        for one in found
    ]


SYMBOLS = [
    f"{base}{quote}" for base in ("BTC", "1000SATS", "\u5e01\u5b89", "A" * 60) for quote in ("USDT", "fdusd", "B")
]
TIMES_US = (1_767_225_600_123_456, EARLIEST_NS // 1000 + 1, LATEST_NS // 1000 - 1, 0, -1)
IDS = (0, 1, 2**31, 2**63 - 1, -1, -(2**63))


def whole(rng: random.Random) -> bytes:
    """Make a message of any version; its numbers may be impossible."""

    def number() -> int:
        return rng.choice(IDS) if rng.random() < 0.1 else rng.randrange(2**40)

    def level() -> tuple[int, int]:
        return rng.getrandbits(40), -rng.getrandbits(20)

    def levels() -> list[tuple[int, int]]:
        return [level() for _level in range(rng.choice((0, 1, 3, 20)))]

    symbol = rng.choice(SYMBOLS)
    time_us = rng.choice(TIMES_US) if rng.random() < 0.05 else TIMES_US[0] + rng.randrange(10**9)
    later = {"version": rng.randrange(4), "longer": rng.choice((0, 1, 8, 40))} if rng.random() < 0.2 else {}
    match rng.randrange(4):
        case 0:
            listed = [(number(), *level(), rng.random() < 0.5) for _trade in range(rng.choice((1, 1, 1, 0, 2, 9)))]
            return sbe.trades(time_us, time_us, symbol, listed, **later)
        case 1:
            return sbe.best_bid_ask(time_us, number(), symbol, level(), level(), **later)
        case 2:
            return sbe.depth_snapshot(time_us, number(), symbol, levels(), levels(), **later)
        case _:
            first = number()
            last = max(-(2**63), min(first + rng.randrange(-1, 9), 2**63 - 1))
            return sbe.depth_diff(time_us, first, last, symbol, levels(), levels(), **later)


def damaged(rng: random.Random, made: bytes) -> bytes:
    """Change a few bytes, cut some off, or add some; or leave nothing of it."""
    match rng.choices(("changed", "cut", "added", "noise", "head"), (20, 10, 5, 1, 1))[0]:
        case "changed":
            broken = bytearray(made)
            for _change in range(rng.choice((1, 1, 2, 6))):
                # Mostly where lengths and counts stand, and in the symbol.
                at = rng.choice((rng.randrange(min(64, len(broken))), rng.randrange(len(broken)), len(broken) - 1))
                broken[at] = rng.choice((0, 1, 0x7F, 0xFF, rng.randrange(256)))
            return bytes(broken)
        case "cut":
            return made[: rng.randrange(len(made) + 1)]
        case "added":
            return made + rng.randbytes(rng.randrange(1, 20))
        case "noise":
            return rng.randbytes(rng.randrange(80))
        case _:
            return struct.pack("<HHHH", rng.choice((0, 18, 26, 50, 65535)), rng.randrange(9999, 10005), 1, 0) + made[8:]


def compare(seed: int, count: int) -> dict[str, int]:
    """Compare both on so many messages of one connection; return how many were of each kind."""
    rng, decoder, kinds = random.Random(seed), SbeDecoder(), dict[str, int]()
    for _message in range(count):
        payload = whole(rng)
        if rng.random() < 0.4:
            payload = damaged(rng, payload)
        expected = model(payload)
        found = said(decoder, payload)
        assert found == expected, payload.hex()
        kind = expected.value if isinstance(expected, Invalid) else expected[0][2]
        kinds[kind] = kinds.get(kind, 0) + 1
    return kinds


def test_the_decoder_says_what_the_model_says() -> None:
    kinds = compare(1, 5_000)
    assert set(kinds) == {"trade", "book", "depth20@sbe", "depth@sbe", "malformed", "unknown", "event_time"}
    assert min(kinds.values()) > 20


@pytest.mark.exhaustive
def test_a_million_messages() -> None:
    assert sum(sum(compare(seed, 100_000).values()) for seed in range(2, 12)) == 1_000_000
