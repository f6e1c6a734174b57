"""Result files made to order: known delays, jitter and loss, in the formats of the receiver and of its predecessors."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from experiments.results.series import Floats

HEADER = (
    "sequence_id,binance_time,tokyo_time,frankfurt_time,end_to_end_latency_ms,backbone_latency_ms,"
    "path,stream,event_id,event_time_ns,departure_ns,stamp,validity,delayed"
)
SEED_HEADER = "sequence_id,binance_time,tokyo_time,frankfurt_time,end_to_end_latency_ms,backbone_latency_ms"
START_NS = 1_763_600_000_000_000_000


@dataclass(frozen=True)
class Arrivals:
    """One path's events: when they happened, how long they took, and which of them never came."""

    event_ns: np.ndarray[Any, Any]
    delay_ms: Floats
    lost: np.ndarray[Any, Any]


def arrivals(delay_ms: Floats, *, spacing_ns: int = 10_000_000, lost: Any = None) -> Arrivals:
    event_ns = START_NS + np.arange(len(delay_ms), dtype=np.int64) * spacing_ns
    return Arrivals(event_ns, delay_ms, np.zeros(len(delay_ms), bool) if lost is None else lost)


def rows(made: Arrivals, *, path: str, link: bool, stream: str = "btcusdt@trade", timed: bool = True) -> list[str]:
    """Write the CSV rows of a path; a link's events left the forwarder 2 ms after they happened."""
    lines = []
    for number, (event, delay, gone) in enumerate(
        zip(made.event_ns.tolist(), made.delay_ms.tolist(), made.lost.tolist(), strict=True), start=1
    ):
        if gone:
            continue
        arrival = event + round(delay * 1e6)
        tokyo = event + 2_000_000
        lines.append(
            f"{number if link else ''},{event // 10**6 if timed else ''},{tokyo if link else ''},{arrival},"
            f"{f'{(arrival - event) / 1e6:.6f}' if timed else ''},{f'{(arrival - tokyo) / 1e6:.6f}' if link else ''},"
            f"{path},{stream},{70_000 + number},{event if timed else ''},{tokyo if link else ''},kernel,ok,0"
        )
    return lines


def write_rows(file: Path, lines: list[str], header: str = HEADER) -> Path:
    file.write_text("\n".join([header, *lines]) + "\n")
    return file


def write_race(file: Path, direct: Arrivals, backbone: Arrivals, *, timed: bool = True) -> Path:
    """Write a race's CSV file in order of arrival."""
    lines = rows(direct, path="direct", link=False, timed=timed) + rows(
        backbone, path="backbone", link=True, timed=timed
    )
    lines.sort(key=lambda line: int(line.split(",")[3]))
    return write_rows(file, lines)


def write_ways(file: Path, paths: dict[str, Arrivals]) -> Path:
    """Write the CSV file of a race of any number of links in order of arrival."""
    lines = [line for name, made in paths.items() for line in rows(made, path=name, link=True)]
    lines.sort(key=lambda line: int(line.split(",")[3]))
    return write_rows(file, lines)


def summary(**changes: Any) -> dict[str, Any]:
    """Give a results JSON of the receiver as a dict."""
    latencies = {
        "sample_count": 1000,
        "events_lost": 0,
        "avg_latency_ms": 215.2,
        "median_latency_ms": 215.0,
        "p95_latency_ms": 221.0,
        "p99_latency_ms": 225.0,
        "p999_latency_ms": None,
        "min_latency_ms": 200.1,
        "max_latency_ms": 231.9,
        "jitter_stddev_ms": 4.0,
        "jitter_rfc3550_ms": 1.5,
    }
    clock = {
        "synchronized": True,
        "offset_ms": 0.01,
        "error_bound_ms": 0.3,
        "source": "adjtimex",
        "steps": 0,
        "allowed_unsynchronized": False,
    }
    return {
        "setup_type": "aws-backbone",
        **latencies,
        "backbone_avg_latency_ms": 213.2,
        "backbone_median_latency_ms": 213.0,
        "format": "backbone-latency-results/1",
        "primary_path": "backbone",
        "start": "2025-11-20T00:53:20Z",
        "end": "2025-11-20T00:58:20Z",
        "duration_seconds": 300.0,
        "complete": True,
        "host": "frankfurt",
        "versions": {"backbone-latency": "0.1.0"},
        "clock": clock,
        "paths": {
            "backbone": {
                "kind": "link",
                "events": 1000,
                **latencies,
                "backbone": {
                    "sample_count": 1000,
                    "avg_ms": 213.2,
                    "median_ms": 213.0,
                    "forwarder_hold": {"sample_count": 1000, "median_ms": 0.081, "p99_ms": 0.42},
                    "one_way_delay": {"sample_count": 1000, "median_ms": 212.92, "p99_ms": 214.5},
                },
                "host_delay_ms": {"sample_count": 1000, "median_ms": 0.063, "p99_ms": 0.317},
                "gaps": 0,
                "invalid": {},
                "sessions": 1,
                "link": {
                    "rtt_ms": {"sample_count": 300, "median_ms": 220.0},
                    "clock_offset_ms": 0.1,
                    "peer_clock": clock,
                },
            }
        },
        "race": [],
        **changes,
    }


def write_summary(file: Path, content: dict[str, Any]) -> Path:
    file.write_text(json.dumps(content, indent=2))
    return file
