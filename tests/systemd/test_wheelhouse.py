"""Reading constraints and writing requirements; the whole is exercised by the lab's installations."""

import os
import platform
import re
import sys
import tomllib
import zipfile
from functools import partial
from importlib import metadata
from pathlib import Path
from types import ModuleType

import pytest
from packaging.markers import Marker
from packaging.requirements import Requirement

SYSTEMD = Path(__file__).parents[2] / "systemd"
CONSTRAINTS = """\
H11==0.16.0 \\
    --hash=sha256:{a} \\
    --hash=sha256:{b}
    # via backbone-latency (pyproject.toml)
moto[server]==5.2.5 ; python_version >= "3.11" \\
    --hash=sha256:{c}
""".format(a="a" * 64, b="b" * 64, c="c" * 64)


def test_constraints_are_read_with_all_their_hashes(wheelhouse: ModuleType) -> None:
    assert wheelhouse.pins(CONSTRAINTS) == {
        "h11": [("0.16.0", ["a" * 64, "b" * 64], "")],
        "moto": [("5.2.5", ["c" * 64], 'python_version >= "3.11"')],
    }


def test_the_projects_own_constraints_pin_what_it_runs_on_and_is_built_with(wheelhouse: ModuleType) -> None:
    pinned = wheelhouse.pins((SYSTEMD.parent / "constraints.txt").read_text())
    for name in (*wheelhouse.BUILD_TOOLS, "uvloop", "websockets", "msgspec"):
        ((version, digests, _marker),) = pinned[name]
        assert version
        assert digests


def test_pip_installs_and_is_not_installed(wheelhouse: ModuleType, tmp_path: Path) -> None:
    for name in ("pip-26.3-py3-none-any.whl", "markdown_it_py-4.3.0-py3-none-any.whl"):
        (tmp_path / name).write_text(name)
    (line,) = wheelhouse.requirements(tmp_path, {}).splitlines()
    assert line.startswith("markdown-it-py==4.3.0 --hash=sha256:")


def test_each_python_gets_the_version_that_is_pinned_for_it(wheelhouse: ModuleType, tmp_path: Path) -> None:
    """The markers of the project's own pins, against packaging's evaluation of them."""
    pinned = wheelhouse.pins((SYSTEMD.parent / "constraints.txt").read_text())
    several = {name: found for name, found in pinned.items() if len(found) > 1}
    assert "numpy" in several
    for version in ("3.11", "3.13", ""):
        found = wheelhouse.chosen(Path(sys.executable), pinned, version)
        where = {"python_version": version, "python_full_version": f"{version}.99"} if version else None
        for name, pins in several.items():
            fitting = [pin for pin in pins if Marker(pin.marker).evaluate(where)]
            assert fitting == ([found[name]] if name in found else [])
        assert all(found[name] == one for name, (one, *others) in pinned.items() if not others)
    # On a host that the wheelhouse comes to, pip chooses likewise, by the line's marker.
    for pin in several["numpy"]:
        (tmp_path / f"numpy-{pin.version}-cp3-cp3-manylinux2014_x86_64.whl").write_text(pin.version)
    lines = wheelhouse.requirements(tmp_path, pinned).splitlines()
    assert {Requirement(line.partition(" --hash")[0]).marker for line in lines} == {
        Marker(pin.marker) for pin in several["numpy"]
    }


@pytest.mark.parametrize(
    ("tag", "machine"),
    [
        ("manylinux_2_28_aarch64", "aarch64"),
        ("manylinux2014_x86_64", "x86_64"),
        ("musllinux_1_2_aarch64", "aarch64"),
        ("linux_armv7l", "armv7l"),
        (None, platform.machine()),
    ],
)
def test_a_pin_is_chosen_for_the_hosts_machine_and_not_for_this_one(
    wheelhouse: ModuleType, tag: str | None, machine: str
) -> None:
    machines = ("aarch64", "armv7l", "x86_64")
    pinned = {"one": [wheelhouse.Pin(each, [], f"platform_machine == '{each}'") for each in machines]}
    found = wheelhouse.chosen(Path(sys.executable), pinned, "", tag)
    assert found["one"].version == machine


def test_wheels_for_several_pythons_share_a_line(wheelhouse: ModuleType, tmp_path: Path) -> None:
    for tag in ("cp311", "cp312"):
        (tmp_path / f"uvloop-0.23.0-{tag}-{tag}-manylinux2014_x86_64.whl").write_text(tag)
    (line,) = wheelhouse.requirements(tmp_path, {}).splitlines()
    assert line.count("--hash=sha256:") == 2


def own_wheel(folder: Path) -> Path:
    """Make a wheel with this installation's metadata."""
    file = folder / "backbone_latency-0.1.0-py3-none-any.whl"
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("backbone_latency-0.1.0.dist-info/METADATA", str(metadata.metadata("backbone-latency")))
    return file


def test_the_projects_own_wheel_does_not_tell_the_umask_of_the_checkout(
    wheelhouse: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wheels keep the modes of files (umask 002, 022 and 077 are all found on hosts)."""
    found = []
    for number, (plain, program) in enumerate([(0o664, 0o775), (0o644, 0o755), (0o600, 0o700)]):
        checkout, work = tmp_path / f"checkout{number}", tmp_path / f"work{number}"
        (checkout / "package").mkdir(parents=True)
        for name, mode in (("pyproject.toml", plain), ("package/module.py", plain), ("package/script", program)):
            (checkout / name).write_text(name)
            (checkout / name).chmod(mode)
        (checkout / "package").chmod(program)
        # In pip's place: a list of the modes, of a file that it makes itself too.
        python = tmp_path / "python"
        python.write_text(
            '#!/bin/sh\nfor source; do :; done\ncd "$source" && mkdir ../own && touch made && '
            'find . -printf "%P %m\\n" | sort > ../own/one.whl\n'
        )
        python.chmod(0o755)
        work.mkdir()
        monkeypatch.setattr(wheelhouse, "CHECKOUT", checkout)
        before = os.umask(0o077 if number else 0o002)
        try:
            found.append(wheelhouse.own_wheel(python, work).read_text())
        finally:
            os.umask(before)
    assert found[0].split() == [
        "755",
        "made",
        "644",
        "package",
        "755",
        "package/module.py",
        "644",
        "package/script",
        "755",
        "pyproject.toml",
        "644",
    ]
    assert found == [found[0]] * 3


def names(needed: list[str]) -> set[str]:
    return {re.split(r"[^A-Za-z0-9_-]", one)[0] for one in needed}


def test_the_libraries_of_extras_come_when_they_are_asked_for(wheelhouse: ModuleType, tmp_path: Path) -> None:
    wheel, project = own_wheel(tmp_path), tomllib.loads((SYSTEMD.parent / "pyproject.toml").read_text())["project"]
    assert "pyarrow" not in names(wheelhouse.requires(wheel))
    for asked in (("archive",), ("aws",), ("archive", "aws")):
        wanted = names([one for extra in asked for one in project["optional-dependencies"][extra]])
        for needed in (wheelhouse.requires(wheel, asked), wheelhouse.declared(asked)):
            assert names(needed) == names(project["dependencies"]) | wanted
            assert not any("extra" in one for one in needed)
    for ask in (partial(wheelhouse.requires, wheel), wheelhouse.declared):
        with pytest.raises(wheelhouse.RefusedError, match=r"archiv: no such extra; there are .*archive"):
            ask(["archiv"])
