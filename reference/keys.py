"""Every key of every configuration file, read from the typed sections that the programs load with."""

import ast
import inspect
import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, is_typeddict

import msgspec
from msgspec import inspect as shape

from daemons.configuration.forwarder import ForwarderConfig
from daemons.configuration.probe import ProbeConfig
from daemons.configuration.receiver import ReceiverConfig
from experiments.hosts.inventory import Inventory
from experiments.validation.config import Suite
from provisioning.topology import Topology
from reference.examples import BY_NAME, BY_PLACE

__all__ = ["FILES", "File", "Key", "Table", "meanings", "purpose", "tables", "toml"]


@dataclass(frozen=True, slots=True)
class File:
    """A kind of configuration file.

    Attributes:
        name: of its reference, its schema and its manual.
        kind: what it is loaded into.
        read_by: the command that reads it, as it is typed.
        title: what it configures.
    """

    name: str
    kind: type[msgspec.Struct]
    read_by: str
    title: str


FILES = (
    File("latency-forwarder.toml", ForwarderConfig, "latency-forwarder --config FILE", "the forwarder's configuration"),
    File("latency-receiver.toml", ReceiverConfig, "latency-receiver --config FILE", "the receiver's configuration"),
    File("latency-probe.toml", ProbeConfig, "latency-probe --config FILE", "the probe's configuration"),
    File("latency-hosts.toml", Inventory, "experiment run --hosts FILE", "the hosts of an experiment over ssh"),
    File("latency-validation.toml", Suite, "experiment validate FILE", "what is expected of an egress path"),
    File("latency-topology.toml", Topology, "provision up --topology FILE", "a deployment on AWS"),
)

_OURS = ("daemons", "experiments", "provisioning", "tests")

_EMPTY = ("", '""', "[]", "{}")

_UNITS = {
    "seconds": "seconds",
    "minutes": "minutes",
    "hours": "hours",
    "ms": "milliseconds",
    "usd": "US dollars",
    "bytes": "bytes",
    "mib": "MiB",
    "gib": "GiB",
    "gb": "GB",
    "percent": "percent",
}


@dataclass(frozen=True, slots=True)
class Key:
    """A key of a table.

    Attributes:
        name: as written.
        type: what it holds, in words.
        unit: from the name's end; empty without one.
        default: as TOML; empty where there is none; ``required`` is then true, or no value means "not given".
        required: the file is refused without it.
        meaning: from the section's docstring.
        example: as TOML.
    """

    name: str
    type: str
    unit: str
    default: str
    required: bool
    meaning: str
    example: str


@dataclass(frozen=True, slots=True)
class Table:
    """A table of a file: ``[feed]``, ``[[path]]``, or the file's beginning, which has no header."""

    header: str
    meaning: str
    keys: tuple[Key, ...]


def tables(file: File) -> list[Table]:
    """Return a file's tables, each section once, in the order of its fields."""
    return list(_tables(file.name, file.kind, "", "", many=False))


def _tables(file: str, kind: type[Any], path: str, tag: str, *, many: bool) -> Iterator[Table]:
    info = shape.type_info(kind)
    assert isinstance(info, shape.StructType)
    said = meanings(kind)
    keys, below = [], []
    if tag:
        field = str(kind.__struct_config__.tag_field)
        keys.append(
            Key(field, f'"{tag}"', "", "", required=True, meaning="which kind it is.", example=f"{field} = {toml(tag)}")
        )
    for field_info in info.fields:
        inner = list(_sections(field_info.type))
        if inner:
            below += [(field_info.encode_name, section, repeated) for section, repeated in inner]
            continue
        where = f"{path}.{field_info.encode_name}".lstrip(".")
        keys.append(_key(file, where, field_info, said))
    header = "" if not path else f"[[{path}]]" if many else f"[{path}]"
    if tag:
        header += f" {kind.__struct_config__.tag_field} = {toml(tag)}"
    yield Table(header, purpose(kind), tuple(keys))
    for name, section, repeated in below:
        tag_name = section.cls.__struct_config__.tag
        own = f"{path}.{name}".lstrip(".")
        yield from _tables(file, section.cls, own, str(tag_name or ""), many=repeated)


def _sections(kind: shape.Type, *, many: bool = False) -> Iterator[tuple[shape.StructType, bool]]:
    if isinstance(kind, shape.StructType):
        yield kind, many
    elif isinstance(kind, shape.UnionType):
        for one in kind.types:
            yield from _sections(one, many=many)
    elif isinstance(kind, (shape.VarTupleType, shape.ListType)):
        yield from _sections(kind.item_type, many=True)
    elif isinstance(kind, shape.DictType):
        yield from _sections(kind.value_type, many=many)


def _key(file: str, where: str, field: shape.Field, said: dict[str, str]) -> Key:
    name = field.encode_name
    assert name in said, f"{where}: the section's docstring says nothing of this key"
    default: Any = msgspec.NODEFAULT
    if field.default is not msgspec.NODEFAULT:
        default = field.default
    elif field.default_factory is not msgspec.NODEFAULT:
        default = field.default_factory()
    shown = "" if default is msgspec.NODEFAULT or default is None else toml(default)
    special = BY_PLACE.get(f"{file.removeprefix('latency-').removesuffix('.toml')}:{where}")
    if special is None and shown in _EMPTY:
        special = BY_NAME.get(name)
    example = shown if special is None else toml(special)
    assert example not in _EMPTY, f"{file}: {where}: needs an example"
    unit = _UNITS.get(name.rsplit("_", 1)[-1], "")
    return Key(name, _type(field.type), unit, shown, field.required, said[name], f"{name} = {example}")


def _type(kind: shape.Type) -> str:
    match kind:
        case shape.StrType():
            return "string"
        case shape.BoolType():
            return "true or false"
        case shape.IntType():
            return "integer"
        case shape.FloatType():
            return "number"
        case shape.LiteralType():
            return " or ".join(toml(value) for value in sorted(kind.values, key=str))
        case shape.VarTupleType() | shape.ListType():
            return f"list of {_type(kind.item_type)}"
        case shape.TupleType():
            return f"list of {len(kind.item_types)} {_type(kind.item_types[0])}s"
        case shape.DictType():
            return f"table of {_type(kind.value_type)}"
        case shape.UnionType():
            return " or ".join(_type(one) for one in kind.types if not isinstance(one, shape.NoneType))
    raise AssertionError(f"{kind}: no word for this type")


def meanings(kind: type[Any]) -> dict[str, str]:
    """Read the ``Attributes:`` of a class and of what it inherits from."""
    found: dict[str, str] = {}
    for one in reversed([kind, *_written_bases(kind), *kind.__mro__]):
        text = inspect.cleandoc(one.__doc__ or "") if one.__module__.partition(".")[0] in _OURS else ""
        _head, _mark, listed = text.partition("\nAttributes:\n")
        for entry in re.split(r"\n(?=\S)", textwrap.dedent(listed).strip("\n")):
            name, colon, meaning = entry.partition(":")
            if colon:
                for each in name.split(","):
                    found[each.strip()] = " ".join(meaning.split())
    return found


def _written_bases(kind: type[Any]) -> list[type[Any]]:
    """Return what a TypedDict inherits from: a plain dict when it runs, which knows that since Python 3.12 alone."""
    if not is_typeddict(kind):
        return []
    [written] = ast.parse(textwrap.dedent(inspect.getsource(kind))).body
    assert isinstance(written, ast.ClassDef)
    names = [base.id for base in written.bases if isinstance(base, ast.Name) and base.id != "TypedDict"]
    bases = [getattr(inspect.getmodule(kind), name) for name in names]
    return [each for base in bases for each in (base, *_written_bases(base))]


def purpose(kind: type[Any]) -> str:
    """Return the first paragraph of a section's docstring, without the header that it may begin with."""
    text = inspect.cleandoc(kind.__doc__ or "").partition("\n\n")[0]
    text = " ".join(text.split())
    text = re.sub(r"^``[^`]*``(?: with ``[^`]*``)?:? ?", "", text)
    return text[:1].upper() + text[1:] if text.strip(".") else ""


def toml(value: Any) -> str:
    """Write a value as TOML, in one line."""
    match value:
        case bool():
            return "true" if value else "false"
        case str():
            return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
        case int() | float():
            return str(value)
        case list() | tuple() | set() | frozenset():
            return "[" + ", ".join(toml(one) for one in value) + "]"
        case dict():
            return (
                "{ " + ", ".join(f"{toml(key)} = {toml(one)}" for key, one in value.items()) + " }" if value else "{}"
            )
    raise AssertionError(f"{value!r}: TOML has no such value")
