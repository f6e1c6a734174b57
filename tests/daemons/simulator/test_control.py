import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemons.simulator.control import (
    MICROSECOND_NS,
    MILLISECOND_NS,
    BadRequestError,
    MessageLimit,
    Subscriptions,
    open_path,
)


def subscriptions(*names: str, limit: int = 1024, combined: bool = False) -> Subscriptions:
    return Subscriptions(MILLISECOND_NS, combined, limit, dict.fromkeys(names))


def ask(state: Subscriptions, request: Any) -> Any:
    return json.loads(state.answer(json.dumps(request)).text)


def test_subscribe_unsubscribe_and_list() -> None:
    state = subscriptions("a@trade")
    answer = state.answer('{"method":"SUBSCRIBE","params":["b@trade","a@trade","b@trade"],"id":1}')
    assert answer.text == '{"result":null,"id":1}'
    assert answer.added == ("b@trade",)
    assert ask(state, {"method": "LIST_SUBSCRIPTIONS", "id": 3}) == {"result": ["a@trade", "b@trade"], "id": 3}
    answer = state.answer('{"method":"UNSUBSCRIBE","params":["a@trade","never@trade"],"id":312}')
    assert answer.text == '{"result":null,"id":312}'
    assert answer.removed == ("a@trade",)
    assert list(state.names) == ["b@trade"]


def test_properties() -> None:
    state = subscriptions()
    assert ask(state, {"method": "GET_PROPERTY", "params": ["combined"], "id": 2}) == {"result": False, "id": 2}
    assert ask(state, {"method": "SET_PROPERTY", "params": ["combined", True], "id": 5}) == {"result": None, "id": 5}
    assert state.combined


@pytest.mark.parametrize("identity", [1, -(2**63), 2**63 - 1, None, "a", "0f8fad5b-d9cb-469f-a165-70867728950e"])
def test_ids_that_come_back(identity: Any) -> None:
    assert ask(subscriptions(), {"method": "LIST_SUBSCRIPTIONS", "id": identity})["id"] == identity


BAD_ID = {"code": 2, "msg": "Invalid request: request ID must be an unsigned integer"}
METHODS = "`SUBSCRIBE`, `UNSUBSCRIBE`, `LIST_SUBSCRIPTIONS`, `SET_PROPERTY`, `GET_PROPERTY`"


@pytest.mark.parametrize(
    ("request_text", "error"),
    [
        ("{", {"code": 3, "msg": "Invalid JSON: expected value at line 1 column 2"}),
        ("[1]", {"code": 3, "msg": "Invalid JSON: expected value at line 1 column 1"}),
        ("[" * 100_000, {"code": 3, "msg": "Invalid JSON: expected value at line 1 column 1"}),
        ("1" * 5000, {"code": 3, "msg": "Invalid JSON: expected value at line 1 column 1"}),
        (b"\xff\xfe", {"code": 3, "msg": "Invalid JSON: expected value at line 1 column 1"}),
        ('{"method":"SUBSCRIBE","params":[]}', BAD_ID),
        ('{"method":"SUBSCRIBE","params":[],"id":true}', BAD_ID),
        ('{"method":"SUBSCRIBE","params":[],"id":1.5}', BAD_ID),
        ('{"method":"SUBSCRIBE","params":[],"id":9223372036854775808}', BAD_ID),
        ('{"method":"SUBSCRIBE","params":[],"id":"%s"}' % ("x" * 37), BAD_ID),
        ('{"id":1}', {"code": 2, "msg": "Invalid request: missing field `method` at line 1 column 8"}),
        (
            '{"method":"subscribe","id":1}',
            {
                "code": 2,
                "msg": f"Invalid request: unknown variant `subscribe`, expected one of {METHODS} at line 1 column 21",
            },
        ),
        ('{"method":"SUBSCRIBE","id":1}', {"code": 2, "msg": "Invalid request: missing field `params`"}),
        (
            '{"method":"SUBSCRIBE","params":"x","id":1}',
            {"code": 2, "msg": "Invalid request: expected an array of parameters"},
        ),
        (
            '{"method":"SUBSCRIBE","params":[1],"id":1}',
            {"code": 2, "msg": "Invalid request: stream name must be a string"},
        ),
        (
            '{"method":"SUBSCRIBE","params":["not a stream"],"id":1}',
            {"code": 2, "msg": "Invalid request: invalid stream"},
        ),
        (
            '{"method":"LIST_SUBSCRIPTIONS","params":["x"],"id":1}',
            {"code": 2, "msg": "Invalid request: too many parameters"},
        ),
        (
            '{"method":"GET_PROPERTY","params":[],"id":1}',
            {"code": 2, "msg": "Invalid request: property name must be a string"},
        ),
        ('{"method":"GET_PROPERTY","params":["size"],"id":1}', {"code": 0, "msg": "Unknown property", "id": 1}),
        (
            '{"method":"GET_PROPERTY","params":["combined",1],"id":1}',
            {"code": 2, "msg": "Invalid request: too many parameters"},
        ),
        (
            '{"method":"SET_PROPERTY","params":["combined","yes"],"id":1}',
            {"code": 1, "msg": "Invalid value type: expected Boolean"},
        ),
        (
            '{"method":"SET_PROPERTY","params":["combined"],"id":1}',
            {"code": 1, "msg": "Invalid value type: expected Boolean"},
        ),
    ],
)
def test_errors(request_text: str | bytes, error: dict[str, Any]) -> None:
    state = subscriptions("a@trade")
    answer = state.answer(request_text)
    assert json.loads(answer.text) == error
    assert not answer.added
    assert not answer.removed
    assert state == subscriptions("a@trade")


def test_the_stream_limit_is_for_the_connection() -> None:
    state = subscriptions(*(f"s{number}@trade" for number in range(1023)))
    ask(state, {"method": "SUBSCRIBE", "params": ["one@trade"], "id": 1})
    assert len(state.names) == 1024
    assert ask(state, {"method": "SUBSCRIBE", "params": ["two@trade"], "id": 1})["code"] == 2
    assert ask(state, {"method": "SUBSCRIBE", "params": ["one@trade"], "id": 1}) == {"result": None, "id": 1}
    assert len(state.names) == 1024


@given(st.one_of(st.text(), st.binary()))
def test_any_message_gets_one_answer(message: str | bytes) -> None:
    answer = json.loads(subscriptions().answer(message).text)
    assert set(answer) in ({"code", "msg"}, {"code", "msg", "id"}, {"result", "id"})


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(st.characters(exclude_categories=[])),
    lambda inner: st.lists(inner, max_size=3),
    max_leaves=5,
)


@given(
    st.sampled_from(["SUBSCRIBE", "UNSUBSCRIBE", "LIST_SUBSCRIPTIONS", "SET_PROPERTY", "GET_PROPERTY", "X"]),
    values,
    values,
)
def test_any_request_gets_an_answer_that_can_be_sent(method: str, params: Any, identity: Any) -> None:
    state = subscriptions()
    text = state.answer(json.dumps({"method": method, "params": params, "id": identity})).text
    assert set(json.loads(text.encode())) in ({"code", "msg"}, {"code", "msg", "id"}, {"result", "id"})
    state.answer('{"method":"LIST_SUBSCRIPTIONS","id":1}').text.encode()


names = st.lists(st.sampled_from("abcdef"), max_size=4)


@given(st.lists(st.tuples(st.booleans(), names), max_size=30))
def test_subscriptions_behave_as_a_set(requests: list[tuple[bool, list[str]]]) -> None:
    state, model = subscriptions(), set[str]()
    heard = set[str]()
    for adding, chosen in requests:
        method = "SUBSCRIBE" if adding else "UNSUBSCRIBE"
        answer = state.answer(json.dumps({"method": method, "params": chosen, "id": 1}))
        model = model | set(chosen) if adding else model - set(chosen)
        heard = (heard | set(answer.added)) - set(answer.removed)
        assert set(state.names) == model == heard


@pytest.mark.parametrize(
    ("target", "unit_ns", "combined", "expected"),
    [
        ("/ws", MILLISECOND_NS, False, []),
        ("/ws/", MILLISECOND_NS, False, []),
        ("/ws/btcusdt@trade", MILLISECOND_NS, False, ["btcusdt@trade"]),
        ("/ws/a@trade/b@trade", MILLISECOND_NS, False, ["a@trade", "b@trade"]),
        ("/ws/btcusdt%40trade?timeUnit=MICROSECOND", MICROSECOND_NS, False, ["btcusdt@trade"]),
        ("/stream", MILLISECOND_NS, True, []),
        ("/stream?streams=a@trade/b@trade", MILLISECOND_NS, True, ["a@trade", "b@trade"]),
        ("/stream?streams=a@trade/a@trade&timeUnit=microsecond", MICROSECOND_NS, True, ["a@trade"]),
        ("/stream?timeUnit=MILLISECOND&streams=a%40trade%2Fb%40trade", MILLISECOND_NS, True, ["a@trade", "b@trade"]),
    ],
)
def test_paths(target: str, unit_ns: int, combined: bool, expected: list[str]) -> None:
    opened = open_path(target, limit=1024)
    assert opened == Subscriptions(unit_ns, combined, 1024, dict.fromkeys(expected))


@pytest.mark.parametrize("target", ["/", "/wss/a@trade", "/stream/a@trade", "/api/v3/depth", "", "//[x"])
def test_paths_with_nothing_behind(target: str) -> None:
    assert open_path(target, limit=1024) is None


def test_paths_that_are_refused() -> None:
    with pytest.raises(BadRequestError) as unit:
        open_path("/ws/a@trade?timeUnit=NANOSECOND", limit=1024)
    assert unit.value.code == -1194
    with pytest.raises(BadRequestError):
        open_path("/stream?streams=" + "/".join(f"s{number}@trade" for number in range(1025)), limit=1024)
    with pytest.raises(BadRequestError):
        open_path("/ws/a%20b", limit=1024)


def test_futures_have_no_time_unit() -> None:
    opened = open_path("/ws/a@trade?timeUnit=MICROSECOND", limit=200, futures=True)
    assert opened is not None
    assert opened.unit_ns == MILLISECOND_NS


BOOK_DATA = {"a@depth5@100ms", "a@bookTicker", "!bookTicker", "a@trade", "a@rpiDepth@500ms"}
OTHER_DATA = {"a@aggTrade", "a@markPrice@1s", "!ticker@arr"}


@pytest.mark.parametrize(
    ("target", "base", "brings"),
    [
        ("/public/ws/a@depth", "public", BOOK_DATA),
        ("/market/stream?streams=a@aggTrade", "market", OTHER_DATA),
        ("/ws/a@aggTrade", "", BOOK_DATA),
    ],
)
def test_each_base_of_futures_brings_its_streams_and_the_retired_paths_book_data_alone(
    target: str, base: str, brings: set[str]
) -> None:
    opened = open_path(target, limit=200, futures=True)
    assert opened is not None
    assert opened.base == base
    assert {name for name in BOOK_DATA | OTHER_DATA if opened.brings(name)} == brings
    assert open_path("/private/ws/key", limit=200, futures=True) is None


def test_the_sixth_message_in_a_second_is_one_too_many() -> None:
    limit = MessageLimit(5)
    assert [limit.exceeded(now) for now in (0, 1, 2, 3, 999_999_999)] == [False] * 5
    assert limit.exceeded(999_999_999)
    assert [limit.exceeded(now) for now in (2_000_000_000, 2_000_000_001, 2_000_000_002)] == [False] * 3


@given(st.integers(1, 10), st.lists(st.integers(0, 3_000_000_000), max_size=60).map(sorted))
def test_the_limit_holds_in_every_second(most: int, instants: list[int]) -> None:
    limit = MessageLimit(most)
    for index, now in enumerate(instants):
        recent = sum(1 for before in instants[:index] if now - before < 1_000_000_000)
        assert limit.exceeded(now) == (recent >= most)
