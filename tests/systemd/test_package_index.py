"""A release taken from a package index: a folder of folders (PEP 503) that Python's own server lists on loopback."""

import ensurepip
import hashlib
import shutil
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import ModuleType

import pytest

pytestmark = pytest.mark.process

SYSTEMD = Path(__file__).parents[2] / "systemd"
OWN = "backbone_latency-9.9-py3-none-any.whl"
LIBRARY = "library-1.0-py3-none-any.whl"


def digest_of(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def write_wheel(file: Path, requires: str = "", files: dict[str, bytes] | None = None) -> Path:
    name, version = file.name.split("-")[:2]
    about = f"{name}-{version}.dist-info"
    with zipfile.ZipFile(file, "w") as wheel:
        wheel.writestr(f"{about}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{requires}")
        wheel.writestr(f"{about}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        for path, content in (files or {}).items():
            wheel.writestr(path, content)
        wheel.writestr(f"{about}/RECORD", "")
    return file


def put(index: Path, name: str, file: Path) -> None:
    (index / name).mkdir(parents=True)
    shutil.move(file, index / name)


@pytest.fixture
def index(tmp_path: Path) -> Path:
    """An index with a release of ours, the library that it needs, and pip."""
    library = write_wheel(tmp_path / LIBRARY)
    (pip,) = Path(ensurepip.__file__).parent.glob("_bundled/pip-*.whl")
    constraints = "".join(
        f"{file.name.split('-')[0]}=={file.name.split('-')[1]} \\\n    --hash=sha256:{digest_of(file)}\n"
        for file in (library, pip)
    )
    share = "backbone_latency-9.9.data/data/share/backbone-latency"
    carried = {
        f"{share}/systemd/{file.relative_to(SYSTEMD)}": file.read_bytes()
        for file in SYSTEMD.rglob("*")
        if file.is_file() and "__pycache__" not in file.parts
    }
    carried[f"{share}/constraints.txt"] = constraints.encode()
    carried[f"{share}/systemd/latency-later.service"] = b"# a unit that came with this release\n"
    own = write_wheel(tmp_path / OWN, "Requires-Dist: library>=1\n", carried)
    folder = tmp_path / "index"
    put(folder, "backbone-latency", own)
    put(folder, "library", library)
    put(folder, "pip", Path(shutil.copy(pip, tmp_path)))
    return folder


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the name in the standard library
        """Say nothing."""


@contextmanager
def serving(index: Path) -> Iterator[str]:
    """Serve the folder, and give the index's URL."""
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(index))) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/"
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def url(index: Path) -> Iterator[str]:
    with serving(index) as url:
        yield url


@pytest.fixture
def maker(wheelhouse: ModuleType, url: str, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script with the tests' own pip, which saves making an environment for it."""
    monkeypatch.setenv("PIP_INDEX_URL", url)
    monkeypatch.setattr(wheelhouse, "build_environment", lambda _work: Path(sys.executable))
    monkeypatch.setattr(wheelhouse, "install_tools", lambda *_given: None)
    return wheelhouse


def test_a_wheelhouse_has_the_release_and_what_its_own_constraints_pin(
    index: Path, maker: ModuleType, tmp_path: Path
) -> None:
    own = digest_of(index / "backbone-latency" / OWN)
    maker.build(tmp_path / "made", [], None, None, release=maker.Release("9.9", own.upper()))
    sums = dict(line.split("  ")[::-1] for line in (tmp_path / "made/SHA256SUMS").read_text().splitlines())
    assert sums[OWN] == own
    assert sums[LIBRARY] == digest_of(index / "library" / LIBRARY)
    assert sum(name.startswith("pip-") for name in sums) == 1


def test_what_an_index_must_not_give_is_refused(index: Path, maker: ModuleType, tmp_path: Path) -> None:
    make = partial(maker.build, tmp_path / "made", [], None, None)
    with pytest.raises(maker.RefusedError, match="distrust the index"):
        make(release=maker.Release("9.9", "0" * 64))
    with pytest.raises(maker.RefusedError, match=r"backbone-latency 10\.0: not to be had from the package index"):
        make(release=maker.Release("10.0"))
    write_wheel(index / "library" / LIBRARY, files={"library.py": b"evil = True\n"})
    with pytest.raises(maker.RefusedError, match=f"{LIBRARY}: its digest is not in constraints.txt"):
        make(release=maker.Release("9.9"))
    write_wheel(index / "backbone-latency" / OWN)
    with pytest.raises(maker.RefusedError, match=r"carries no constraints\.txt"):
        make(release=maker.Release("9.9"))
    assert not (tmp_path / "made").exists()


def test_the_releases_own_installer_does_the_rest_with_the_releases_own_units(url: str, tmp_path: Path) -> None:
    words = ("--release", "9.9", "--index-url", url, "--role", "receiver", "--root", str(tmp_path / "a tree"))
    command = [sys.executable, str(SYSTEMD / "install"), *words, "--dry-run"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, done.stderr
    assert "would build /opt/backbone-latency/9.9-" in done.stdout
    assert "would write /usr/local/lib/systemd/system/latency-later.service" in done.stdout
    assert "would write /etc/latency/receiver.toml" in done.stdout


def test_without_a_checkout_a_release_or_a_wheel_is_asked_for(tmp_path: Path) -> None:
    """As the wheel has it: systemd/ and constraints.txt below share, and no sources."""
    shutil.copytree(SYSTEMD, tmp_path / "share/systemd")
    installer: list[str | Path] = [
        sys.executable,
        tmp_path / "share/systemd/install",
        "--dry-run",
        "--root",
        tmp_path / "tree",
    ]
    done = subprocess.run(installer, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert f"{tmp_path / 'share'}: no checkout to build from" in done.stderr
    assert "--release VERSION" in done.stderr
    assert "there is no wheelhouse to install from; see above" in done.stderr
    assert "Traceback" not in done.stderr
