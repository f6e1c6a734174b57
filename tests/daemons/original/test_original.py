"""The original Rust programs' own files and command lines, run against the simulated exchange."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.processes import running
from tests.programs import free_port, rows_of, settled, simulator

pytestmark = pytest.mark.process

TOKYO = "daemons.original.tokyo"
FRANKFURT = "daemons.original.frankfurt"
STREAM = "/ws/btcusdt@trade"
KEYS = (
    *("setup_type", "sample_count", "events_lost", "avg_latency_ms", "median_latency_ms", "p95_latency_ms"),
    *("p99_latency_ms", "min_latency_ms", "max_latency_ms", "jitter_stddev_ms"),
    *("backbone_avg_latency_ms", "backbone_median_latency_ms"),
)
COLUMNS = (
    *("sequence_id", "binance_time", "tokyo_time", "frankfurt_time"),
    *("end_to_end_latency_ms", "backbone_latency_ms"),
)
EVENTS = 200


def written(folder: Path, name: str, **content: object) -> str:
    file = folder / name
    file.write_text(json.dumps(content))
    return str(file)


def test_their_files_and_command_lines_give_their_results(tmp_path: Path) -> None:
    port = free_port()
    output = tmp_path / "backbone-results.json"
    flags = (
        "--rate",
        "400",
        "--stream",
        "btcusdt@trade",
        "--wait-for-clients",
        "1",
        "--stop-after-events",
        str(EVENTS),
    )
    with simulator(*flags) as exchange:
        url = f"ws://{exchange.ready['near']}{STREAM}"
        tokyo = written(
            tmp_path,
            "tokyo-config.json",
            binance_ws_url=url,
            frankfurt_private_ip="127.0.0.1",
            frankfurt_port=port,
            reconnect_max_delay_secs=30,
        )
        frankfurt = written(
            tmp_path,
            "frankfurt-config.json",
            mode="baseline",
            binance_ws_url=url,
            listen_port=1,
            duration_secs=300,
            output_file="elsewhere.json",
        )
        asked = ("--mode", "aws-backbone", "--port", str(port), "--duration", "300", "--output", str(output))
        measured = ("--metrics", "127.0.0.1:0", "--allow-unsynchronized-clock")
        with running(FRANKFURT, "--config", frankfurt, *asked, *measured, ready=None) as receiver:
            receiver.wait_for_log('"event": "serving"')
            with running(TOKYO, "--config", tokyo, ready=None) as forwarder:
                forwarder.wait_for_log('"event": "serving"')
                settled(receiver, "latency_receiver_events_total", EVENTS)
            receiver.terminate()
    summary = json.loads(output.read_text())
    assert set(KEYS) <= set(summary)
    assert summary["setup_type"] == "aws-backbone"
    assert (summary["sample_count"], summary["events_lost"]) == (EVENTS, 0)
    assert 0 < summary["min_latency_ms"] <= summary["median_latency_ms"] <= summary["max_latency_ms"]
    assert summary["backbone_avg_latency_ms"] is not None
    rows = rows_of(output.with_suffix(".csv"))
    assert tuple(rows[0])[:6] == COLUMNS
    assert [int(row["sequence_id"]) for row in rows] == list(range(1, EVENTS + 1))


def test_the_baseline_by_flags_alone_in_the_working_directory(tmp_path: Path) -> None:
    with simulator("--rate", "400", "--wait-for-clients", "1", "--stop-after-events", str(EVENTS)) as exchange:
        done = subprocess.run(
            [
                *(sys.executable, "-m", FRANKFURT, "--duration", "2", "--allow-unsynchronized-clock"),
                *("--binance-url", f"ws://{exchange.ready['near']}{STREAM}"),
            ],
            cwd=tmp_path,
            env={"PYTHONPATH": str(Path(__file__).parents[3]), "PATH": "/usr/bin:/bin"},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    summary = json.loads((tmp_path / "results.json").read_text())
    assert summary["setup_type"] == "baseline"
    assert summary["backbone_avg_latency_ms"] is None
    rows = rows_of(tmp_path / "results.csv")
    assert len(rows) == sum(summary["paths"]["direct"]["streams"].values()) > 0
    assert all(row["tokyo_time"] == "" for row in rows)


@pytest.mark.parametrize(
    ("module", "name", "content", "complaint"),
    [
        (TOKYO, "tokyo-config.json", "{", "is no tokyo-config.json"),
        (TOKYO, "tokyo-config.json", '{"frankfurt_ip": "10.1.1.10"}', "unknown field `frankfurt_ip`"),
        (TOKYO, "tokyo-config.json", "{}", "--frankfurt-ip: is not given"),
        (FRANKFURT, "frankfurt-config.json", '{"mode": "race"}', "Invalid enum value 'race'"),
        (FRANKFURT, "frankfurt-config.json", '{"duration_secs": "300"}', "Expected `float`, got `str`"),
    ],
)
def test_what_is_wrong_with_a_file_is_said(
    tmp_path: Path, module: str, name: str, content: str, complaint: str
) -> None:
    (tmp_path / name).write_text(content)
    done = subprocess.run(
        [sys.executable, "-m", module],
        cwd=tmp_path,
        env={"PYTHONPATH": str(Path(__file__).parents[3]), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 2
    assert complaint in done.stderr
    assert "Traceback" not in done.stderr
