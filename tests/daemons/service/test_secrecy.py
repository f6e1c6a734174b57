import json
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemons.service.secrecy import Secrets, shown_url, values_in_query

SECRET = st.text(min_size=8, max_size=30).filter(lambda text: set(text) - {"*"})


@given(st.lists(SECRET, min_size=1, max_size=4))
def test_a_secret_is_hidden_however_it_is_written(secrets: list[str]) -> None:
    hide = Secrets(secrets).hide
    shapes: list[Any] = [str, repr, json.dumps, lambda text: json.dumps(text, ensure_ascii=False)]
    for secret in secrets:
        for shape in shapes:
            written = shape(secret)
            assert written not in hide(f"before {written} after")


def test_the_whole_of_a_secret_goes_where_one_is_part_of_another() -> None:
    assert Secrets(["password", "password-of-mine"]).hide("a password-of-mine") == "a ***"
    assert Secrets(["Bearer abcdefghij", "abcdefghij"]).hide("Bearer abcdefghij, abcdefghij") == "***, ***"


def test_a_value_that_was_percent_encoded_is_known_in_both_forms() -> None:
    secret = "a/b+c=d&e f"
    hide = Secrets([quote(secret, safe="")]).hide
    assert (hide(secret), hide(quote(secret, safe=""))) == ("***", "***")


def test_what_is_too_short_to_be_a_secret_stays() -> None:
    assert Secrets(["1", "true", ""]).hide("1 is true") == "1 is true"


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://a/b", "https://a/b"),
        ("https://u:p@a/b?c", "https://***@a/b?c"),
        ("https://a/?token=abc&x=1;y=#f", "https://a/?token=***&x=***;y=***#f"),
        ("https://a/?b=c=d", "https://a/?b=***"),
        ("https://u:p@[a", "https://***@[a"),
        ("https://a/b@c", "https://a/b@c"),
        ("https://a/hook/" + "k9" * 16, "https://a/hook/***"),
        ("wss://a/" + "K-_9" * 16 + "/ws/btcusdt@trade#x", "wss://a/***/ws/btcusdt@trade#x"),
        (
            "https://a/" + "k" * 31 + "/" + "long-name-of-a-file-that-is-no-key.html",
            "https://a/" + "k" * 31 + "/" + "long-name-of-a-file-that-is-no-key.html",
        ),
        ("https://" + "long-name" * 5 + ".example/b", "https://" + "long-name" * 5 + ".example/b"),
        (
            "wss://a/ws/" + "long" * 9 + "usdt@trade/!" + "long" * 9,
            "wss://a/ws/" + "long" * 9 + "usdt@trade/!" + "long" * 9,
        ),
    ],
)
def test_a_url_is_shown_without_credentials(url: str, shown: str) -> None:
    assert shown_url(url) == shown


def test_values_of_a_query() -> None:
    assert values_in_query("a=b&c=d=e;f&g=") == ["b", "d=e"]
