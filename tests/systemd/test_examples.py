"""The example configurations are accepted by the programs they are for."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.process

EXAMPLES = Path(__file__).parents[2] / "systemd" / "examples"
DAEMONS = sorted(path.stem for path in EXAMPLES.glob("*.toml"))

OFFERED = re.compile(r"(?m)^# (\[.*\]|[a-z_]+ = .*)$")
"""A setting or a section that has only to be uncommented."""


def run(daemon: str, *arguments: str, credentials: Path | None = None) -> subprocess.CompletedProcess[str]:
    program = Path(sys.executable).with_name(f"latency-{daemon}")
    environment = {name: value for name, value in os.environ.items() if name != "CREDENTIALS_DIRECTORY"}
    if credentials:
        environment["CREDENTIALS_DIRECTORY"] = str(credentials)
    return subprocess.run([program, *arguments], env=environment, capture_output=True, text=True, check=False)


def test_every_configured_daemon_has_an_example() -> None:
    assert DAEMONS == ["forwarder", "probe", "receiver"]


def check(daemon: str, file: Path, place: Path) -> None:
    (place / "link.key").write_text("0123456789abcdef" * 4)
    (place / "link.key").chmod(0o400)
    done = run(daemon, "--config", str(file), "--check-config", credentials=place)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "the configuration is good\n"


@pytest.mark.parametrize("daemon", DAEMONS)
def test_an_example_is_accepted_by_hand_with_a_word_about_what_systemd_alone_can_see(daemon: str) -> None:
    file = EXAMPLES / f"{daemon}.toml"
    done = run(daemon, "--config", str(file), "--check-config")
    assert (done.returncode, done.stderr) == (0, "")
    good, *words = done.stdout.splitlines()
    assert good == "the configuration is good"
    keys = re.findall(r'(?m)^key_file = "(credential:[^"]+)"', file.read_text())
    assert [re.findall(r"'(credential:[^']+)' is handed over by systemd alone", word)[0] for word in words] == keys
    # To start is another matter.
    if keys:
        started = run(daemon, "--config", str(file), "--metrics", "127.0.0.1:0")
        assert started.returncode == 2
        assert "start by systemd, or give a file's path" in started.stderr


@pytest.mark.parametrize("daemon", DAEMONS)
def test_what_is_wrong_beside_an_unseen_credential_is_found(tmp_path: Path, daemon: str) -> None:
    text = (EXAMPLES / f"{daemon}.toml").read_text()
    wrong = {
        "forwarder": ('address = "', 'address = "nowhere'),
        "receiver": ('listen = "0.0.0.0:8080"', 'listen = "0.0.0.0:8080"\nallowed_sources = ["10.0.0.1/8"]'),
        "probe": ('url = "https://', 'url = "ftp://'),
    }
    assert wrong[daemon][0] in text
    text = text.replace(*wrong[daemon], 1).replace("nowhere", "nowhere:x", 1)
    (tmp_path / "wrong.toml").write_text(text)
    done = run(daemon, "--config", str(tmp_path / "wrong.toml"), "--check-config")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: ")
    assert "credential" not in done.stderr


@pytest.mark.parametrize("daemon", DAEMONS)
def test_an_example_is_accepted(tmp_path: Path, daemon: str) -> None:
    check(daemon, EXAMPLES / f"{daemon}.toml", tmp_path)


@pytest.mark.parametrize("daemon", DAEMONS)
def test_an_example_with_all_that_it_offers_is_accepted(tmp_path: Path, daemon: str) -> None:
    text, offered = OFFERED.subn(r"\1", (EXAMPLES / f"{daemon}.toml").read_text())
    assert offered
    everything = tmp_path / "everything.toml"
    everything.write_text(text)
    check(daemon, everything, tmp_path)


def test_the_simulators_flags_are_accepted() -> None:
    (line,) = [line for line in (EXAMPLES / "simulator.env").read_text().splitlines() if line[:1] not in ("#", "")]
    name, _, flags = line.partition("=")
    assert name == "SIMULATOR_FLAGS"
    # A port of the kernel's choice, and no longer than it takes to say so.
    done = run("simulator", *shlex.split(flags), "--listen", "127.0.0.1:0", "--duration", "0.01")
    assert done.returncode == 0, done.stderr
