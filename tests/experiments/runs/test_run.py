"""`experiment run` as a user starts it, with real programs on loopback."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from experiments.main import main
from tests.processes import running, until

pytestmark = pytest.mark.process

SIMULATED = ("run", "--simulator", "--rehearsal", "0.5s")
LONGER = ("16s", "64s")
"""Stalls of the machine are long against the lead, so that nothing may be decided in seconds: then it takes longer."""


def experiment(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "experiments.main", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)


def manifest_in(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / "manifest.json").read_text())
    return content


def race(folder: Path, duration: str) -> subprocess.CompletedProcess[str]:
    done = experiment(*SIMULATED, "--duration", duration, "--output", str(folder))
    assert done.returncode == 0, done.stdout + done.stderr
    return done


def lead_ms(folder: Path) -> float:
    (found,) = json.loads((folder / "001-race/results.json").read_text())["race"]
    median: float = found["lead_ms"]["median"]
    return median


def decided(folder: Path) -> bool:
    return bool(manifest_in(folder)["verdict"].startswith("backbone has ")) and abs(lead_ms(folder) - 20) < 3


def test_a_race_on_the_simulator_finds_what_was_injected(tmp_path: Path) -> None:
    folder = tmp_path / "race"
    done = race(folder, "4s")
    for longer in LONGER:
        if decided(folder):
            break
        folder = tmp_path / longer
        done = race(folder, longer)
    assert "ok   samples: direct: about" in done.stdout
    assert "block 1 of 1, race, " in done.stdout
    manifest = manifest_in(folder)
    assert (manifest["complete"], manifest["ended_by"], manifest["exit_code"]) == (True, "done", 0)
    assert manifest["endpoints"]["injected"]["link_delay_ms"] == 105
    assert {path["name"] for path in manifest["config"]["path"]} == {"direct", "backbone"}
    (block,) = manifest["blocks"]
    assert block["state"] == "done"
    assert min(block["events"].values()) > 300
    assert len(block["clocks"]) == 2
    assert manifest["verdict"].startswith("backbone has events ")
    assert manifest["verdict"] in done.stdout
    # Where the machine has much else to do for all that time, the forwarder is held up in the median too.
    assert abs(lead_ms(folder) - 20) < 10

    again = experiment(*SIMULATED, "--output", str(folder))
    assert again.returncode == 2
    assert "is not empty; name a new folder" in again.stderr


def test_rounds_and_blocks_end_in_one_report(tmp_path: Path) -> None:
    folder = tmp_path / "blocks"
    # Room enough that a slow machine is done with a round before the next is due: beside three busy programs on one
    # core a round takes eight seconds.
    rounds = ("--every", "20s", "--for", "40s")
    done = experiment(*SIMULATED, "--mode", "blocks", "--duration", "1s", *rounds, "--output", str(folder))
    # The clock of a machine that nobody synchronizes forbids to compare one-way figures, and the command says so.
    assert done.returncode in {0, 3}, done.stdout + done.stderr
    manifest = manifest_in(folder)
    assert [block["name"] for block in manifest["blocks"]] == [
        "001-baseline",
        "002-aws-backbone",
        "003-baseline",
        "004-aws-backbone",
    ]
    assert manifest["complete"]
    assert "block 3 of 4 is due at " in done.stdout
    starts = [block["start"] for block in manifest["blocks"]]
    assert starts == sorted(starts)
    report = experiment("report", str(folder))
    assert report.returncode == 0, report.stderr
    assert "Over time" in (folder / "report.html").read_text()


def test_an_interrupted_run_keeps_and_compares_what_it_has(tmp_path: Path) -> None:
    folder = tmp_path / "cut"
    arguments = (*SIMULATED, "--duration", "60s", "--output", str(folder))
    with running("experiments.main", *arguments, ready=None, exit_code=130) as program:
        until(lambda: any(line.startswith("ok   samples") for line in program.lines), "the preflight is over")
        # The first rows are there when the receiver has written them.
        rows = folder / "001-race/results.csv"
        until(lambda: rows.exists() and rows.read_bytes().count(b"\n") > 200, f"rows in {rows}")
        program.send_signal(signal.SIGINT)
        assert program.wait() == 130
        output = "\n".join(program.lines)
    manifest = manifest_in(folder)
    assert (manifest["complete"], manifest["ended_by"], manifest["exit_code"]) == (False, "SIGINT", 130)
    assert manifest["blocks"][0]["state"] == "cut short"
    assert json.loads((folder / "001-race/results.json").read_text())["complete"] is False
    assert "the run was ended before its time" in output


def test_a_feed_that_is_not_there_stops_the_run_before_it_begins(tmp_path: Path) -> None:
    paths = ("--feed-url", "ws://127.0.0.1:9", "--stream", "btcusdt@trade", "--listen", "127.0.0.1:0")
    fixed = ("--wait", "1s", "--allow-unsynchronized-clock", "--no-compare", "--output", str(tmp_path / "out"))
    done = experiment("run", *paths, *fixed)
    assert done.returncode == 1, done.stderr
    assert "FAIL reachability: direct: no event within 1 s from ws://127.0.0.1:9: 127.0.0.1:9 cannot be" in done.stdout
    assert "FAIL reachability: backbone: no event within 1 s on 127.0.0.1:" in done.stdout
    assert "start latency-forwarder with this host as --destination" in done.stdout
    manifest = manifest_in(tmp_path / "out")
    assert (manifest["complete"], manifest["ended_by"]) == (False, "preflight: reachability")
    assert manifest["blocks"] == []


def test_a_receiver_that_ends_in_the_rehearsal_is_not_waited_for(tmp_path: Path) -> None:
    paths = ("--feed-url", "ws://127.0.0.1:9", "--stream", "btcusdt@trade", "--listen", "127.0.0.1:0")
    fixed = ("--wait", "1h", "--allow-unsynchronized-clock", "--no-compare", "--output", str(tmp_path / "out"))
    with running("experiments.main", "run", *paths, *fixed, ready=None, exit_code=1) as program:
        children = Path(f"/proc/{program.pid}/task/{program.pid}/children")

        def receiver() -> str:
            """Its pid, once it has written the results' first state, which it does when it is about to serve."""
            for pid in children.read_text().split():
                try:
                    words = Path(f"/proc/{pid}/cmdline").read_text().split("\0")
                except (FileNotFoundError, ProcessLookupError):
                    continue
                # Until a child is the program that it is to be, it bears its parent's command line.
                if "daemons.receiver.main" in words and Path(words[words.index("--output") + 1]).exists():
                    return pid
            return ""

        pid = ""

        def started() -> bool:
            nonlocal pid
            pid = receiver()
            return pid != ""

        # Not asked again: the kernel's list may lack a child while another ends (proc_pid_task(5)).
        until(started, "the receiver")
        os.kill(int(pid), signal.SIGKILL)
        assert program.wait(300) == 1
        output = "\n".join(program.lines)
    assert "FAIL programs: latency-receiver ended" in output
    assert manifest_in(tmp_path / "out")["ended_by"] == "preflight: programs"


def test_a_port_that_is_taken_ends_with_the_receivers_own_code(tmp_path: Path) -> None:
    with running("daemons.simulator.main", "--listen", "127.0.0.1:0") as taken:
        paths = ("--feed-url", "ws://127.0.0.1:9", "--stream", "btcusdt@trade", "--listen", taken.ready["near"])
        fixed = ("--allow-unsynchronized-clock", "--no-compare", "--output", str(tmp_path / "out"))
        done = experiment("run", *paths, *fixed)
    assert done.returncode == 4, done.stdout
    assert "FAIL ports: " in done.stdout


def test_an_impossible_clock_ends_with_code_3(tmp_path: Path) -> None:
    paths = ("--feed-url", "ws://127.0.0.1:9", "--stream", "btcusdt@trade")
    done = experiment("run", *paths, "--max-clock-error-ms", "1e-6", "--no-compare", "--output", str(tmp_path / "out"))
    assert done.returncode == 3, done.stdout
    assert "FAIL clock: this host's clock is " in done.stdout
    assert "--allow-unsynchronized-clock" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ((), "--feed-url: there is nothing to measure; name the exchange"),
        (("--simulator", "--feed-url", "ws://x"), "--feed-url: the simulator has its own endpoints"),
        (("--simulator", "--every", "1h"), "--every: says only half"),
        (("--identity", "k", "--simulator"), "--identity: there is no deployment that it could be for"),
        (("--deployment", "a", "--hosts", "b"), "--hosts: excludes --deployment"),
    ],
)
def test_what_contradicts_itself_is_refused(arguments: tuple[str, ...], text: str) -> None:
    done = CliRunner().invoke(main, ["run", *arguments])
    assert done.exit_code == 2
    assert f"error: {text}" in done.output
