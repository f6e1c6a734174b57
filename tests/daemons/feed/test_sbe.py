"""The decoder against an encoder written from the public schema; no bytes whatever may raise."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.frames import Frame, Opcode
from websockets.http11 import Request
from websockets.server import ServerProtocol

from daemons.errors import ConfigError
from daemons.feed.binance import Decoder, Invalid
from daemons.feed.sbe import SbeDecoder, known_as
from daemons.feed.session import API_KEY_HEADER, FeedSession
from daemons.feed.streams import identity_of
from daemons.records import FeedEvent
from daemons.secret import Secret
from daemons.simulator import sbe
from daemons.simulator.market import Market
from daemons.simulator.streams import parse
from tests.daemons.made import feed_event

TIME_US = 1_767_225_600_123_456
TIME_NS = TIME_US * 1000

SYMBOLS = st.sampled_from(["BTCUSDT", "1000SATSFDUSD", "\u5e01\u5b89\u4eba\u751fUSDT"]) | st.text(
    st.characters(exclude_characters="@!", exclude_categories=["Cs"]), min_size=1, max_size=60
)
MANTISSAS = st.integers(-(2**63), 2**63 - 1)
LEVELS = st.lists(st.tuples(MANTISSAS, MANTISSAS), max_size=20)
IDS = st.integers(0, 2**63 - 1)
LATER = st.fixed_dictionaries({"version": st.integers(0, 9), "longer": st.integers(0, 40)})


@st.composite
def messages(draw: st.DrawFn) -> tuple[bytes, list[tuple[str, int, int | None]]]:
    """A message, and stream, id and predecessor of each event in it."""
    symbol = draw(SYMBOLS)
    name, later = symbol.lower(), draw(LATER)
    match draw(st.sampled_from(["trades", "book", "snapshot", "diff"])):
        case "trades":
            trade = st.tuples(IDS, MANTISSAS, MANTISSAS, st.booleans())
            listed = draw(st.lists(trade, min_size=1, max_size=5))
            made = sbe.trades(TIME_US, draw(MANTISSAS), symbol, listed, **later)
            return made, [(f"{name}@trade", number, number - 1) for number, *_rest in listed]
        case "book":
            number, level = draw(IDS), st.tuples(MANTISSAS, MANTISSAS)
            made = sbe.best_bid_ask(TIME_US, number, symbol, draw(level), draw(level), **later)
            return made, [(f"{name}@bestBidAsk", number, None)]
        case "snapshot":
            number = draw(IDS)
            made = sbe.depth_snapshot(TIME_US, number, symbol, draw(LEVELS), draw(LEVELS), **later)
            return made, [(f"{name}@depth20@sbe", number, None)]
        case _:
            first, last = sorted(draw(st.tuples(IDS, IDS)))
            made = sbe.depth_diff(TIME_US, first, last, symbol, draw(LEVELS), draw(LEVELS), **later)
            return made, [(f"{name}@depth@sbe", last, first - 1)]


@given(messages(), st.binary(max_size=20))
def test_every_message_is_read_and_so_is_one_of_a_later_version(
    made: tuple[bytes, list[tuple[str, int, int | None]]], added: bytes
) -> None:
    message, expected = made
    for payload in (message, message + added):
        found = SbeDecoder().decode(payload)
        assert isinstance(found, list)
        assert [(one.stream, one.event_id, one.previous_id) for one in found] == expected
        assert all((one.symbol, one.kind.name) == identity_of(one.stream) for one in found)
        assert all(one.event_time_ns == TIME_NS and one.payload == payload for one in found)


@given(messages(), st.data())
def test_what_is_cut_off_is_no_event(
    made: tuple[bytes, list[tuple[str, int, int | None]]], data: st.DataObject
) -> None:
    decoder = SbeDecoder()
    decoder.decode(made[0])
    cut = data.draw(st.integers(0, len(made[0]) - 1))
    assert decoder.decode(made[0][:cut]) is Invalid.MALFORMED


@given(messages(), st.data())
def test_no_bytes_raise(made: tuple[bytes, list[tuple[str, int, int | None]]], data: st.DataObject) -> None:
    decoder = SbeDecoder()
    broken = bytearray(made[0])
    for _ in range(data.draw(st.integers(1, 6))):
        broken[data.draw(st.integers(0, len(broken) - 1))] = data.draw(st.integers(0, 255))
    for payload in (bytes(broken), data.draw(st.binary(max_size=120))):
        found = decoder.decode(payload)
        assert isinstance(found, (list, Invalid))


BOOK = sbe.best_bid_ask(TIME_US, 5, "BTCUSDT", (1, 2), (3, 4))


def at(message: bytes, offset: int, new: bytes) -> bytes:
    return message[:offset] + new + message[offset + len(new) :]


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b"", Invalid.MALFORMED),
        (at(BOOK, 4, b"\2\0"), Invalid.UNKNOWN),
        (at(BOOK, 2, b"\x14\x27"), Invalid.UNKNOWN),
        (at(BOOK, 0, b"\x31\0"), Invalid.MALFORMED),
        (at(BOOK, 8, bytes(8)), Invalid.EVENT_TIME),
        (at(BOOK, 16, b"\xff" * 8), Invalid.MALFORMED),
        (at(BOOK, 58, b"\0"), Invalid.MALFORMED),
        (at(BOOK, 59, b"\xff"), Invalid.MALFORMED),
        (sbe.trades(TIME_US, 0, "A", []), Invalid.MALFORMED),
        (sbe.trades(TIME_US, 0, "A", [(-1, 0, 0, True)]), Invalid.MALFORMED),
        (at(sbe.trades(TIME_US, 0, "A", [(1, 0, 0, True)]), 26, b"\0\0\xff\xff\xff\xff"), Invalid.MALFORMED),
        (at(sbe.trades(TIME_US, 0, "A", [(1, 0, 0, True)]), 26, b"\x19\0\xff\xff\xff\xff"), Invalid.MALFORMED),
        (sbe.depth_diff(TIME_US, 7, 6, "A", [], []), Invalid.MALFORMED),
        (at(sbe.depth_snapshot(TIME_US, 7, "A", [(1, 1)], []), 26, b"\0\0"), Invalid.MALFORMED),
    ],
)
def test_what_is_no_event_has_a_reason(payload: bytes, reason: Invalid) -> None:
    assert SbeDecoder().decode(payload) is reason


def test_the_same_update_has_one_identity_in_both_encodings() -> None:
    streams = [parse(f"btcusdt@{kind}") for kind in ("trade", "bookTicker")]
    market = Market([stream for stream in streams if stream is not None], 3)
    for _ in range(50):
        payload = market.next_event().payload(TIME_NS, 1000)
        text, binary = Decoder().decode(payload), SbeDecoder().decode(sbe.of_json(payload, TIME_US, "BTCUSDT"))
        assert isinstance(text, FeedEvent)
        assert isinstance(binary, list)
        assert [(one.symbol, one.kind.name, one.event_id) for one in binary] == [
            (text.symbol, text.kind.name, text.event_id)
        ]
    assert identity_of(known_as("a@depth")) != identity_of("a@depth")


@pytest.mark.parametrize(("name", "remedy"), [("a@bookTicker", "use bestBidAsk"), ("a@depth5", "choose of"), ("a", "")])
def test_other_streams_are_not_served(name: str, remedy: str) -> None:
    with pytest.raises(ConfigError, match=f"is not served in SBE.*{remedy}"):
        known_as(name)


def accepted(session: FeedSession) -> Request:
    """Open a session; return the request that it made."""
    server = ServerProtocol()
    session.start()
    server.receive_data(b"".join(session.data_to_send()))
    (request,) = server.events_received()
    assert isinstance(request, Request)
    server.send_response(server.accept(request))
    session.receive_data(b"".join(server.data_to_send()))
    return request


def frame(opcode: Opcode, payload: bytes, *, fin: bool = True) -> bytes:
    return Frame(opcode, payload, fin).serialize(mask=False)


@given(st.lists(st.integers(1, 60)))
def test_a_session_reads_events_and_answers_however_the_bytes_are_cut(cuts: list[int]) -> None:
    session = FeedSession("ws://h/ws/a@trade", sbe=True, api_key=Secret(b"k" * 64))
    request = accepted(session)
    assert request.headers[API_KEY_HEADER] == "k" * 64
    two = sbe.trades(TIME_US, 0, "A", [(8, 0, 0, True), (9, 0, 0, True)])
    stream = b"".join(
        (
            frame(Opcode.BINARY, sbe.trades(TIME_US, 0, "A", [(7, 0, 0, True)])),
            frame(Opcode.TEXT, b'{"result":null,"id":1}'),
            frame(Opcode.BINARY, two[:9], fin=False),
            frame(Opcode.PING, b"between"),
            frame(Opcode.CONT, two[9:]),
            frame(Opcode.BINARY, b"\0" * 30),
            frame(Opcode.TEXT, b'{"e":"serverShutdown","E":1770123456789}'),
        )
    )
    events: list[FeedEvent] = []
    for size in [*cuts, len(stream)]:
        events += session.receive_data(stream[:size])
        stream = stream[size:]
    assert [one.event_id for one in events] == [7, 8, 9]
    assert events[0] == feed_event("a@trade", 7, time_ns=TIME_NS, payload=events[0].payload)
    assert (session.replies, session.notices, session.invalid[Invalid.UNKNOWN]) == (1, 1, 1)
    session.check()
