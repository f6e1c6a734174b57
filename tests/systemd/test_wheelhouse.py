"""Reading constraints and writing requirements; the whole is exercised by the lab's installations."""

from pathlib import Path
from types import ModuleType

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
        "h11": ("0.16.0", ["a" * 64, "b" * 64]),
        "moto": ("5.2.5", ["c" * 64]),
    }


def test_the_projects_own_constraints_pin_what_it_runs_on_and_is_built_with(wheelhouse: ModuleType) -> None:
    pinned = wheelhouse.pins((SYSTEMD.parent / "constraints.txt").read_text())
    for name in (*wheelhouse.BUILD_TOOLS, "uvloop", "websockets", "msgspec"):
        version, digests = pinned[name]
        assert version
        assert digests


def test_pip_installs_and_is_not_installed(wheelhouse: ModuleType, tmp_path: Path) -> None:
    for name in ("pip-26.3-py3-none-any.whl", "markdown_it_py-4.3.0-py3-none-any.whl"):
        (tmp_path / name).write_text(name)
    (line,) = wheelhouse.requirements(tmp_path).splitlines()
    assert line.startswith("markdown-it-py==4.3.0 --hash=sha256:")


def test_wheels_for_several_pythons_share_a_line(wheelhouse: ModuleType, tmp_path: Path) -> None:
    for tag in ("cp311", "cp312"):
        (tmp_path / f"uvloop-0.23.0-{tag}-{tag}-manylinux2014_x86_64.whl").write_text(tag)
    (line,) = wheelhouse.requirements(tmp_path).splitlines()
    assert line.count("--hash=sha256:") == 2
