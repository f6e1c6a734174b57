import io
import tarfile
from pathlib import Path

import pytest

from provisioning.bundle import archive, build
from provisioning.errors import ProvisionError


def test_the_same_files_make_the_same_bytes(tmp_path: Path) -> None:
    one = tmp_path / "one"
    one.write_text("1")
    two = tmp_path / "two"
    two.write_text("2")
    two.chmod(0o755)
    packed = archive({"b/two": two, "a/one": one})
    two.touch()
    assert archive({"a/one": one, "b/two": two}) == packed
    with tarfile.open(fileobj=io.BytesIO(packed)) as tar:
        assert [(member.name, member.mode) for member in tar] == [("a/one", 0o644), ("b/two", 0o755)]


def checkout(tmp_path: Path, program: str) -> Path:
    (tmp_path / "systemd/overlay/__pycache__").mkdir(parents=True)
    (tmp_path / "systemd/install").write_text("install")
    (tmp_path / "systemd/overlay/x.v4").write_text("x")
    (tmp_path / "prometheus/rules").mkdir(parents=True)
    (tmp_path / "prometheus/rules/y.yml").write_text("y")
    (tmp_path / "systemd/overlay/__pycache__/x.pyc").write_text("x")
    (tmp_path / "systemd/wheelhouse").write_text(program)
    return tmp_path


@pytest.mark.process
def test_a_bundle_holds_the_wheelhouse_and_systemd(tmp_path: Path) -> None:
    program = (
        "import pathlib, sys; place = pathlib.Path(sys.argv[sys.argv.index('--output') + 1]); place.mkdir();"
        "(place / 'SHA256SUMS').write_text(' '.join(sys.argv[3:]))"
    )
    packed = build(checkout(tmp_path, program), ["3.11", "3.12"])
    with tarfile.open(fileobj=io.BytesIO(packed)) as tar:
        names = tar.getnames()
        told = tar.extractfile("wheelhouse/SHA256SUMS")
        assert told is not None
        assert told.read() == b"--platform manylinux_2_28_x86_64 --python 3.11 --python 3.12"
    assert names == [
        "prometheus/rules/y.yml",
        "systemd/install",
        "systemd/overlay/x.v4",
        "systemd/wheelhouse",
        "wheelhouse/SHA256SUMS",
    ]


@pytest.mark.process
def test_a_wheelhouse_that_cannot_be_made_says_why(tmp_path: Path) -> None:
    place = checkout(tmp_path, "import sys; sys.exit('error: evil.whl: its digest is not in constraints.txt')")
    with pytest.raises(ProvisionError, match=r"bundle: evil\.whl: its digest is not in constraints\.txt; correct it"):
        build(place, ["3.11"])


def test_elsewhere_than_in_a_checkout_it_says_so(tmp_path: Path) -> None:
    with pytest.raises(ProvisionError, match="not a checkout of the project; run provision from one, or give --bundle"):
        build(tmp_path, ["3.11"])
