"""The reference against what it describes, and its forms against readers that are not ours."""

import json
import random
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped] # its stubs are one more thing to keep in step
import msgspec
import pytest

from daemons.sections import Section
from daemons.service.settings.errors import explain
from provisioning.loading import BUILT_IN
from reference import generate, keys
from reference.commands import commands
from reference.keys import FILES, File
from reference.schemas import WRITTEN, schemas
from reference.since import lists, place, since
from tests.schemas import conforming

ROOT = Path(__file__).parents[2]
EXAMPLES = {
    "latency-forwarder.toml": ("systemd/examples/forwarder.toml",),
    "latency-receiver.toml": ("systemd/examples/receiver.toml",),
    "latency-probe.toml": ("systemd/examples/probe.toml",),
    "latency-validation.toml": ("docs/validation.toml", "docs/validation-proxy.toml"),
    "latency-topology.toml": tuple(f"provisioning/topologies/{name}.toml" for name in BUILT_IN),
}


def schema_of(file: File) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(schemas()[file.name.replace(".toml", ".schema.json")])
    return found


def whole(file: File) -> str:
    """A file that has every key of every table, each as the reference's example."""
    lines = []
    for table in keys.tables(file):
        if table.keys:
            lines += [table.header.partition(" kind = ")[0], *(key.example for key in table.keys)]
    return "\n".join(lines)


def test_what_is_generated_is_up_to_date() -> None:
    wanted = generate.files()
    present = {
        str(path.relative_to(ROOT)): path.read_text(encoding="utf-8")
        for folder in generate.FOLDERS
        for path in (ROOT / folder).rglob("*")
        if path.is_file()
    }
    stale = sorted(name for name in wanted | present if wanted.get(name) != present.get(name))
    assert stale == [], "run `make reference` and commit what it writes"


def test_a_key_without_a_meaning_or_an_example_is_refused() -> None:
    class Silent(Section, frozen=True):
        """Says nothing of its key."""

        key: int = 1

    class Empty(Section, frozen=True):
        """Has no example.

        Attributes:
            kay: told.
        """

        kay: str = ""

    for kind, why in ((Silent, "docstring says nothing"), (Empty, "needs an example")):
        with pytest.raises(AssertionError, match=why):
            keys.tables(File("x.toml", kind, "x", "x"))


def test_a_key_is_there_since_the_release_that_first_had_it(tmp_path: Path) -> None:
    for version, held in (("0.10.0", "a b c"), ("0.2.0", "a b"), ("0.1.0", "a")):
        (tmp_path / f"{version}.txt").write_text(held.replace(" ", "\n") + "\n")
    released = lists(tmp_path)
    assert list(released) == ["0.1.0", "0.2.0", "0.10.0"]
    assert [since(key, released, "0.11.0") for key in "abcd"] == ["0.1.0", "0.2.0", "0.10.0", "0.11.0"]
    assert since("d", released, "0.10.0") == "next release"
    assert since("a", {}, "0.1.0") == "0.1.0"


def test_no_key_of_a_release_is_gone_in_silence() -> None:
    """Whoever upgrades has files with them: a key that goes needs a line in the changelog, and then here."""
    present = {place(file, table, key) for file in FILES for table in keys.tables(file) for key in table.keys}
    assert {key for known in lists().values() for key in known} - present == set()


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_every_example_is_taken_by_program_and_schema(file: File) -> None:
    raw = tomllib.loads(whole(file))
    msgspec.convert(raw, file.kind, strict=True)
    schema = schema_of(file)
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(raw, schema)
    for name in EXAMPLES.get(file.name, ()):
        jsonschema.validate(tomllib.loads((ROOT / name).read_text()), schema)


def places(value: Any, above: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [above, *(place for key, one in inside for place in places(one, (*above, key)))]


def damaged(rng: random.Random, value: Any) -> None:
    """Change one thing somewhere: a key's name, its value's kind, or its being there."""
    place = rng.choice([place for place in places(value) if place])
    for key in place[:-1]:
        value = value[key]
    last = place[-1]
    if isinstance(value, dict) and rng.random() < 0.3:
        del value[last]
    elif isinstance(value, dict) and rng.random() < 0.3:
        value[f"{last}x"] = value.pop(last)
    else:
        # No float that is a whole number: JSON Schema takes it for an integer, and TOML does not.
        value[last] = rng.choice(["", "tcp", 1, 0.5, True, [], ["x"], [0.5, 1.5], {}, {"x": "y"}])


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_schema_and_program_refuse_the_same(file: File) -> None:
    rng = random.Random(16)
    validator = jsonschema.Draft202012Validator(schema_of(file))
    refused = 0
    for _ in range(150):
        raw = tomllib.loads(whole(file))
        for _ in range(rng.randint(1, 2)):
            damaged(rng, raw)
        try:
            msgspec.convert(raw, file.kind, strict=True)
            taken = True
        except msgspec.ValidationError:
            taken = False
            refused += 1
        assert validator.is_valid(raw) == taken, raw
    assert 20 < refused < 150


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_a_misspelt_key_of_any_table_is_named_by_schema_and_program(file: File) -> None:
    """Of tables that say their kind (`[[path]]`) the schema named none, and the program keys of another kind."""
    validator = jsonschema.Draft202012Validator(schema_of(file))
    named = 0
    for way in places(tomllib.loads(whole(file))):
        if not way or not isinstance(key := way[-1], str):
            continue
        raw = table = tomllib.loads(whole(file))
        for step in way[:-1]:
            table = table[step]
        wrong = key + key[-1]
        table[wrong] = table.pop(key)
        try:
            msgspec.convert(raw, file.kind, strict=True)
        except msgspec.ValidationError as error:
            told = explain(str(error), file.kind, raw)
            assert (told.steps, told.why) == ((*way[:-1], wrong), "unknown key")
            assert told.remedy == f"did you mean `{key}`?"
            assert any(
                f"'{wrong}' was unexpected" in fault.message or f"'{key}' is a required" in fault.message
                for fault in validator.iter_errors(raw)
            ), way
            named += 1
    # The others are names of people's own, as of targets.
    assert named >= sum(len(table.keys) for table in keys.tables(file)) * 0.9


def test_every_option_has_its_place_in_a_manual() -> None:
    found = generate.files()
    for command in commands():
        manual = found[f"man/man1/{'-'.join(command.words)}.1"].replace("\\-", "-")
        for written, _does in command.options:
            assert written.split(",")[0].split(" ")[0] in manual


@pytest.mark.process
@pytest.mark.parametrize("page", sorted(path.name for path in (ROOT / "man").rglob("*.?")))
def test_manuals_please_mandoc(page: str) -> None:
    file = ROOT / "man" / f"man{page[-1]}" / page
    lint = subprocess.run(["mandoc", "-Tlint", "-Wwarning", file], capture_output=True, text=True, check=False)
    assert (lint.returncode, lint.stdout) == (0, "")
    shown = subprocess.run(["mandoc", "-Tutf8", file], capture_output=True, text=True, check=True).stdout
    # An option that is copied must work.
    assert "\N{HYPHEN}" not in shown
    assert "\\" not in shown.replace(r"\b", "").replace(r"\-", "")


@pytest.mark.process
def test_a_run_writes_what_the_schemas_say_and_nothing_else(tmp_path: Path) -> None:
    run = ("run", "--simulator", "--duration", "3s", "--allow-unsynchronized-clock", "--output", str(tmp_path / "run"))
    program = Path(sys.executable).parent / "experiment"
    subprocess.run([program, *run], check=True, capture_output=True, timeout=300)
    written = {"manifest": tmp_path / "run/manifest.json", "results": next((tmp_path / "run").glob("*/results.json"))}
    for name, file in written.items():
        conforming(file.read_bytes(), name)


def test_what_is_written_is_held_against_each_schema_by_a_test() -> None:
    """`provision deploy` alone needs hosts that run; its answer is a list of sentences."""
    sources = "".join(path.read_text() for path in (ROOT / "tests").rglob("*.py"))
    named = set(re.findall(r'conforming\([^\n]*"([a-z-]+)"\)', sources)) | {"results", "manifest"}
    assert {name.removesuffix(".json") for name in WRITTEN} - named == {"provision-deploy"}


def test_what_a_schema_does_not_say_is_refused() -> None:
    (schema,) = [json.loads(text) for name, text in schemas().items() if name == "provision-reap.schema.json"]
    document: dict[str, Any] = {"expires": None, "removed": []}
    jsonschema.validate(document, schema)
    conforming(json.dumps(document), "provision-reap")
    with pytest.raises(AssertionError, match="more"):
        conforming(json.dumps({**document, "more": 1}), "provision-reap")
    with pytest.raises(jsonschema.ValidationError):
        conforming(json.dumps({"expires": 1, "removed": []}), "provision-reap")
