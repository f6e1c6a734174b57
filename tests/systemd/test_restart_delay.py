"""The growing delay between restarts, with a clock and a sleep of our own."""

import os
import subprocess
from pathlib import Path

import pytest

pytestmark = pytest.mark.process

PROGRAM = Path(__file__).parents[2] / "systemd" / "restart-delay"
NOW = 1_000_000


@pytest.fixture
def runtime(tmp_path: Path) -> Path:
    """A runtime directory, and programs that stand in for ``date`` and ``sleep``."""
    directory = tmp_path / "runtime"
    directory.mkdir()
    programs = tmp_path / "programs"
    programs.mkdir()
    for name, script in (("date", f'cat "{tmp_path}/now"'), ("sleep", f'echo "$1" >> "{tmp_path}/slept"')):
        program = programs / name
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)
    set_clock(directory, NOW)
    return directory


def set_clock(runtime: Path, now: int) -> None:
    (runtime.parent / "now").write_text(f"{now}\n")


def run(runtime: Path, verb: str, result: str = "exit-code") -> str:
    environment = {
        "PATH": f"{runtime.parent / 'programs'}:{os.environ['PATH']}",
        "RUNTIME_DIRECTORY": str(runtime),
        "SERVICE_RESULT": result,
    }
    done = subprocess.run([PROGRAM, verb], env=environment, check=True, capture_output=True, text=True)
    return done.stdout


def slept(runtime: Path) -> list[int]:
    file = runtime.parent / "slept"
    return [int(line) for line in file.read_text().split()] if file.exists() else []


def test_a_first_start_and_a_first_failure_do_not_wait(runtime: Path) -> None:
    assert run(runtime, "wait") == ""
    run(runtime, "record")
    assert run(runtime, "wait") == ""
    assert slept(runtime) == []


def test_the_delay_grows_to_its_bound(runtime: Path) -> None:
    for second in range(9):
        set_clock(runtime, NOW + second)
        run(runtime, "record", "watchdog")
        run(runtime, "wait")
    assert slept(runtime) == [1, 2, 4, 8, 15, 15, 15, 15]


def test_a_clean_end_is_no_failure(runtime: Path) -> None:
    for _ in range(5):
        run(runtime, "record", "success")
    run(runtime, "wait")
    assert slept(runtime) == []


def test_good_behaviour_is_rewarded(runtime: Path) -> None:
    for _ in range(6):
        run(runtime, "record")
    set_clock(runtime, NOW + 301)
    run(runtime, "record")
    run(runtime, "wait")
    assert slept(runtime) == []
    assert (runtime / "failures").read_text() == f"{NOW + 301}\n"


def test_failures_from_the_future_of_a_clock_that_was_set_back_are_forgotten(runtime: Path) -> None:
    for _ in range(6):
        run(runtime, "record")
    set_clock(runtime, NOW - 3600)
    run(runtime, "wait")
    assert slept(runtime) == []


def test_the_wait_is_told(runtime: Path) -> None:
    for _ in range(3):
        run(runtime, "record")
    assert run(runtime, "wait") == "waiting 2 s before starting: 3 failures in the last 300 s\n"
