"""Three egress runs of October 2025 as the public project that made them left them, from a compact table.

The figures are theirs to the microsecond, with their faults; addresses and host names are replaced. ``requests.csv``
holds curl's cumulative times of every request, ``runs.json`` the statistics that each run's script computed and what
surrounded it, ``published.json`` the table that the project published.
"""

import csv
import json
import shutil
from pathlib import Path

__all__ = ["write_recorded_runs"]

_RECORDED = Path(__file__).with_name("recorded")
_TIMES = {
    "time_namelookup": "lookup_us",
    "time_connect": "connect_us",
    "time_appconnect": "tls_us",
    "time_starttransfer": "first_byte_us",
    "time_total": "total_us",
}
_SUFFIXES = {"cold": "", "warm": "_keepalive"}


def write_recorded_runs(folder: Path) -> Path:
    """Write the run folders and the published table as the project's scripts would have."""
    shutil.copy(_RECORDED / "published.json", folder)
    with (_RECORDED / "requests.csv").open(newline="") as file:
        requests = list(csv.DictReader(file))
    for name, about in json.loads((_RECORDED / "runs.json").read_text()).items():
        run = folder / name
        run.mkdir()
        for connection, suffix in _SUFFIXES.items():
            mine = [one for one in requests if (one["run"], one["connection"]) == (name, connection)]
            rows = [[_seconds(one[column]) for column in _TIMES.values()] for one in mine]
            (run / f"latencies{suffix}.txt").write_text("".join(f"{row[-1]}\n" for row in rows))
            lines = [",".join(_TIMES), *(",".join(row) for row in rows)]
            (run / f"latencies{suffix}_breakdown.csv").write_text("\n".join(lines) + "\n")
            (run / f"latency_stats{suffix}.json").write_text(json.dumps(about[f"published_{connection}"]))
        (run / "geolocation.json").write_text(json.dumps(about["identity"]))
        (run / "03-path.log").write_text("".join(_hop(number, *hop) for number, hop in enumerate(about["hops"], 1)))
        if about["overlay_rtt_ms"] is not None:
            (run / "overlay_rtt.txt").write_text(f"rtt min/avg/max/mdev = {about['overlay_rtt_ms']} ms\n")
    return folder


def _seconds(microseconds: str) -> str:
    return f"{int(microseconds) / 1e6:.6f}"


def _hop(number: int, host: str, loss: float, *times_ms: float) -> str:
    return f"{number:3}.|-- {host:27} {loss:4.1f}% {5:5} {' '.join(f'{time:6.1f}' for time in times_ms)}\n"
