"""The container image's recipe: its one step that does something is done here, in folders of the test.

The whole is built by a builder of images where there is one (docs/operations.md), which needs a base to build on.
"""

import base64
import ensurepip
import hashlib
import json
import re
import shutil
import subprocess
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
WHEEL = "daemon-1.0-py3-none-any.whl"


def instructions() -> list[tuple[str, str]]:
    """Return the instructions in order, lines joined, comments left out."""
    text = re.sub(r"(?m)^\s*#.*\n", "", (ROOT / "Containerfile").read_text()).replace("\\\n", " ")
    return [
        (word, " ".join(rest.split())) for word, _, rest in (line.partition(" ") for line in text.splitlines()) if word
    ]


def only(word: str) -> str:
    (found,) = (rest for name, rest in instructions() if name == word)
    return found


def test_it_runs_a_program_of_ours_as_nobody() -> None:
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    assert json.loads(only("CMD"))[0] in scripts
    user, group = map(int, only("USER").split(":"))
    assert user > 60_000
    assert group > 60_000
    assert [name for name, _ in instructions()][-3:] == ["USER", "STOPSIGNAL", "CMD"], "nothing is done by another user"


def test_it_is_made_of_the_wheelhouse_alone() -> None:
    copies = [rest for name, rest in instructions() if name == "COPY" and "--from=" not in rest]
    assert [copy.split()[0] for copy in copies] == ["dist/wheelhouse"]
    assert (ROOT / ".containerignore").read_text().split() == ["*", "!dist/wheelhouse"]
    assert "--no-index" in only("RUN")


def filled(folder: Path) -> None:
    """Make a wheelhouse of one program, in the shape that systemd/wheelhouse has."""
    folder.mkdir()
    (pip,) = Path(ensurepip.__file__).parent.glob("_bundled/pip-*.whl")
    shutil.copy(pip, folder)
    about = "daemon-1.0.dist-info"
    files = {
        "daemon.py": "def main(): print('I serve')\n",
        f"{about}/METADATA": "Metadata-Version: 2.1\nName: daemon\nVersion: 1.0\n",
        f"{about}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{about}/entry_points.txt": "[console_scripts]\ndaemon = daemon:main\n",
    }
    with zipfile.ZipFile(folder / WHEEL, "w") as wheel:
        for name, text in files.items():
            wheel.writestr(name, text)
        digests = {name: hashlib.sha256(text.encode()).digest() for name, text in files.items()}
        lines = [
            f"{name},sha256={base64.urlsafe_b64encode(digest).decode().rstrip('=')},"
            for name, digest in digests.items()
        ]
        wheel.writestr(f"{about}/RECORD", "\n".join([*lines, f"{about}/RECORD,,", ""]))
    (folder / "requirements.txt").write_text(f"daemon==1.0 --hash=sha256:{digest_of(folder / WHEEL)}\n")
    summed(folder)


def digest_of(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def summed(folder: Path) -> None:
    files = sorted(file for file in folder.iterdir() if file.name != "SHA256SUMS")
    (folder / "SHA256SUMS").write_text("".join(f"{digest_of(file)}  {file.name}\n" for file in files))


def step(folder: Path) -> subprocess.CompletedProcess[str]:
    """Do what the image does, with folders of ours for its own."""
    script = only("RUN").replace("/wheelhouse", str(folder / "wheelhouse"))
    script = script.replace("/opt/backbone-latency", str(folder / "opt"))
    return subprocess.run(["/bin/sh", "-c", script], capture_output=True, text=True, check=False)


@pytest.mark.process
def test_its_step_installs_offline_what_the_hashes_say(tmp_path: Path) -> None:
    filled(tmp_path / "wheelhouse")
    done = step(tmp_path)
    assert done.returncode == 0, done.stderr
    assert (
        subprocess.run([tmp_path / "opt/bin/daemon"], capture_output=True, text=True, check=True).stdout == "I serve\n"
    )
    assert not (tmp_path / "opt/bin/pip").exists()


@pytest.mark.process
@pytest.mark.parametrize("also_the_sums", [False, True])
def test_its_step_refuses_a_wheel_that_was_changed(tmp_path: Path, *, also_the_sums: bool) -> None:
    filled(tmp_path / "wheelhouse")
    with zipfile.ZipFile(tmp_path / "wheelhouse" / WHEEL, "a") as wheel:
        wheel.writestr("more.py", "")
    if also_the_sums:
        summed(tmp_path / "wheelhouse")
    done = step(tmp_path)
    assert done.returncode
    assert (
        "THESE PACKAGES DO NOT MATCH THE HASHES" if also_the_sums else f"{WHEEL}: FAILED"
    ) in done.stdout + done.stderr
    assert not (tmp_path / "opt/bin/daemon").exists()
