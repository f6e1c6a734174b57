"""latency-probe's phases beside curl's ``-w`` timings: the same server, the same delays, in turn, in one run."""

import json
import subprocess
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

from daemons.probe.attempt import Attempt, Phase
from tests.daemons.probe.probing import prober, target_of
from tests.daemons.probe.probing import run as run_loop
from tests.daemons.probe.server import Authority, serving

ROUNDS = 60
FIRST_BYTE_SECONDS = 0.005
BODY_SECONDS = 0.003

_CURL_TIMES = ("namelookup", "connect", "appconnect", "pretransfer", "starttransfer", "total")
_FORMAT = "{" + ",".join(f'"{name}":%{{time_{name}}}' for name in _CURL_TIMES) + "}\\n"

Round = dict[str, float]
"""Milliseconds by phase, and ``total``."""


def run(rounds: int = ROUNDS) -> dict[str, Any]:
    """Compare; return medians in ms by connection and phase: the probe's, curl's, and what was injected."""
    with tempfile.TemporaryDirectory() as directory:
        authority = Authority(Path(directory))
        with serving(authority.context(), first_byte_delay=FIRST_BYTE_SECONDS, body_delay=BODY_SECONDS) as server:
            url = f"https://127.0.0.1:{server.port}/"
            ours: dict[str, list[Round]] = {"cold": [], "warm": []}
            curls: dict[str, list[Round]] = {"cold": [], "warm": []}
            for _round in range(rounds):
                # In turn, so that whatever else this machine does meets both alike.
                for kind, durations in zip(ours, _probe(url, authority.file), strict=True):
                    ours[kind].append(durations)
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


def report(found: dict[str, Any]) -> str:
    """Tell the comparison in lines."""
    lines = [f"probe phases beside curl's, ms, medians of {found['rounds']} (injected: {found['injected_ms']})"]
    for kind, phases in found["median_ms"].items():
        for phase, pair in phases.items():
            difference = pair["probe"] - pair["curl"]
            lines.append(
                f"  {kind} {phase:<11} probe {pair['probe']:8.3f}  curl {pair['curl']:8.3f}  {difference:+.3f}"
            )
    return "\n".join(lines)


def _probe(url: str, ca_file: Path) -> tuple[Round, Round]:
    async def pair() -> tuple[Attempt, Attempt]:
        async with prober() as one:
            cold, _body, wire = await one.attempt(target, one.clock.monotonic_ns(), keep=True)
            warm, _body, _wire = await one.attempt(target, one.clock.monotonic_ns(), wire)
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


def _median(rounds: list[Round], phase: str) -> float:
    return round(median(durations[phase] for durations in rounds), 3)


if __name__ == "__main__":
    print(report(run()))
