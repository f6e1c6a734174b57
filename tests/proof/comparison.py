"""Where a recording of AWS differs from the emulator that the tests run on, in what ``provision`` depends on.

Three questions: does AWS answer with every field that the source reads and the emulator gives; does it refuse with
codes that the source does not know; and is anything later than the emulator makes it.
"""

import ast
import json
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import provisioning
from tests.proof.recording import Line
from tests.provisioning import world

__all__ = ["differences"]

_KEY_FILTER = "tag:latency:key"


def differences(real: Sequence[Line], emulated: Sequence[Line]) -> list[str]:
    """Each difference in a sentence, once.

    Args:
        real: a recording of AWS.
        emulated: one of the emulator, of the same topology.
    """
    found = [*_fields(real, emulated), *_codes(real), *_late_lists(real), *_late_ids(real), *_late_profiles(real)]
    return list(dict.fromkeys(found))


@cache
def _words() -> frozenset[str]:
    """Every text that stands in the source by itself: the fields that it reads and the codes that it knows."""
    found: set[str] = set()
    for file in Path(provisioning.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.add(node.value)
    return frozenset(found)


def _paths(value: Any, where: str = "") -> Iterator[str]:
    if isinstance(value, dict):
        for name, item in value.items():
            yield f"{where}.{name}"
            yield from _paths(item, f"{where}.{name}")
    elif isinstance(value, list):
        for item in value:
            yield from _paths(item, f"{where}[]")


def _answered(lines: Iterable[Line]) -> dict[tuple[str, str], set[str]]:
    found: dict[tuple[str, str], set[str]] = {}
    for line in lines:
        if not line.error:
            found.setdefault((line.service, line.operation), set()).update(_paths(line.answer))
    return found


def _fields(real: Sequence[Line], emulated: Sequence[Line]) -> Iterator[str]:
    theirs = _answered(real)
    for call, paths in _answered(emulated).items():
        given = theirs.get(call, set())
        # Of something that was in no answer at all, such as the items of a list that was empty, nothing can be said.
        seen = {path.rpartition(".")[0] for path in given}
        for path in sorted(paths - given):
            above, _, name = path.rpartition(".")
            if above in seen and name in _words():
                yield f"{call[0]} {call[1]}: no {path.lstrip('.')} in any answer"


def _codes(real: Sequence[Line]) -> Iterator[str]:
    for line in real:
        known = line.error in _words() or line.error.endswith((".NotFound", "Error"))
        if line.error and not known:
            yield f"{line.service} {line.operation}: refused with {line.error}, which the source does not know"


def _made(real: Sequence[Line]) -> Iterator[tuple[Line, str, float]]:
    """What was made, with its call and the moment since when it could be known."""
    for line in real:
        if not line.error and line.operation in world._MADE:
            for identity in world._MADE[line.operation](line.params, line.answer):
                yield line, identity, line.began_seconds + line.took_seconds


def _key_of(made: Line) -> str:
    tags = [tag for item in made.params.get("TagSpecifications", []) for tag in item["Tags"]]
    return next((str(tag["Value"]) for tag in tags if tag["Key"] == "latency:key"), "")


def _asks_for(listed: Line, made: Line) -> bool:
    """Whether a list should hold what was made: it is of the same region and asks for its key."""
    keys = [item["Values"] for item in listed.params.get("Filters", []) if item["Name"] == _KEY_FILTER]
    return listed.region == made.region and keys == [[_key_of(made)]]


def _removed(real: Sequence[Line], identity: str) -> float:
    """When the removal of something began."""
    ends = ("Delete", "Terminate", "Release")
    name = json.dumps(identity.rpartition("/")[2])
    moments = (
        line.began_seconds for line in real if line.operation.startswith(ends) and name in json.dumps(line.params)
    )
    return min(moments, default=float("inf"))


def _late_lists(real: Sequence[Line]) -> Iterator[str]:
    for made, identity, since in _made(real):
        until = _removed(real, identity)
        for listed in real:
            key, name, prefix = world._LISTS.get(listed.operation, ("", "", ""))
            if prefix or listed.error or not since < listed.began_seconds < until or not _asks_for(listed, made):
                continue
            same_kind = any(name in str(path) for path in _paths(made.answer)) or name in made.params
            late = listed.began_seconds - since
            if same_kind and late > world.LISTED_SECONDS and identity not in json.dumps(listed.answer.get(key, [])):
                yield f"{listed.operation}: not listed {late:.0f} s after {made.operation}; ours is by then"


def _late_ids(real: Sequence[Line]) -> Iterator[str]:
    for made, identity, since in _made(real):
        until = _removed(real, identity)
        for line in real:
            late = line.began_seconds - since
            unknown = line.error.endswith((".NotFound", "NoSuchEntity", "NoSuchBucket"))
            named = json.dumps(identity.rpartition("/")[2]) in json.dumps(line.params)
            if unknown and named and late > world.KNOWN_SECONDS and line.began_seconds < until:
                yield f"{line.operation}: {line.error} {late:.0f} s after {made.operation}; ours is known by then"


def _late_profiles(real: Sequence[Line]) -> Iterator[str]:
    joined = {
        line.params["InstanceProfileName"]: line.began_seconds + line.took_seconds
        for line in real
        if line.operation == "AddRoleToInstanceProfile" and not line.error
    }
    for line in real:
        if line.operation == "RunInstances" and line.error == "InvalidParameterValue":
            since = joined.get(line.params.get("IamInstanceProfile", {}).get("Name", ""))
            if since is not None and (late := line.began_seconds - since) > world.PROFILE_SECONDS:
                yield f"RunInstances: the profile is not known {late:.0f} s after it got its role; ours is by then"
