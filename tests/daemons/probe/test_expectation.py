import pytest

from daemons.configuration.probe import ExpectSection
from daemons.probe.attempt import AttemptError, Reason
from daemons.probe.expectation import Expectation, field


@pytest.mark.parametrize(
    ("section", "status", "body", "reason"),
    [
        (ExpectSection(), 200, b"", None),
        (ExpectSection(status=(301, 302)), 302, b"", None),
        (ExpectSection(), 404, b"gone", Reason.STATUS),
        (ExpectSection(), 301, b"", Reason.REDIRECT),
        (ExpectSection(status=(204,)), 200, b"", Reason.STATUS),
        (ExpectSection(regex="^ok$"), 200, b"ok", None),
        (ExpectSection(regex="^ok$"), 200, b"not ok", Reason.BODY),
        (ExpectSection(json_field="serverTime"), 200, b'{"serverTime":1}', None),
        (ExpectSection(json_field="serverTime"), 200, b'{"time":1}', Reason.BODY),
        (ExpectSection(json_field="serverTime"), 200, b'{"serverTime"', Reason.BODY),
        (ExpectSection(json_field="serverTime"), 200, b"\xff\xfe", Reason.BODY),
        (ExpectSection(json_field="a"), 200, b'{"a":"S\xe3o"}', None),
        (ExpectSection(json_field="a", json_value="São"), 200, b'{"a":"S\xe3o"}', None),
        (ExpectSection(json_field="a"), 200, b'\xef\xbb\xbf{"a":1}', None),
        (ExpectSection(json_field="a"), 200, b'{"a":' * 100_000, Reason.BODY),
        (ExpectSection(json_field="a"), 200, b'{"a":"\\ud800"}', Reason.BODY),
        (ExpectSection(json_field="a.1.b", json_value="x"), 200, b'{"a":[0,{"b":"x"}]}', None),
        (ExpectSection(json_field="a.2.b"), 200, b'{"a":[0,{"b":"x"}]}', Reason.BODY),
        (ExpectSection(json_field="ok", json_value=True), 200, b'{"ok":true}', None),
        (ExpectSection(json_field="ok", json_value=True), 200, b'{"ok":1}', Reason.BODY),
        (ExpectSection(json_field="n", json_value=1), 200, b'{"n":true}', Reason.BODY),
        (ExpectSection(json_field="n", json_value=1), 200, b'{"n":1.0}', None),
    ],
)
def test_an_answer_is_judged(section: ExpectSection, status: int, body: bytes, reason: Reason | None) -> None:
    if reason is None:
        Expectation(section).check(status, "", body)
        return
    with pytest.raises(AttemptError) as caught:
        Expectation(section).check(status, "/elsewhere", body)
    assert caught.value.reason is reason


def test_the_sentence_shows_what_came_instead() -> None:
    with pytest.raises(AttemptError, match=r"500 instead of 200 or 204: 'x+'…$"):
        Expectation(ExpectSection(status=(200, 204))).check(500, "", b"x" * 500)
    with pytest.raises(AttemptError, match=r"^a: is 'x+… instead of 1$"):
        Expectation(ExpectSection(json_field="a", json_value=1)).check(200, "", b'{"a":"' + b"x" * 500 + b'"}')
    with pytest.raises(AttemptError, match="302 to /login instead of 200"):
        Expectation(ExpectSection()).check(302, "/login", b"")


def test_a_missing_field_is_named() -> None:
    assert field({"a": [1, {"b": None}]}, "a.1.b") is None
    for path in ("b", "a.x", "a.1.b.c", ""):
        with pytest.raises(KeyError):
            field({"a": [1, {"b": None}]}, path)
