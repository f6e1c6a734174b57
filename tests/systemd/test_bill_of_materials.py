"""The bill of materials of a wheelhouse, by the public schema and by the makers' own library that reads it.

Every package that the tests have says its metadata in its own way: wheels are made of them all.
"""

import hashlib
import json
import zipfile
from importlib import metadata
from pathlib import Path
from types import ModuleType

import pytest
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component
from cyclonedx.schema import SchemaVersion
from cyclonedx.spdx import is_expression
from cyclonedx.validation.json import JsonStrictValidator
from packageurl import PackageURL
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

OWN = "backbone-latency"


def wheel(folder: Path, said: str, tag: str = "py3-none-any") -> Path:
    """Make a wheel with these metadata and nothing else, but for those of a package that it carries inside."""
    fields = dict(line.split(": ", 1) for line in said.partition("\n\n")[0].splitlines() if ": " in line)
    name = f"{fields['Name'].replace('-', '_')}-{fields['Version']}"
    file = folder / f"{name}-{tag}.whl"
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("inner/_vendor/other-1.dist-info/METADATA", "Name: other\nVersion: 1\n")
        archive.writestr(f"{name}.dist-info/METADATA", said)
        archive.writestr(f"{name}.dist-info/WHEEL", tag)
    return file


def read(said: dict[str, object]) -> Bom:
    """Check a bill by the schema, strictly, and read it."""
    text = json.dumps(said)
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    bom = Bom.from_json(json.loads(text))  # type: ignore[attr-defined]
    assert isinstance(bom, Bom)
    assert bom.validate()
    return bom


def closure(bom: Bom) -> set[str]:
    """Return what can be reached from the product along what needs what."""
    needs = {str(one.ref): {str(other.ref) for other in one.dependencies} for one in bom.dependencies}
    assert bom.metadata.component is not None
    waiting, reached = [str(bom.metadata.component.bom_ref)], set[str]()
    while waiting:
        if (ref := waiting.pop()) not in reached:
            reached.add(ref)
            waiting += needs[ref]
    return reached


@pytest.fixture(scope="module")
def everything(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A wheel of each installed package."""
    folder = tmp_path_factory.mktemp("wheels")
    said = {canonicalize_name(one.name): one.read_text("METADATA") or "" for one in metadata.distributions()}
    return {name: wheel(folder, text) for name, text in said.items() if text}


@pytest.fixture(scope="module")
def bill(wheelhouse: ModuleType, everything: dict[str, Path]) -> Bom:
    return read(wheelhouse.bill_of_materials(everything[OWN].parent))


def listed(bom: Bom) -> dict[str, Component]:
    assert bom.metadata.component is not None
    found: dict[str, Component] = {
        canonicalize_name(one.name): one for one in (*bom.components, bom.metadata.component)
    }
    assert len(found) == len(bom.components) + 1
    return found


def test_every_package_is_listed_with_the_digest_of_its_file(bill: Bom, everything: dict[str, Path]) -> None:
    found = listed(bill)
    assert found.keys() == everything.keys()
    assert len(found) > 90
    for name, file in everything.items():
        (reference,) = found[name].external_references
        (digest,) = reference.hashes
        assert str(reference.url) == file.name.replace("!", "%21").replace("+", "%2B")
        assert digest.content == hashlib.sha256(file.read_bytes()).hexdigest()


def test_names_of_packages_are_those_of_another_maker_of_package_urls(bill: Bom) -> None:
    for one in (*bill.components, bill.metadata.component):
        assert one is not None
        assert one.purl is not None
        assert one.purl == PackageURL("pypi", None, one.name, metadata.version(one.name))
        assert str(one.bom_ref) == one.purl.to_string()


def test_what_needs_what_is_what_this_interpreter_installs(bill: Bom) -> None:
    needs = {str(one.ref): {str(other.ref) for other in one.dependencies} for one in bill.dependencies}
    reference = {name: str(one.bom_ref) for name, one in listed(bill).items()}
    for name in reference:
        wanted = [Requirement(line) for line in metadata.requires(name) or ()]
        here = {
            canonicalize_name(one.name) for one in wanted if one.marker is None or one.marker.evaluate({"extra": ""})
        }
        assert {reference[other] for other in here} <= needs[reference[name]], name
    runs_on = {reference[name] for name in ("websockets", "rich", "markdown-it-py", "mdurl")}
    assert runs_on < closure(bill)
    # What only an extra, or a development tool, brings is none of it.
    assert closure(bill).isdisjoint({reference["boto3"], reference["pytest"], reference["pip"]})


def test_licences_are_the_packages_own_words(bill: Bom) -> None:
    silent = set()
    for name, one in listed(bill).items():
        said = metadata.metadata(name)
        if expression := "".join(said.get_all("License-Expression") or ()):
            (found,) = one.licenses
            assert getattr(found, "value", None) == expression
            assert is_expression(expression)
        elif not len(one.licenses):
            silent.add(name)
        else:
            for licence in one.licenses:
                assert "\n" not in (text := str(getattr(licence, "name", "")))
                assert any(
                    text in value for value in (*(said.get_all("License") or ()), *(said.get_all("Classifier") or ()))
                )
                assert len(text) < 100
    assert silent <= {"atheris"}


def test_one_that_installs_and_is_not_installed_is_excluded(bill: Bom) -> None:
    assert [one.name for one in bill.components if one.scope is not None and one.scope.value == "excluded"] == ["pip"]


METADATA = "Metadata-Version: 2.4\nName: {name}\nVersion: {version}\n{more}\n"


@pytest.mark.parametrize(
    ("more", "licences"),
    [
        ("License-Expression: MIT OR Apache-2.0\nLicense: ignored", ["MIT OR Apache-2.0"]),
        ("Classifier: License :: OSI Approved :: BSD License\nLicense: x", ["BSD License"]),
        (
            "Classifier: License :: OSI Approved :: BSD License\nClassifier: License :: OSI Approved :: BSD License",
            ["BSD License"],
        ),
        ("License: Copyright (c) Jürgen\n        \n        All of it ...", ["Copyright (c) Jürgen"]),
        ("License: UNKNOWN", []),
        ("License: ", []),
        ("", []),
    ],
)
def test_licences_that_are_said_oddly(wheelhouse: ModuleType, tmp_path: Path, more: str, licences: list[str]) -> None:
    wheel(tmp_path, METADATA.format(name=OWN, version="1", more=more))
    root = read(wheelhouse.bill_of_materials(tmp_path)).metadata.component
    assert root is not None
    assert sorted(str(getattr(one, "value", getattr(one, "name", ""))) for one in root.licenses) == licences


@pytest.mark.parametrize("version", ["1!2.0", "1.0+local.7", "2.0rc1", "1.0.post3", "2026.9.1"])
def test_odd_versions(wheelhouse: ModuleType, tmp_path: Path, version: str) -> None:
    wheel(
        tmp_path, METADATA.format(name=OWN, version="1", more="Requires-Dist: Some_Thing.else>=0; python_version>'3'")
    )
    wheel(tmp_path, METADATA.format(name="Some_Thing.else", version=version, more=""))
    bom = read(wheelhouse.bill_of_materials(tmp_path))
    (found,) = bom.components
    assert found.purl == PackageURL("pypi", None, "Some_Thing.else", version)
    assert closure(bom) == {"pkg:pypi/backbone-latency@1", str(found.bom_ref)}


def test_wheels_for_several_pythons_are_one_package(wheelhouse: ModuleType, tmp_path: Path) -> None:
    wheel(tmp_path, METADATA.format(name=OWN, version="1", more="Requires-Dist: uvloop"))
    for tag in ("cp311-cp311-manylinux2014_x86_64", "cp313-cp313-manylinux2014_x86_64"):
        wheel(tmp_path, METADATA.format(name="uvloop", version="0.23.0", more=""), tag)
    (found,) = read(wheelhouse.bill_of_materials(tmp_path)).components
    assert len({str(one.url) for one in found.external_references}) == 2


def test_a_package_with_a_version_for_each_python_is_listed_with_all_of_them(
    wheelhouse: ModuleType, tmp_path: Path
) -> None:
    wheel(tmp_path, METADATA.format(name=OWN, version="1", more="Requires-Dist: contourpy"))
    wheel(tmp_path, METADATA.format(name="contourpy", version="1.3.3", more="Requires-Dist: numpy"))
    made = {"2.4.6": ("cp311", "BSD-3-Clause", "alpha"), "2.5.5": ("cp313", "MIT", "beta")}
    for version, (tag, licence, other) in made.items():
        more = f"License-Expression: {licence}\nRequires-Dist: {other}"
        wheel(tmp_path, METADATA.format(name="numpy", version=version, more=more), f"{tag}-{tag}-linux_x86_64")
        wheel(tmp_path, METADATA.format(name=other, version="1", more=""))
    bom = read(wheelhouse.bill_of_materials(tmp_path))
    found = {str(one.version): one for one in bom.components if one.name == "numpy"}
    assert found.keys() == made.keys()
    needs = {str(one.ref): {str(other.ref) for other in one.dependencies} for one in bom.dependencies}
    for version, (tag, licence, other) in made.items():
        (reference,) = found[version].external_references
        assert tag in str(reference.url)
        assert [getattr(one, "value", None) for one in found[version].licenses] == [licence]
        assert needs[f"pkg:pypi/numpy@{version}"] == {f"pkg:pypi/{other}@1"}
    assert needs["pkg:pypi/contourpy@1.3.3"] == {f"pkg:pypi/numpy@{version}" for version in made}


def test_the_same_wheels_have_the_same_bill_and_others_another_number(wheelhouse: ModuleType, tmp_path: Path) -> None:
    numbers = []
    for more in ("", "", "Summary: x"):
        wheel(tmp_path, METADATA.format(name=OWN, version="1", more=more))
        numbers.append(wheelhouse.bill_of_materials(tmp_path)["serialNumber"])
    assert numbers[0] == numbers[1] != numbers[2]
