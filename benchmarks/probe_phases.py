"""latency-probe's phases beside curl's ``-w`` timings: the same server, the same delays, in turn, in one run."""

import json
import shutil
import subprocess
from pathlib import Path
from statistics import median
from typing import Any

from rich.table import Table

from benchmarks.bench import Bench
from daemons.probe.attempt import Attempt, Phase
from tests.daemons.probe.probing import prober, target_of
from tests.daemons.probe.probing import run as run_loop
from tests.daemons.probe.server import Authority, serving

__all__ = ["measure", "tables"]

ROUNDS = 60
FIRST_BYTE_SECONDS = 0.005
BODY_SECONDS = 0.003

_CURL_TIMES = ("namelookup", "connect", "appconnect", "pretransfer", "starttransfer", "total")
_FORMAT = "{" + ",".join(f'"{name}":%{{time_{name}}}' for name in _CURL_TIMES) + "}\\n"

Round = dict[str, float]
"""Milliseconds by phase, and ``total``."""


def measure(bench: Bench) -> dict[str, Any]:
    """Compare; return medians in ms by connection and phase: the probe's, curl's where it is installed, the truth."""
    rounds = max(5, round(ROUNDS * bench.scale))
    authority = Authority(bench.folder)
    ours: dict[str, list[Round]] = {"cold": [], "warm": []}
    curls: dict[str, list[Round]] = {"cold": [], "warm": []}
    has_curl = shutil.which("curl") is not None
    bench.say("probe phases" if has_curl else "probe phases; no curl to compare with")
    with serving(authority.context(), first_byte_delay=FIRST_BYTE_SECONDS, body_delay=BODY_SECONDS) as server:
        url = f"https://127.0.0.1:{server.port}/"
        for _round in range(rounds):
            # In turn, so that whatever else this machine does meets both alike.
            for kind, durations in zip(ours, _probe(url, authority.file), strict=True):
                ours[kind].append(durations)
            if not has_curl:
                continue
            for kind, durations in zip(curls, _curl(url, authority.file), strict=True):
                curls[kind].append(durations)
        injected = {
            what: round(median(end - begin for begin, end in slept) / 1e6, 3)
            for what, slept in server.seen.slept.items()
        }
    return {
        "rounds": rounds,
        "injected_ms": {"processing": injected["first_byte"], "transfer": injected["body"]},
        "median_ms": {
            kind: {
                phase: {"probe": _median(ours[kind], phase), "curl": _median(curls[kind], phase)}
                for phase in ours[kind][0]
            }
            for kind in ours
        },
    }


def tables(figures: dict[str, Any]) -> list[Table]:
    """Show the figures."""
    table = Table(title=f"HTTPS phases, ms, medians of {figures['rounds']}", title_justify="left")
    for column in ("connection", "phase", "probe", "curl", "injected"):
        table.add_column(column, justify="left" if column in {"connection", "phase"} else "right")
    for kind, phases in figures["median_ms"].items():
        for phase, pair in phases.items():
            table.add_row(
                kind, phase, *(_shown(each) for each in pair.values()), _shown(figures["injected_ms"].get(phase))
            )
    return [table]


def _shown(ms: float | None) -> str:
    return "-" if ms is None else f"{ms:.3f}"


def _probe(url: str, ca_file: Path) -> tuple[Round, Round]:
    async def pair() -> tuple[Attempt, Attempt]:
        async with prober() as one:
            cold, wire = await one.attempt(target, one.clock.monotonic_ns(), keep=True)
            warm, _wire = await one.attempt(target, one.clock.monotonic_ns(), wire)
            return cold, warm

    target = target_of(url, ca_file=str(ca_file))
    cold, warm = run_loop(pair)
    return _durations(cold), _durations(warm)


def _durations(attempt: Attempt) -> Round:
    assert attempt.instants.total_ns is not None, attempt.detail
    return {
        **{phase.value: duration_ns / 1e6 for phase, duration_ns in attempt.instants.phases()},
        "total": attempt.instants.total_ns / 1e6,
    }


def _curl(url: str, ca_file: Path) -> tuple[Round, Round]:
    """Ask twice by one curl, which keeps the connection for the second request."""
    command = ["curl", "--silent", "--show-error", "--cacert", str(ca_file), "--http1.1", "--write-out", _FORMAT]
    output = subprocess.run(
        [*command, "--output", "/dev/null", url, "--output", "/dev/null", url],
        check=True,
        capture_output=True,
        text=True,
        timeout=30,
    ).stdout
    cold, warm = (json.loads(line) for line in output.splitlines())
    asked = {
        Phase.CONNECT: cold["connect"] - cold["namelookup"],
        Phase.TLS: cold["appconnect"] - cold["connect"],
    }
    return (
        {**{phase.value: seconds * 1000 for phase, seconds in asked.items()}, **_answered(cold)},
        _answered(warm),
    )


def _answered(times: dict[str, float]) -> Round:
    return {
        "processing": (times["starttransfer"] - times["pretransfer"]) * 1000,
        "transfer": (times["total"] - times["starttransfer"]) * 1000,
        "total": times["total"] * 1000,
    }


def _median(rounds: list[Round], phase: str) -> float | None:
    return round(median(durations[phase] for durations in rounds), 3) if rounds else None
