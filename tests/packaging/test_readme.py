"""The README's first page, command by command, with the wheel alone in an empty folder."""

import json
import re
import subprocess
from pathlib import Path

import pytest

from tests.packaging.test_wheel import CHECKOUT, Installed, built, exported
from tests.programs import free_port

pytestmark = pytest.mark.process

ELSEWHERE = (
    "make test",  # is this
    "make wheelhouse",  # these three: tests/lab/test_install.py
    "sudo systemd/install",
    "sudo systemctl",
)
NEEDS_MORE = (
    "experiment run --config",
    "experiment run --deployment",
    "experiment watch",
    "latency-probe --target",
    "provision ",
)
"""What needs hosts, an account or the internet: parsed to its end, and tested elsewhere."""
SHORTER = {"--duration 20s": "--duration 3s", "--duration 30": "--duration 4"}


def commands() -> list[str]:
    """Every line of the page's shell blocks, without comments; a target of make as what the Makefile does for it."""
    page = (CHECKOUT / "README.md").read_text().partition("## On hosts")[0]
    recipes = dict(
        re.findall(r"^([a-z-]+):.*?##.*\n\t@?(?:\$\(BIN\)/)(.+)$", (CHECKOUT / "Makefile").read_text(), re.MULTILINE)
    )
    found = []
    for block in re.findall(r"^```sh\n(.*?)^```", page, re.MULTILINE | re.DOTALL):
        for line in block.replace("\\\n", " ").splitlines():
            command = line.partition(" #")[0].strip().removeprefix(".venv/bin/")
            made = command.removeprefix("make ")
            found.append(" ".join((recipes[made] if command != made and made in recipes else command).split()))
    return [command for command in found if command]


def shortened(command: str, ports: dict[str, str]) -> list[str]:
    for long, short in SHORTER.items():
        command = command.replace(long, short)
    command = re.sub(r"127\.0\.0\.1:(\d+)", lambda found: f"127.0.0.1:{ports[found[1]]}", command)
    return [*command.split(), *(("--duration", "3") if command == "experiment demo" else ())]


class Ports(dict[str, str]):
    """A free port for each that the README names: its own may be somebody's."""

    def __missing__(self, port: str) -> str:
        self[port] = str(free_port())
        return self[port]


def by_hand(installed: Installed, lines: list[list[str]]) -> None:
    """Run the three terminals' commands side by side; the receiver's ends by itself."""
    simulator, receiver, forwarder = lines
    metrics = ["--metrics", "127.0.0.1:0"]
    started: list[subprocess.Popen[bytes]] = []
    try:
        for words in (simulator, [*forwarder, *metrics]):
            program = [str(installed.programs / words[0]), *words[1:]]
            started.append(subprocess.Popen(program, cwd=installed.folder, stderr=subprocess.DEVNULL))
        done = installed.run(*receiver, *metrics)
        assert done.returncode == 0, done.stderr
    finally:
        for process in started:
            process.terminate()
        assert [process.wait(300) for process in started] == [0, 0]


def test_every_command_of_the_first_page_does_what_it_says(tmp_path: Path) -> None:
    installed = Installed(built(exported(tmp_path / "source"), tmp_path / "dist"), tmp_path)
    page, ports = commands(), Ports()
    assert len(page) >= 12, page
    ran, terminals = 0, []
    for command in page:
        if command.startswith(ELSEWHERE):
            continue
        if command.startswith(NEEDS_MORE):
            done = installed.run(*command.split(), "--help")
        elif command.startswith("latency-"):
            terminals.append(shortened(command, ports))
            continue
        else:
            done = installed.run(*shortened(command, ports))
            ran += 1
        assert done.returncode == 0, (command, done.stdout, done.stderr)
    assert ran >= 4
    by_hand(installed, terminals)
    raced = json.loads((installed.folder / "results.json").read_text())
    assert set(raced["paths"]) == {"direct", "backbone"}
    assert raced["race"][0]["pairs"] > 0
    assert (installed.folder / "demo-results" / "report.html").exists()
