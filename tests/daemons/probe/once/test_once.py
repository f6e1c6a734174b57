"""latency-probe --once at a terminal and for a program: the counts asked for, and every figure whole."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.daemons.probe.server import Authority, serving
from tests.terminal import on_terminal, program

pytestmark = pytest.mark.process

MODULE = "daemons.probe.main"
WIDTHS = [40, 60, 80, 140]


def measured(url: str, file: Path, *arguments: str) -> dict[str, Any]:
    command = program(MODULE, "--once", "--target", url, "--json", str(file), "--interval", "20ms", *arguments)
    subprocess.run(command, capture_output=True, timeout=300, check=False)
    (found,) = json.loads(file.read_text())["targets"].values()
    return dict(found)


def counts(found: dict[str, Any]) -> dict[str, tuple[int, int]]:
    """Give successes and failures by kind of connection."""
    return {
        kind: (one["total"]["sample_count"], sum(one["failures"].values()))
        for kind, one in found["connections"].items()
    }


@pytest.mark.parametrize("width", WIDTHS)
def test_the_display_and_the_table_are_whole_at_every_width(width: int, authority: Authority, tmp_path: Path) -> None:
    file = tmp_path / "out.json"
    with serving(authority.context()) as server:
        command = program(
            *(MODULE, "--once", "--target", f"https://localhost:{server.port}/", "--ca-file", str(authority.file)),
            *("--count", "25", "--interval", "30ms", "--json", str(file)),
        )
        shown = on_terminal(command, width)
    assert shown.code == 0
    assert shown.too_long == []
    assert "…" not in shown.text
    # It moved while it measured, from the first requests on, and said how far it was.
    made = [int(number) for number in re.findall(r"(\d+) of 50 requests", shown.text)]
    assert made == sorted(made)
    assert made[0] < 25 < made[-1]
    # What the display leaves is the table, with the figures of the file.
    last = shown.text[shown.text.rindex("requests") :]
    (found,) = json.loads(file.read_text())["targets"].values()
    for kind in ("cold", "warm"):
        one = found["connections"][kind]
        for value in (one["total"]["median_ms"], one["total"]["max_ms"], one["phases"]["processing"]["median_ms"]):
            assert f"{value:.2f}" in last


@pytest.mark.parametrize("count", [1, 2, 5])
def test_so_many_are_made_as_were_asked_for(count: int, authority: Authority, tmp_path: Path) -> None:
    flags = ("--count", str(count), "--ca-file", str(authority.file))
    with serving(authority.context()) as server:
        url = f"https://localhost:{server.port}/"
        found = measured(url, tmp_path / "both.json", *flags)
        assert counts(found) == {"cold": (count, 0), "warm": (count, 0)}
        assert (server.seen.connections, len(server.seen.requests)) == (count, 2 * count)
        only = measured(url, tmp_path / "warm.json", *flags, "--connections", "warm")
        assert counts(only) == {"warm": (count, 0)}
        assert only["remade"] == 1
        assert counts(measured(url, tmp_path / "cold.json", *flags, "--connections", "cold")) == {"cold": (count, 0)}


@pytest.mark.parametrize("count", [1, 2, 5])
def test_against_a_certificate_that_is_refused_too(count: int, authority: Authority, tmp_path: Path) -> None:
    with serving(authority.context()) as server:
        # Of an authority that this host does not trust.
        found = measured(f"https://localhost:{server.port}/", tmp_path / "out.json", "--count", str(count))
    assert counts(found) == {"cold": (0, count), "warm": (0, count)}
    assert {reason for one in found["connections"].values() for reason in one["failures"]} == {"certificate"}


def test_a_server_that_keeps_no_connection_is_given_up(authority: Authority, tmp_path: Path) -> None:
    flags = ("--count", "3", "--ca-file", str(authority.file))
    with serving(authority.context(), headers=("Connection: close",)) as server:
        found = measured(f"https://localhost:{server.port}/", tmp_path / "out.json", *flags)
    assert counts(found) == {"cold": (3, 0)}
    assert found["remade"] == 2 * 3


def test_json_to_standard_output_is_nothing_but_json(authority: Authority) -> None:
    with serving(authority.context()) as server:
        command = program(
            *(MODULE, "--once", "--target", f"https://localhost:{server.port}/", "--ca-file", str(authority.file)),
            *("--count", "2", "--interval", "20ms", "--json", "-"),
        )
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=True)
    found = json.loads(done.stdout)["targets"]["localhost"]
    assert counts(found) == {"cold": (2, 0), "warm": (2, 0)}
    assert "requests" in done.stderr.splitlines()[1]


LINES = """
import structlog
from daemons.probe.once.view import _logs_above
from daemons.service.log import logs
from daemons.service.console.display import Display
from daemons.service.console.screen import screen
from rich.text import Text
logs.configure("console", "info")
with Display(screen()) as display, _logs_above(display):
    for number in range(5):
        display.update(lambda: Text(f"moving {number}"))
        structlog.get_logger("x").warning(f"a line {number}")
"""


def test_a_log_line_is_not_glued_to_what_moves() -> None:
    shown = on_terminal([sys.executable, "-c", LINES], 80)
    logged = [line for line in shown.lines if "a line" in line]
    assert [line[9:] for line in logged] == [f"WARNING a line {number}" for number in range(5)]


def test_a_log_that_goes_to_a_file_stays_there_while_something_moves(tmp_path: Path) -> None:
    command = ["sh", "-c", f'exec "$0" -c "$1" 2>{tmp_path}/log', sys.executable, LINES]
    shown = on_terminal(command, 80)
    assert "a line" not in shown.text
    assert (tmp_path / "log").read_text().count("a line") == 5
