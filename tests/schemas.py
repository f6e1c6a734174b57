"""Real outputs against the published schemas, by a validator that is not ours; nothing may be there that is untold."""

import json
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped] # its stubs are one more thing to keep in step

__all__ = ["conforming"]

SCHEMAS = Path(__file__).parents[1] / "schemas"


def conforming(text: str | bytes, name: str) -> Any:
    """Return a JSON document that conforms to the schema of that name."""
    document = json.loads(text)
    schema = json.loads((SCHEMAS / f"{name}.schema.json").read_text())
    jsonschema.validate(document, schema)
    untold = _unknown(document, schema, schema)
    assert untold == [], f"{name} says nothing of {untold}"
    return document


def _unknown(value: Any, schema: dict[str, Any], root: dict[str, Any], where: str = "") -> list[str]:
    """Keys of a document that its schema says nothing of."""
    if "$ref" in schema:
        schema = root["$defs"][schema["$ref"].rpartition("/")[2]]
    if "anyOf" in schema:
        found = [_unknown(value, one, root, where) for one in schema["anyOf"] if one.get("type") != "null"]
        return min(found, key=len)
    below = []
    if isinstance(value, dict):
        known = schema.get("properties", {})
        every = schema.get("additionalProperties", {} if not known else None)
        for key, one in value.items():
            if key in known:
                below += _unknown(one, known[key], root, f"{where}.{key}")
            elif every is None:
                below.append(f"{where}.{key}")
            elif isinstance(every, dict):
                below += _unknown(one, every, root, f"{where}.{key}")
    elif isinstance(value, list):
        for one in value:
            below += _unknown(one, schema.get("items", {}), root, f"{where}[]")
    return below
