"""Addresses that are taken, folders that cannot be written, disks that are full, and SIGTERM at any moment."""

import json
import signal
import socket
import time
from pathlib import Path

import pytest

from tests.processes import Program, running, until
from tests.programs import (
    address_of,
    filled,
    log_lines,
    mounted,
    port_of,
    receiver,
    rows_of,
    scrape,
    settled,
    simulator,
)

pytestmark = pytest.mark.process

RECEIVER = "daemons.receiver.main"
QUIET = ("--metrics", "127.0.0.1:0", "--allow-unsynchronized-clock", "--mode", "aws-backbone")


def refused(exit_code: int, *arguments: str) -> str:
    """Run a receiver that cannot start; return what it says."""
    with running(RECEIVER, *QUIET, *arguments, ready=None, exit_code=exit_code) as program:
        program.wait()
        (line,) = log_lines(program, "cannot go on")
        assert line["exit_code"] == exit_code
        error: str = line["error"]
        return error


def whole_rows(file: Path) -> bool:
    """Say whether there are rows, each of them whole: as it is but for a moment after a write that failed."""
    text = file.read_text()
    return text.count("\n") > 1 and text.endswith("\n")


def test_two_receivers_on_one_port(tmp_path: Path) -> None:
    files = ("--output", str(tmp_path / "run.json"), "--csv-output", str(tmp_path / "run.csv"))
    with receiver("--mode", "aws-backbone", *files) as first:
        where = address_of(first)
        before = sorted(tmp_path.iterdir())
        error = refused(4, "--listen", where, *files)
        assert error == f"{where}: cannot be listened on: Address already in use; stop what uses it or choose another"
        # The one that runs keeps its files.
        assert sorted(tmp_path.iterdir()) == before
        first.terminate()
    assert json.loads((tmp_path / "run.json").read_text())["complete"] is True


def test_a_datagram_port_in_use() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        where = f"127.0.0.1:{taken.getsockname()[1]}"
        assert "Address already in use" in refused(4, "--transport", "udp", "--listen", where)


def test_a_metrics_port_in_use() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        where = f"127.0.0.1:{taken.getsockname()[1]}"
        error = refused(4, "--listen", "127.0.0.1:0", "--metrics", where)
        assert error.startswith(f"{where}: metrics cannot listen: ")
        assert error.endswith("choose another --metrics address")


def test_an_address_that_is_not_ours() -> None:
    assert "Cannot assign requested address" in refused(4, "--listen", "192.0.2.1:0", "--allow", "10.0.0.0/16")


def test_a_folder_that_does_not_exist(tmp_path: Path) -> None:
    file = tmp_path / "absent" / "run.json"
    assert refused(5, "--listen", "127.0.0.1:0", "--output", str(file)) == (
        f"{file}: its folder does not exist; create it"
    )
    error = refused(5, "--listen", "127.0.0.1:0", "--csv-output", str(tmp_path / "absent" / "run.csv"))
    assert "cannot be created: No such file or directory; choose a folder that is writable" in error


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    with mounted(tmp_path / "locked", "ro") as folder:
        error = refused(5, "--listen", "127.0.0.1:0", "--output", str(folder / "run.json"))
        assert "Read-only file system; make room, or choose another folder" in error
        error = refused(5, "--listen", "127.0.0.1:0", "--csv-output", str(folder / "run.csv"))
        assert "cannot be created: Read-only file system; choose a folder that is writable" in error


def test_earlier_results_are_kept(tmp_path: Path) -> None:
    for name in ("run.json", "run.csv"):
        (tmp_path / name).write_text("precious")
    files = ("--output", str(tmp_path / "run.json"), "--csv-output", str(tmp_path / "run.csv"))
    with receiver("--mode", "aws-backbone", *files, "--duration", "0.1") as program:
        program.wait()
    kept = [file for file in tmp_path.iterdir() if file.read_text() == "precious"]
    assert sorted(file.suffix for file in kept) == [".csv", ".json"]
    assert len(list(tmp_path.iterdir())) == 4


def test_a_clock_that_is_not_synchronised_ends_a_timed_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # A bound of a nanosecond refuses every clock, also on a host whose clock is disciplined.
    flags = ("--mode", "aws-backbone", "--listen", "127.0.0.1:0", "--metrics", "127.0.0.1:0")
    output = tmp_path / "run.json"
    with running(
        *(RECEIVER, *flags, "--duration", "1", "--max-clock-error-ms", "1e-6", "--output", str(output)),
        ready=None,
        exit_code=3,
    ) as program:
        program.wait()
    (line,) = log_lines(program, "cannot go on")
    assert "--allow-unsynchronized-clock" in line["error"]
    assert not output.exists()


def test_without_the_hardware_stamps_that_are_required_nothing_is_begun(tmp_path: Path) -> None:
    file = tmp_path / "receiver.toml"
    file.write_text('[hardware_stamps]\nuse = "required"\ninterface = "lo"\n')
    output = tmp_path / "run.json"
    error = refused(3, "--config", str(file), "--listen", "127.0.0.1:0", "--output", str(output))
    assert "hardware stamps of interface lo: its driver cannot stamp packets" in error
    assert "ethtool -T" in error
    assert not output.exists()


def test_without_those_that_are_only_wished_for_the_kernels_are_taken_and_it_is_said(tmp_path: Path) -> None:
    file = tmp_path / "receiver.toml"
    file.write_text('[hardware_stamps]\nuse = "if available"\ninterface = "lo"\n')
    with receiver("--config", str(file), "--mode", "aws-backbone", "--listen", "127.0.0.1:0") as program:
        assert scrape(program).sum("latency_receiver_hardware_stamps_used") == 0
    (line,) = log_lines(program, "no hardware stamps: those of the kernel are taken")
    assert "interface lo" in line["why"]


def flowing(program: Program) -> None:
    until(lambda: bool(scrape(program).by("latency_receiver_events_total", "stream")), "events flow")


def test_a_full_disk_costs_rows_and_nothing_else(tmp_path: Path) -> None:
    with (
        mounted(tmp_path / "small", "size=256k") as folder,
        filled(folder, 180 << 10) as ballast,
        simulator("--rate", "1000", "--wait-for-clients", "1") as exchange,
        receiver(
            *("--mode", "baseline", "--feed-url", f"ws://{exchange.ready['near']}"),
            *("--output", str(tmp_path / "run.json"), "--csv-output", str(folder / "run.csv")),
        ) as program,
    ):
        line = json.loads(program.wait_for_log("results cannot be written; measuring goes on"))
        assert (line["error"], line["remedy"]) == (
            "No space left on device",
            "make room on the disk; writing resumes by itself",
        )
        until(lambda: scrape(program).sum("latency_receiver_result_rows_lost_total") > 0, "rows are lost")
        until(lambda: whole_rows(folder / "run.csv"), "what is in the file are whole rows")
        ballast.unlink()
        program.wait_for_log("results are written again")
        exchange.terminate()
        total = exchange.last_json()["near"]["messages_sent"]
        settled(program, "latency_receiver_events_total", total)
        program.terminate()
        summary = json.loads((tmp_path / "run.json").read_text())
        rows = rows_of(folder / "run.csv")
        # Every row is in the file or in the count of those that are not, and every one is whole.
        assert summary["csv"]["rows"] == len(rows)
        assert summary["csv"]["rows"] + summary["csv"]["rows_lost"] == total == summary["paths"]["direct"]["events"]
        numbers = [int(row["sequence_id"]) for row in rows]
        assert numbers == sorted(set(numbers))


def test_a_disk_that_is_full_at_the_end_is_an_error(tmp_path: Path) -> None:
    with (
        mounted(tmp_path / "small", "size=64k") as folder,
        receiver("--mode", "aws-backbone", "--output", str(folder / "run.json"), exit_code=5) as program,
    ):
        left = 64 << 10
        with (folder / "ballast").open("wb", buffering=0) as ballast:
            while left:
                try:
                    left -= ballast.write(bytes(min(left, 4096)))
                except OSError:
                    break
        program.terminate()
        (line,) = log_lines(program, "cannot go on")
        assert "No space left on device; make room, or choose another folder" in line["error"]
        # Whole or not at all: what was there at the start still says that it is not complete.
        assert json.loads((folder / "run.json").read_text()) == {"complete": False}
        assert sorted(file.name for file in folder.iterdir()) == ["ballast", "run.json"]


ENDED = (0, -signal.SIGTERM)
"""By itself after SIGTERM, or by the signal if Python had not got to our handler yet."""

MOMENTS = [0.0, 0.1, 0.3, 0.5, 0.7, 0.9, 1.1, 1.5]


@pytest.mark.parametrize("seconds", MOMENTS)
def test_sigterm_at_any_moment_leaves_whole_files(tmp_path: Path, seconds: float) -> None:
    with simulator("--rate", "2000") as exchange:
        flags = (
            *("--mode", "race", "--listen", "127.0.0.1:0", "--feed-url", f"ws://{exchange.ready['near']}"),
            *("--metrics", "127.0.0.1:0", "--allow-unsynchronized-clock"),
            *("--output", str(tmp_path / "run.json"), "--csv-output", str(tmp_path / "run.csv")),
        )
        with running(RECEIVER, *flags, ready=None, exit_code=ENDED) as program:
            # The moment is what is varied; nothing is waited for.
            time.sleep(seconds)
        assert "Traceback" not in program.log
    left = {file.name for file in tmp_path.iterdir()}
    assert left <= {"run.json", "run.csv"}
    if "run.json" in left:
        summary = json.loads((tmp_path / "run.json").read_text())
        if "paths" in summary:
            assert summary["csv"]["rows"] == len(rows_of(tmp_path / "run.csv"))
            assert summary["paths"]["direct"]["events"] == summary["csv"]["rows"]
        else:
            assert summary == {"complete": False}


@pytest.mark.parametrize("seconds", MOMENTS)
def test_sigterm_at_any_moment_ends_the_forwarder(seconds: float) -> None:
    with simulator("--rate", "2000") as exchange, receiver("--mode", "aws-backbone") as sink:
        with running(
            *("daemons.forwarder.main", "--feed-url", f"ws://{exchange.ready['near']}"),
            *("--destination", f"127.0.0.1:{port_of(sink)}", "--metrics", "127.0.0.1:0"),
            ready=None,
            exit_code=ENDED,
        ) as program:
            time.sleep(seconds)
        assert "Traceback" not in program.log
        totals = log_lines(program, "totals")
        if totals:
            (link,) = totals[0]["links"].values()
            assert link["forwarded"] + sum(link["dropped"].values()) == totals[0]["received"]
            page = scrape(sink)
            if page.sum("latency_receiver_link_connections_total"):
                # A path's events stand on the page from the first one on, and there may have been none.
                assert sum(page.matching("latency_receiver_events_total")) >= link["forwarded"]
