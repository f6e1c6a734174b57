"""From exec to READY=1, as a service manager sees it, and memory right after."""

import socket
import sys
import time
from pathlib import Path
from statistics import median
from typing import Any

from rich.table import Table

from benchmarks.bench import Bench
from benchmarks.machine import Process, free_port

__all__ = ["measure", "tables"]

RUNS = 7


def measure(bench: Bench) -> dict[str, Any]:
    """Start each daemon several times."""
    link = f"127.0.0.1:{free_port()}"
    commands = {
        "forwarder": ["daemons.forwarder.main", "--feed-url", "ws://127.0.0.1:1", "--destination", link],
        "receiver": ["daemons.receiver.main", "--mode", "aws-backbone", "--listen", link],
    }
    figures = {}
    for name, words in commands.items():
        bench.say(f"start-up: {name}")
        runs = [_once([sys.executable, "-m", *words, "--metrics", "127.0.0.1:0"], bench) for _run in range(RUNS)]
        figures[name] = {
            "median_seconds": median(run[0] for run in runs),
            "least_seconds": min(run[0] for run in runs),
            "cpu_seconds": min(run[1] for run in runs),
            "resident_mb": max(run[2] for run in runs) / 1e6,
        }
    return figures


def _once(command: list[str], bench: Bench) -> tuple[float, float, int]:
    path = bench.folder / "notify"
    path.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(path))
        manager.settimeout(20.0)
        begin = time.perf_counter()
        env = {"NOTIFY_SOCKET": str(path), "PYTHONPATH": str(Path(__file__).parent.parent)}
        with Process(command, core=None, env=env, realtime=bench.realtime) as process:
            while b"READY=1" not in manager.recv(4096):
                pass
            seconds = time.perf_counter() - begin
            return seconds, process.cpu_seconds(), process.resident_bytes()


def tables(figures: dict[str, Any]) -> list[Table]:
    """Show the figures."""
    table = Table(title="start to READY", title_justify="left")
    for column in ("daemon", "median s", "least s", "CPU s", "resident MB"):
        table.add_column(column, justify="left" if column == "daemon" else "right")
    for name, row in figures.items():
        table.add_row(
            name,
            f"{row['median_seconds']:.3f}",
            f"{row['least_seconds']:.3f}",
            f"{row['cpu_seconds']:.3f}",
            f"{row['resident_mb']:.1f}",
        )
    return [table]
