"""On which line of a TOML file a key stands; tomllib tells what, and not where (https://toml.io/en/v1.0.0)."""

import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

__all__ = ["Step", "line_of"]

Step = str | int
"""A key of a table, or the position in an array of tables."""

_KINDS = (r'"""(?:[^"\\]|\\.|"(?!""))*"{3,5}', r"'''(?:[^']|'(?!''))*'{3,5}", r'"(?:[^"\\\n]|\\.)*"', r"'[^'\n]*'")
_STRING = re.compile("|".join(_KINDS), re.DOTALL)
_BRACKETS = {"[": 1, "{": 1, "]": -1, "}": -1}


def line_of(text: str, steps: Sequence[Step]) -> int | None:
    """Find the line of a key, or of the table that is nearest above it.

    Args:
        text: a valid TOML document.
        steps: the way to the key, such as ``("path", 1, "listen")``.

    Returns:
        The line, from 1; None when not even the first key is there.
    """
    known: dict[tuple[Step, ...], int] = {}
    for found, line in _keys(text):
        for length in range(1, len(found) + 1):
            known.setdefault(found[:length], line)
    wanted = tuple(steps)
    return next((known[wanted[:length]] for length in range(len(wanted), 0, -1) if wanted[:length] in known), None)


def _keys(text: str) -> Iterator[tuple[tuple[Step, ...], int]]:
    """Give every header and every key outside of inline tables, in order, with its line."""
    arrays: dict[tuple[Step, ...], int] = {}
    table: tuple[Step, ...] = ()
    line = 1
    for statement in _statements(text):
        begins = line
        line += statement.count("\n")
        stripped = statement.lstrip()
        begins += statement[: len(statement) - len(stripped)].count("\n")
        if not stripped or stripped.startswith("#"):
            continue
        if stripped.startswith("["):
            many = stripped.startswith("[[")
            header = stripped[2 if many else 1 : _end_of_key(stripped, "]", 2 if many else 1)]
            table = _through_arrays(_parts(header), arrays, many=many)
            yield table, begins
        else:
            own = _parts(stripped[: _end_of_key(stripped, "=", 0)])
            yield (*table, *own), begins


def _through_arrays(parts: Sequence[str], arrays: dict[tuple[Step, ...], int], *, many: bool) -> tuple[Step, ...]:
    """Put the positions into a header: of each array of tables above the last element is meant."""
    way: tuple[Step, ...] = ()
    for number, part in enumerate(parts):
        way = (*way, part)
        last = number == len(parts) - 1
        if last and many:
            arrays[way] = arrays.get(way, -1) + 1
        if way in arrays:
            way = (*way, arrays[way])
    return way


def _statements(text: str) -> Iterator[str]:
    """Split a document into headers and pairs, each with the line's end; a value may go over many lines."""
    begin = at = depth = 0
    while at < len(text):
        character = text[at]
        if character in "\"'" and (string := _STRING.match(text, at)):
            at = string.end()
            continue
        if character == "#":
            at = text.find("\n", at)
            at = len(text) if at < 0 else at
            continue
        depth += _BRACKETS.get(character, 0)
        at += 1
        if character == "\n" and not depth:
            yield text[begin:at]
            begin = at
    if begin < len(text):
        yield text[begin:]


def _end_of_key(text: str, end: str, at: int) -> int:
    """Find the character that ends a key, which may be quoted and contain it."""
    while at < len(text) and text[at] != end:
        string = _STRING.match(text, at)
        at = string.end() if string else at + 1
    return at


def _parts(key: str) -> list[str]:
    """Take a dotted key apart, by the parser itself."""
    parts = []
    below: Any = tomllib.loads(f"{key} = 0")
    while isinstance(below, Mapping):
        ((part, below),) = below.items()
        parts.append(part)
    return parts
