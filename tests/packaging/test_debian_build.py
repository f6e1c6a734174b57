"""The Debian package's build, up to where Debian's own tools take over; the lab builds and installs it."""

import os
import shlex
import shutil
import subprocess
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.process

CHECKOUT = Path(__file__).parents[2]
INSTEAD = """#!/bin/sh
make --no-print-directory --dry-run --file debian/rules override_dh_auto_build > "$TOLD"
exit 1
"""
"""Of dpkg-buildpackage: tells what would be done, and ends the build."""


@pytest.mark.parametrize(
    ("extras", "options"), [((), []), (("archive", "aws"), ["--extra", "archive", "--extra", "aws"])]
)
def test_the_libraries_of_extras_come_into_it(tmp_path: Path, extras: tuple[str, ...], options: list[str]) -> None:
    """As documented, by make: which passes its own variables on to every make below it."""
    instead = tmp_path / "dpkg-buildpackage"
    instead.write_text(INSTEAD)
    instead.chmod(0o755)
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "TOLD": str(tmp_path / "told")}
    asked = [f"EXTRAS={' '.join(extras)}"] if extras else []
    command = ["make", "--assume-old", ".venv/.packages", "--assume-old", ".venv/.installed", "deb", *asked]
    done = subprocess.run(
        command, cwd=CHECKOUT, env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    told = (tmp_path / "told").read_text()
    assert done.returncode != 0
    (line,) = [line for line in told.splitlines() if "systemd/wheelhouse" in line]
    words = shlex.split(line)
    assert words[words.index("--output") + 2 :] == options


LISTED = """#!/bin/sh
touch made
find . -printf '%P %m\\n' | sort > "$TOLD"
find . ! -newer "$BEFORE" >> "$TOLD"
exit 1
"""
"""Of dpkg-buildpackage: what it is given, the modes, and what is older than the build."""


def test_neither_age_nor_umask_of_the_checkout_comes_into_it(tmp_path: Path) -> None:
    """Debian's tools keep times that are before the commit's (SOURCE_DATE_EPOCH), and wheels keep modes."""
    instead = tmp_path / "dpkg-buildpackage"
    instead.write_text(LISTED)
    instead.chmod(0o755)
    told, before = tmp_path / "told", tmp_path / "before"
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "TOLD": str(told), "BEFORE": str(before)}
    found = []
    for umask, days in ((0o022, 0), (0o002, 900), (0o077, 9000)):
        checkout = tmp_path / f"under {umask:o}"
        shutil.copytree(CHECKOUT / "debian", checkout / "debian")
        (checkout / "pyproject.toml").write_text('version = "1.2.3"\n')
        for place in (*checkout.rglob("*"), checkout):
            place.chmod((0o777 if place.is_dir() or os.access(place, os.X_OK) else 0o666) & ~umask)
            then = time.time() - days * 86400
            os.utime(place, (then, then))
        before.touch()
        os.utime(before, (time.time() - 60, time.time() - 60))
        command: list[str | Path] = [checkout / "debian/build-package", "--output", tmp_path]
        done = subprocess.run(command, env=environment, umask=umask, capture_output=True, timeout=300, check=False)
        assert done.returncode == 1
        found.append(told.read_text())
    assert "\npyproject.toml 644\n" in found[0]
    assert "\n." not in found[0], "older than the build"
    assert found == [found[0]] * 3


@pytest.mark.parametrize(
    ("script", "arguments", "asked"),
    [("postinst", ["configure", "0.1.0-1"], "try-restart"), ("prerm", ["remove"], "stop")],
)
def test_a_unit_that_is_masked_or_fails_leaves_no_installation_undone(
    tmp_path: Path, script: str, arguments: list[str], asked: str
) -> None:
    """As public reports have it, for which systemctl's exit code is enough; what it says is shown."""
    for name, exit_code in (("systemctl", 0), ("py3clean", 0), ("deb-systemd-invoke", 1)):
        instead = tmp_path / name
        instead.write_text(f'#!/bin/sh\necho "{name} $1" >&2\nexit {exit_code}\n')
        instead.chmod(0o755)
    whole = (CHECKOUT / f"debian/backbone-latency.{script}").read_text()
    about_units = whole.rpartition("#DEBHELPER#")[2] if script == "postinst" else whole
    running = about_units.replace("[ -d /run/systemd/system ]", "true")
    assert running != about_units
    done = subprocess.run(
        ["sh", "-e", "-c", running, "sh", *arguments],
        env={"PATH": f"{tmp_path}:/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert f"deb-systemd-invoke {asked}\n" in done.stderr
    assert done.returncode == 0
