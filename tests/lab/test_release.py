"""systemd/install --release: the real release from an index that lists folders, into a tree that will be a host."""

import hashlib
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.lab.bundle import PLACE, SYSTEM_PYTHON
from tests.systemd.test_package_index import serving

pytestmark = pytest.mark.lab


def test_a_release_from_an_index_runs(bundle: Path, tmp_path: Path) -> None:
    wheelhouse = bundle / PLACE / "wheelhouse"
    for wheel in wheelhouse.glob("*.whl"):
        place = tmp_path / "index" / re.sub(r"[-_.]+", "-", wheel.name.split("-")[0]).lower()
        place.mkdir(parents=True, exist_ok=True)
        shutil.copy(wheel, place)
    (own,) = wheelhouse.glob("backbone_latency-*.whl")
    tree = tmp_path / "tree"
    (tree / "etc").mkdir(parents=True)
    with serving(tmp_path / "index") as url:
        words = ("--release", own.name.split("-")[1], "--sha256", hashlib.sha256(own.read_bytes()).hexdigest())
        where = ("--index-url", url, "--root", str(tree), "--role", "receiver", "--time-source", "keep")
        installer = str(bundle / PLACE / "systemd/install")
        subprocess.run([SYSTEM_PYTHON, installer, *words, *where], check=True, timeout=900)
    current = tree / "opt/backbone-latency/current"
    python: list[str | Path] = [current / "bin/python", "-m", "daemons.receiver.main", "--version"]
    said = subprocess.run(python, capture_output=True, text=True, check=True, cwd=tmp_path)
    assert said.stdout.split()[-1] == own.name.split("-")[1]
    for program in ("latency-receiver", "latency-probe"):
        assert (current / "bin" / program).read_text().startswith("#!/opt/backbone-latency/")
    # An upgrade of the distribution, which gives python3 to another version, leaves the release its own.
    assert re.fullmatch(r"python3\.\d+", (current / "bin/python").readlink().name)
    assert (current / "libexec/restart-delay").stat().st_mode & 0o111
    unit = "usr/local/lib/systemd/system/latency-receiver.service"
    assert (tree / unit).read_bytes() == (bundle / PLACE / "systemd/latency-receiver.service").read_bytes()
    assert (tree / "etc/latency/link.key").stat().st_mode & 0o777 == 0o600
