"""JSON Schemas (draft 2020-12) of the files that people write, and of what programs write and print."""

import json
from collections.abc import Iterable
from typing import Any

import msgspec

from daemons.formats.summary import RunSummary
from daemons.probe.once.document import Document
from experiments.archive.tables import QueryAnswer
from experiments.comparison.model import Comparison
from experiments.doors.model import DoorsRun
from experiments.egress.document import EgressDocument
from experiments.live.figures import Watched
from experiments.ranking.hunting import Hunt
from experiments.ranking.model import Ranking
from experiments.runs.manifest import Manifest
from experiments.validation.suite import Validation
from provisioning.documents import Cost, Down, PlannedStep, Reap, Resource, TargetGroup
from reference.keys import FILES, meanings, purpose

__all__ = ["WRITTEN", "schemas"]

WRITTEN: dict[str, tuple[Any, str]] = {
    "results.json": (RunSummary, "what latency-receiver --output and experiment run write"),
    "manifest.json": (Manifest, "the record that experiment run keeps beside its results"),
    "validation.json": (Validation, "what experiment validate writes"),
    "experiment-compare.json": (Comparison, "what experiment compare --json prints of two paths"),
    "experiment-ranking.json": (Ranking, "what experiment compare --json prints of more paths"),
    "experiment-doors.json": (DoorsRun, "what experiment doors writes: doors.json, and --json"),
    "experiment-import.json": (EgressDocument, "what experiment import --json prints"),
    "experiment-hunt.json": (Hunt, "what experiment hunt --json prints"),
    "experiment-query.json": (QueryAnswer, "what experiment query --json prints"),
    "experiment-watch.json": (Watched, "what experiment watch --json prints, one for each reading"),
    "latency-probe-once.json": (Document, "what latency-probe --once --json writes"),
    "provision-plan.json": (list[PlannedStep], "what provision plan and up print with --json"),
    "provision-status.json": (list[Resource], "what provision status --json prints"),
    "provision-cost.json": (Cost, "what provision cost --json prints"),
    "provision-deploy.json": (list[str], "what provision deploy --json prints: a sentence for each host"),
    "provision-down.json": (Down, "what provision down --json prints"),
    "provision-reap.json": (Reap, "what provision reap --json prints"),
    "provision-targets.json": (list[TargetGroup], "what provision targets prints"),
}
"""What programs write, by the name of its schema."""


def schemas() -> dict[str, str]:
    """Return every schema by the name of its file below ``schemas``."""
    people_write = {file.name: (file.kind, file.title) for file in FILES}
    kinds = people_write | WRITTEN
    found = {}
    for name, (kind, title) in kinds.items():
        (root,), definitions = msgspec.json.schema_components([kind], ref_template="#/$defs/{name}")
        for other in _objects(kind):
            _describe(definitions[other.__name__], other)
        if name in people_write:
            _without_null((root, definitions))
        _tell_apart((root, definitions))
        schema = {
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "title": name,
            "description": title,
            **root,
            **({"$defs": definitions} if definitions else {}),
        }
        found[f"{name.rpartition('.')[0]}.schema.json"] = json.dumps(schema, indent=2, ensure_ascii=False) + "\n"
    return found


def _describe(definition: dict[str, Any], kind: type[Any]) -> None:
    said = meanings(kind)
    definition["description"] = purpose(kind).replace("``", "`")
    for name, value in definition["properties"].items():
        if name in said:
            value["description"] = said[name].replace("``", "`")


def _without_null(part: Any) -> None:
    """Take away what TOML cannot say: of a choice of nothing and a table a validator names no misspelt key."""
    if isinstance(part, dict) and {"type": "null"} in part.get("anyOf", ()):
        left = [one for one in part.pop("anyOf") if one != {"type": "null"}]
        part |= left[0] if len(left) == 1 else {"anyOf": left}
        if part.get("default", "") is None:
            del part["default"]
    for below in _below(part):
        _without_null(below)


def _below(part: Any) -> Iterable[Any]:
    return part.values() if isinstance(part, dict) else part if isinstance(part, (list, tuple)) else ()


def _tell_apart(part: Any) -> None:
    """Let what says a table's kind choose what it is held against.

    Of a choice alone a validator says that none of it fits, whichever key is misspelt, and knows no discriminator. The
    choice stays for editors, which complete from it and do not look into conditions; `{}` lets it refuse nothing.
    """
    if isinstance(part, dict) and "discriminator" in part:
        name, kinds = part["discriminator"]["propertyName"], part["discriminator"]["mapping"]
        part |= {
            "type": "object",
            "properties": {name: {"enum": list(kinds)}},
            "required": [name],
            "allOf": [_where(name, kind, to) for kind, to in kinds.items()],
            "anyOf": [*part["anyOf"], {}],
        }
        del part["discriminator"]
    for below in _below(part):
        _tell_apart(below)


def _where(name: str, kind: str, to: str) -> dict[str, Any]:
    return {"if": {"properties": {name: {"const": kind}}, "required": [name]}, "then": {"$ref": to}}


def _objects(kind: Any) -> set[type[Any]]:
    found: set[type[Any]] = set()
    waiting: list[Any] = [msgspec.inspect.type_info(kind)]
    while waiting:
        one = waiting.pop()
        if isinstance(one, (msgspec.inspect.StructType, msgspec.inspect.TypedDictType)):
            if one.cls in found:
                continue
            found.add(one.cls)
            waiting += [field.type for field in one.fields]
        for name in ("item_type", "value_type"):
            if hasattr(one, name):
                waiting.append(getattr(one, name))
        waiting += getattr(one, "types", ())
    return found
