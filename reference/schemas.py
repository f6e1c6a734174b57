"""JSON Schemas (draft 2020-12) of the files that people write, and of those that programs write."""

import json
from typing import Any

import msgspec

from daemons.formats.summary import RunSummary
from experiments.runs.manifest import Manifest
from reference.keys import FILES, meanings, purpose

__all__ = ["schemas"]

_WRITTEN: dict[str, tuple[type[msgspec.Struct], str]] = {
    "results.json": (RunSummary, "what latency-receiver --output and experiment run write"),
    "manifest.json": (Manifest, "the record that experiment run keeps beside its results"),
}


def schemas() -> dict[str, str]:
    """Return every schema by the name of its file below ``schemas``."""
    kinds = {file.name: (file.kind, file.title) for file in FILES} | _WRITTEN
    found = {}
    for name, (kind, title) in kinds.items():
        (root,), definitions = msgspec.json.schema_components([kind], ref_template="#/$defs/{name}")
        for other in _structs(kind):
            _describe(definitions[other.__name__], other)
        schema = {
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "title": name,
            "description": title,
            **root,
            "$defs": definitions,
        }
        found[f"{name.rpartition('.')[0]}.schema.json"] = json.dumps(schema, indent=2, ensure_ascii=False) + "\n"
    return found


def _describe(definition: dict[str, Any], kind: type[msgspec.Struct]) -> None:
    said = meanings(kind)
    definition["description"] = purpose(kind).replace("``", "`")
    for name, value in definition["properties"].items():
        if name in said:
            value["description"] = said[name].replace("``", "`")


def _structs(kind: type[msgspec.Struct]) -> set[type[msgspec.Struct]]:
    found: set[type[msgspec.Struct]] = set()
    waiting: list[Any] = [msgspec.inspect.type_info(kind)]
    while waiting:
        one = waiting.pop()
        if isinstance(one, msgspec.inspect.StructType):
            if one.cls in found:
                continue
            found.add(one.cls)
            waiting += [field.type for field in one.fields]
        for name in ("item_type", "value_type"):
            if hasattr(one, name):
                waiting.append(getattr(one, name))
        waiting += getattr(one, "types", ())
    return found
