"""What is told of an exception that nobody foresaw."""

import pytest

from daemons.errors import brief


def deep(level: int) -> None:
    if level == 0:
        raise ValueError("x" * 10_000)
    deep(level - 1)


def test_an_exception_is_one_short_line_that_says_where_however_deep_it_was_raised() -> None:
    with pytest.raises(ValueError, match="xxx") as caught:
        deep(500)
    text = brief(caught.value)
    assert text.startswith("ValueError: " + "x" * 200 + " (test_errors.py:")
    assert text.count(">") == 2
    assert len(text) < 300


def test_an_exception_that_was_never_raised() -> None:
    assert brief(KeyError("k")) == "KeyError: 'k' (nowhere)"
