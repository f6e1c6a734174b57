"""Lines of keys, held against what the parser itself finds when a line is changed."""

import tomllib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemons.service.settings.toml_lines import Step, line_of

DOCUMENT = '''\
# a comment = "with [[brackets]]"
title = "a # in text" # and after it
"quoted.key" = 1
dotted . inner = """
[not.a.header]
title = 'nor a key'
"""
list = [
  1, # one ]
  [2, "]"],
]

[log]
level = 'info'

[[path]]
name = "one"
inline = { a = 1, b = "}" }

[path.deep]
x = 1

[[path]]
name = "two"
  [[path.below]]
  y = """three "quotes\\""""""
  [[path.below]]
  y = 2
'''


@pytest.mark.parametrize(
    ("steps", "line"),
    [
        (("title",), 2),
        (("quoted.key",), 3),
        (("dotted", "inner"), 4),
        (("list",), 8),
        (("list", 1), 8),
        (("log",), 13),
        (("log", "level"), 14),
        (("log", "absent"), 13),
        (("path",), 16),
        (("path", 0), 16),
        (("path", 0, "name"), 17),
        (("path", 0, "inline", "b"), 18),
        (("path", 0, "deep", "x"), 21),
        (("path", 1, "name"), 24),
        (("path", 1, "below", 0, "y"), 26),
        (("path", 1, "below", 1), 27),
        (("path", 1, "below", 1, "y"), 28),
        (("absent",), None),
        ((), None),
    ],
)
def test_lines(steps: tuple[Step, ...], line: int | None) -> None:
    tomllib.loads(DOCUMENT)
    assert line_of(DOCUMENT, steps) == line


NAMES = st.text("ab-_9", min_size=1, max_size=3) | st.text("ä.# =]\"'", min_size=1, max_size=4)
VALUES = st.sampled_from(
    [
        "1",
        "'['",
        '"#"',
        "[\n1, # ]\n2]",
        '"""\n[x]\n"""',
        "'''\nk = 1\n'''",
        "{ a = 1 }",
        "[{ b = ']' }]",
        "1979-05-27",
        '"\\""',
    ]
)


def spelled(name: str) -> str:
    bare = all(letter in "ab-_9" for letter in name)
    return name if bare else '"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"'


@st.composite
def documents(draw: st.DrawFn) -> tuple[str, list[tuple[tuple[Step, ...], int]]]:
    """Write a document, and note where each key is put."""
    lines: list[str] = []
    noted: list[tuple[tuple[Step, ...], int]] = []
    tables = draw(st.lists(st.tuples(NAMES, st.booleans()), max_size=4, unique_by=lambda table: table[0]))
    elements = [(name, number) for name, many in tables for number in range(draw(st.integers(1, 3)) if many else 1)]
    kinds = dict(tables)
    for name, number in [("", 0), *elements]:
        way: tuple[Step, ...] = () if not name else (name, number) if kinds[name] else (name,)
        if name:
            lines += draw(st.lists(st.sampled_from(["", "# [x]", "  # k = '"]), max_size=2))
            lines.append(f"[[{spelled(name)}]]" if kinds[name] else f"[ {spelled(name)} ] # end")
            noted.append((way, len(lines)))
        taken = set(kinds) if not name else set()
        for key in draw(st.lists(NAMES.filter(lambda key: key not in taken), max_size=4, unique=True)):  # noqa: B023
            value = draw(VALUES)
            noted.append(((*way, key), len(lines) + 1))
            lines += f"{spelled(key)} = {value}".split("\n")
    return "\n".join(lines) + draw(st.sampled_from(["", "\n"])), noted


def at(document: Any, steps: tuple[Step, ...]) -> Any:
    for step in steps:
        document = document[step]
    return document


@given(documents())
def test_every_key_is_found_where_it_was_put(made: tuple[str, list[tuple[tuple[Step, ...], int]]]) -> None:
    text, noted = made
    document = tomllib.loads(text)
    for steps, line in noted:
        at(document, steps)
        assert line_of(text, steps) == line
