"""What is wrong with a configuration, in words: where it stands, what is there, and what belongs there."""

import difflib
import re
import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from daemons.errors import ConfigError
from daemons.service.settings.spans import parse_span
from daemons.service.settings.toml_lines import Step

__all__ = ["Explained", "explain"]

_MISSING = re.compile(r"Object missing required field `(?P<field>[^`]+)`")
_UNKNOWN = re.compile(r"Object contains unknown field `(?P<field>[^`]+)`")
_WRONG = re.compile(r"Expected `(?P<expected>[^`]+)`, got `(?P<got>[^`]+)`")
_BOUND = re.compile(r"Expected `(?P<expected>\w+)` (?P<relation>[<>]=?) (?P<bound>\S+)|(?P<huge>Number out of range)")
_VALUE = re.compile(r"Invalid (?:enum )?value ")
_LOCATION = re.compile(r"^(?P<why>.*?)(?: - at (?P<key>`key` in )?`\$(?P<path>[^`]*)`)?$", re.DOTALL)
_STEP = re.compile(r"\.([^.\[\]]+)|\[(\d+|\.\.\.)\]")
_SOME = "..."

_WORDS = {
    "int": "a whole number",
    "float": "a number",
    "str": "text in quotes",
    "bool": "true or false",
    "array": "a list",
    "object": "a table",
    "datetime": "a date",
    "date": "a date",
}
_LONG = 6
_LISTED = 12
_PER_SECOND = {"seconds": 1, "ms": 1000, "minutes": 1 / 60}
_UNIT_NAMES = {"ms": "milliseconds"}


class Explained(typing.NamedTuple):
    """An error, and the way to the key that it is about."""

    steps: tuple[Step, ...]
    why: str
    remedy: str

    def error(self, place: str = "") -> ConfigError:
        """Make the error.

        Args:
            place: file and line, if they are known.
        """
        where = written(self.steps) or "configuration"
        return ConfigError(f"{place}: {where}" if place else where, self.why, self.remedy)


def written(steps: Sequence[Step]) -> str:
    """Write the way to a key as people do: ``path[1].listen``."""
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in steps).removeprefix(".")


def explain(message: str, kind: type[msgspec.Struct], raw: Mapping[str, Any]) -> Explained:
    """Translate a message of msgspec.

    Args:
        message: of the validation error.
        kind: what the configuration should have been.
        raw: what it was.
    """
    match = _LOCATION.match(message)
    assert match is not None  # the pattern accepts any text
    why = match["why"]
    steps: list[Step] = []
    if match["key"]:
        return _wrong_key(tuple(name for name, _number in _STEP.findall(match["path"])), raw)
    for name, number in _STEP.findall(match["path"] or ""):
        steps.append(name or (number if number == _SOME else int(number)))
    if unknown := _UNKNOWN.match(why):
        field = unknown["field"]
        way = _settled(kind, raw, [*steps, field])
        return Explained(way, "unknown key", _instead(field, kind, way[:-1], _at(raw, way[:-1])))
    way = _settled(kind, raw, steps)
    if missing := _MISSING.match(why):
        return _missing(missing["field"], kind, way, _at(raw, way))
    shown = "***" if _is_hidden(kind, way) else _short(_at(raw, way))
    if wrong := _WRONG.match(why):
        wanted = [_WORDS.get(word.strip(), word.strip()) for word in wrong["expected"].split("|")]
        wanted = [word for word in dict.fromkeys(wanted) if word != "null"]
        got = _WORDS.get(wrong["got"], wrong["got"]).removesuffix(" in quotes")
        number = _number(way, _at(raw, way)) if {"int", "float"} & set(re.split(r"\W+", wrong["expected"])) else ""
        return Explained(way, f"{shown} is {got}", f"write {number or _any_of(wanted)}")
    if bound := _BOUND.match(why):
        return Explained(way, f"{shown} is out of range", _within(bound))
    allowed = [str(one) for one in _allowed(kind, way)]
    if _VALUE.match(why) and allowed:
        return Explained(way, f"{shown} is not known here", f"use {_any_of(allowed)}")
    return Explained(way, why[:1].lower() + why[1:], "correct its value")


def _any_of(names: Sequence[str]) -> str:
    """Say ``a, b or c``."""
    return " or ".join(filter(None, (", ".join(names[:-1]), names[-1])))


def _number(way: Sequence[Step], value: Any) -> str:
    """Give a span such as ``"5m"`` as a number of the unit that its key's name says; empty for what is none."""
    unit = str(way[-1]).rpartition("_")[2] if way else ""
    if unit not in _PER_SECOND or not isinstance(value, str):
        return ""
    try:
        return f"{parse_span(value) * _PER_SECOND[unit]:.15g}, a number of {_UNIT_NAMES.get(unit, unit)}"
    except ValueError:
        return ""


def _wrong_key(way: Sequence[Step], raw: Mapping[str, Any]) -> Explained:
    """Tell of a key that is no text, which YAML makes of ``123`` and of ``yes``."""
    table = _at(raw, way)
    keys = [key for key in table if not isinstance(key, str)] if isinstance(table, Mapping) else []
    return Explained(
        tuple(way), f"a key is {keys[0]!r}, not text" if keys else "a key is not text", "write it in quotes"
    )


def _within(bound: re.Match[str]) -> str:
    """Say which numbers are right, as far as the message of a bound that was exceeded does."""
    if bound["huge"]:
        return "write a smaller number"
    relation = {">": "above", ">=": "of at least", "<": "below", "<=": "of at most"}[bound["relation"]]
    return f"write {_WORDS[bound['expected']]} {relation} {float(bound['bound']):.15g}"


def _is_hidden(kind: Any, way: Sequence[Step]) -> bool:
    """Whether a value is nobody's business, by the fields that its section hides."""
    return any(
        step in getattr(found, "hidden", ()) for number, step in enumerate(way) for found in _types(kind, way[:number])
    )


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}…"


def _missing(field: str, kind: type[msgspec.Struct], way: Sequence[Step], table: Any) -> Explained:
    """Tell of a key that is not there, or that is misspelt: what says a table's kind is asked for before all others."""
    own = _fields(kind, way, {})
    unknown = [key for key in table if key not in own] if isinstance(table, Mapping) else []
    for key in unknown:
        if field in _near(key, own):
            return Explained((*way, key), "unknown key", f"did you mean `{field}`?")
    return Explained((*way, field), "is missing", "add it")


def _near(field: str, names: Sequence[str]) -> list[str]:
    """Give those of some names that are like another."""
    near = [name for name in names if name.startswith(f"{field}_") or name.endswith(f"_{field}")]
    # In a short word a single slip weighs more; long ones have an ending or a beginning in common with many.
    return near + difflib.get_close_matches(field.lower(), names, n=2, cutoff=0.65 if len(field) < _LONG else 0.72)


def _instead(field: str, kind: type[msgspec.Struct], way: Sequence[Step], table: Any) -> str:
    """Say which key may have been meant: one of this table's, or one of that name in another table."""
    there: Mapping[str, Any] = table if isinstance(table, Mapping) else {}
    own = _fields(kind, way, there)
    if others := [one for one in _tables(kind, way, {}) if field in _names(one) and field not in own]:
        tag = others[0].__struct_config__.tag_field
        return f'remove it; only tables with {tag} = "{others[0].__struct_config__.tag}" have it'
    near = _near(field, own)
    if free := [name for name in near if name not in there]:
        return f"did you mean `{free[0]}`?"
    if near:
        return f"remove it; `{near[0]}` is there already"
    homes = sorted({written(home) for home in _homes(kind, field) if home})
    if homes:
        return f"it belongs into [{homes[0]}]"
    if 0 < len(own) <= _LISTED:
        return f"remove it; known here are {', '.join(own)}"
    return "remove it"


def _homes(kind: type[msgspec.Struct], field: str) -> Iterator[tuple[Step, ...]]:
    """Find the tables below the top that have a key of this name; those in lists are left out, for there are many."""
    for info in msgspec.structs.fields(kind):
        for below in _alternatives(info.type):
            if _is_struct(below) and field in _names(below):
                yield (info.encode_name,)


def _settled(kind: Any, raw: Any, steps: Sequence[Step]) -> tuple[Step, ...]:
    """Find which element of a list, or which key of a table of any keys, is meant where the message does not say."""
    if _SOME not in steps:
        return tuple(steps)
    at = list(steps).index(_SOME)
    before, after = steps[:at], steps[at + 1 :]
    items = _at(raw, before)
    pairs: list[tuple[Step, Any]] = (
        list(items.items())
        if isinstance(items, Mapping)
        else list(enumerate(items))
        if isinstance(items, list | tuple)
        else []
    )
    for step, item in pairs:
        if _is_wrong(kind, [*before, step], item, after):
            return _settled(kind, raw, [*before, step, *after])
    return tuple(before)


def _is_wrong(kind: Any, way: Sequence[Step], item: Any, after: Sequence[Step]) -> bool:
    """Whether this element is the one that was refused."""
    for wanted in _types(kind, way):
        try:
            msgspec.convert(item, wanted, strict=True)
        except msgspec.ValidationError as error:
            match = _LOCATION.match(str(error))
            assert match is not None
            inner: list[Step] = [name or number for name, number in _STEP.findall(match["path"] or "")]
            if unknown := _UNKNOWN.match(str(error)):
                inner.append(unknown["field"])
            return [str(step) for step in inner] == [str(step) for step in after]
    return False


def _at(raw: Any, steps: Sequence[Step]) -> Any:
    for step in steps:
        try:
            raw = raw[step]
        except (KeyError, IndexError, TypeError):
            return None
    return raw


def _fields(kind: Any, way: Sequence[Step], table: Mapping[str, Any]) -> list[str]:
    """Name the keys of the table at the end of a way."""
    return list(dict.fromkeys(name for found in _tables(kind, way, table) for name in _names(found)))


def _tables(kind: Any, way: Sequence[Step], table: Mapping[str, Any]) -> list[type[msgspec.Struct]]:
    """Give what a table may be: of a choice the one that it says it is, or all where it says nothing of use."""
    choice = [found for found in _types(kind, way) if _is_struct(found)]
    told = [(found, found.__struct_config__) for found in choice]
    return [found for found, of in told if of.tag_field and table.get(of.tag_field) == of.tag] or choice


def _names(struct: type[msgspec.Struct]) -> list[str]:
    tag = struct.__struct_config__.tag_field
    return [*([tag] if tag else []), *(info.encode_name for info in msgspec.structs.fields(struct))]


def _allowed(kind: Any, way: Sequence[Step]) -> list[Any]:
    """Give the values that a key may have, where they are few and fixed."""
    values = [
        value for found in _types(kind, way) if typing.get_origin(found) is typing.Literal for value in found.__args__
    ]
    if not values and way:
        tables = [found for found in _types(kind, way[:-1]) if _is_struct(found)]
        values = [found.__struct_config__.tag for found in tables if found.__struct_config__.tag_field == way[-1]]
    return values


def _types(kind: Any, way: Sequence[Step]) -> list[Any]:
    """Give the types that the value at the end of a way may have."""
    found = list(_alternatives(kind))
    for step in way:
        below: list[Any] = []
        for one in found:
            if _is_struct(one):
                infos = msgspec.structs.fields(one)
                below += [info.type for info in infos if info.encode_name == step]
            elif typing.get_origin(one) in (list, tuple, dict):
                arguments = [argument for argument in typing.get_args(one) if argument is not ...]
                below += arguments[-1:]
        found = [alternative for one in below for alternative in _alternatives(one)]
    return found


def _alternatives(kind: Any) -> Iterator[Any]:
    """Take a choice of types apart, and annotations off."""
    if typing.get_origin(kind) in (typing.Union, types.UnionType):
        for one in typing.get_args(kind):
            yield from _alternatives(one)
    elif typing.get_origin(kind) is typing.Annotated:
        yield from _alternatives(typing.get_args(kind)[0])
    else:
        yield kind


def _is_struct(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, msgspec.Struct)
