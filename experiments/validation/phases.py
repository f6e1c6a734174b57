"""The phases of a scenario: what latency-probe is asked to do in each, and who judges what it found."""

import json
import tomllib
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from experiments.hosts.leashed import leash, leashed
from experiments.hosts.shell import HostError, Shell, must, run
from experiments.validation.config import EgressExpectation, Scenario, Suite
from experiments.validation.evidence import (
    Finding,
    PhaseResult,
    inconclusive,
    judge_egress,
    judge_first,
    judge_overlay,
    judge_requests,
    judge_route,
)

__all__ = ["PhaseOfScenario", "Vantage", "phases_of", "preflight"]

TARGET = "target"
_SPARE_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Vantage:
    """Where a scenario is measured.

    Attributes:
        shell: runs commands there.
        probe: the words that begin latency-probe there.
        programs: where Python and the programs lie there.
    """

    shell: Shell
    probe: tuple[str, ...]
    programs: str


@dataclass(frozen=True, slots=True)
class PhaseOfScenario:
    """One phase: a configuration for latency-probe, and a judge of its answer.

    Attributes:
        name: of the phase.
        config: in the shape of the probe's file.
        count: requests, or echo requests.
        seconds: how long it takes at most when all goes well.
        judge: of the document that the probe writes.
    """

    name: str
    config: Mapping[str, Any]
    count: int
    seconds: float
    judge: Callable[[Mapping[str, Any]], PhaseResult]

    async def measure(self, vantage: Vantage, folder: Path) -> PhaseResult:
        """Measure and judge; the raw answer goes to ``PHASE.json``, every request to ``PHASE.csv``.

        Raises:
            HostError: the way to the host is lost.
        """
        async with _workplace(vantage.shell) as place:
            text = toml(self.config)
            await must(vantage.shell, ["sh", "-c", 'cat > "$1"', "sh", f"{place}/probe.toml"], content=text.encode())
            command = [
                *(*leash(vantage.programs), *vantage.probe, "--config", f"{place}/probe.toml", "--once"),
                *("--count", str(self.count), "--json", f"{place}/out.json", "--csv", f"{place}/out.csv"),
            ]
            async with leashed(vantage.shell, command) as program:
                code = await program.ended(self.seconds + _SPARE_SECONDS)
            answer = await run(vantage.shell, ["cat", f"{place}/out.json"])
            rows = await run(vantage.shell, ["cat", f"{place}/out.csv"])
            words = " | ".join(program.lines[-3:])
        if answer.code:
            return inconclusive(self.name, f"latency-probe ended with code {code} and wrote nothing: {words}")
        (folder / f"{self.name}.json").write_bytes(answer.output)
        if self.name in {"cold", "warm"} and not rows.code:
            (folder / f"{self.name}.csv").write_bytes(rows.output)
        return self.judge(json.loads(answer.output))


def phases_of(suite: Suite, scenario: Scenario, egress_address: str) -> list[PhaseOfScenario]:
    """List the measuring phases of a scenario, in order.

    Args:
        suite: the whole file.
        scenario: one of its scenarios.
        egress_address: what ``egress.host`` stands for; empty where it is not used.
    """
    count = scenario.count or suite.target.count
    phases = [_requests(suite, scenario, kind, count) for kind in ("cold", "warm")]
    if (overlay := scenario.overlay) is not None:
        section = {"peer": overlay.peer, "interval_seconds": overlay.interval_seconds}
        seconds = overlay.count * overlay.interval_seconds
        phases.append(
            PhaseOfScenario(
                "overlay",
                {"overlay": section},
                overlay.count,
                seconds,
                lambda document: judge_overlay(document["overlay"], overlay),
            )
        )
    if (route := scenario.route) is not None:
        section = {"target": suite.route_target(route), "cycles": route.cycles, "command": route.command}
        phases.append(
            PhaseOfScenario(
                "route",
                {"route": section},
                1,
                route.cycles + 30.0,
                lambda document: judge_route(document["route"], route),
            )
        )
    if (expected := scenario.egress) is not None:
        endpoint = suite.egress
        section = {name: getattr(endpoint, name) for name in endpoint.__struct_fields__} | _way(scenario)
        wanted = EgressExpectation(
            address=expected.address or egress_address, city=expected.city, country=expected.country
        )
        phases.append(
            PhaseOfScenario(
                "egress", {"egress": section}, 1, 30.0, lambda document: judge_egress(document["egress"], wanted)
            )
        )
    return phases


def _requests(suite: Suite, scenario: Scenario, kind: str, count: int) -> PhaseOfScenario:
    seconds = count * suite.target.interval_seconds + suite.target.timeout_seconds
    expected = scenario.cold if kind == "cold" else scenario.warm
    return PhaseOfScenario(
        kind,
        {"target": [_target(suite, scenario, kind)]},
        count,
        # At worst every request takes as long as it may.
        seconds + count * suite.target.timeout_seconds,
        lambda document: judge_requests(kind, document["targets"][TARGET], expected),
    )


def _target(suite: Suite, scenario: Scenario, connections: str) -> dict[str, Any]:
    target = suite.target
    section: dict[str, Any] = {
        "name": TARGET,
        "url": target.url,
        "interval_seconds": target.interval_seconds,
        "timeout_seconds": target.timeout_seconds,
        "connections": connections,
        "ca_file": target.ca_file,
        **_way(scenario),
    }
    if target.address:
        section["resolve"] = {suite.target_host: target.address}
    return section


def _way(scenario: Scenario) -> dict[str, Any]:
    # Left out where there is none: a host with an older probe would refuse keys that it does not know.
    way = {"proxy": scenario.proxy, "proxy_credentials_file": scenario.proxy_credentials_file}
    return {name: value for name, value in way.items() if value}


async def preflight(suite: Suite, scenario: Scenario, vantage: Vantage, folder: Path) -> PhaseResult:
    """See that the host can be reached, has the probe, and that the target answers one request."""
    phase = "preflight"
    try:
        said = (await must(vantage.shell, [*vantage.probe, "--version"])).decode().strip()
    except HostError as error:
        return inconclusive(phase, str(error))
    program = Finding(what="program", seen=said, outcome="pass")
    one = PhaseOfScenario(
        phase,
        {"target": [_target(suite, scenario, "cold")]},
        1,
        suite.target.timeout_seconds,
        lambda document: judge_first(document["targets"][TARGET], program),
    )
    return await one.measure(vantage, folder)


@asynccontextmanager
async def _workplace(shell: Shell) -> AsyncIterator[str]:
    """Make a folder on the host for the length of a block."""
    place = (await must(shell, ["mktemp", "-d"])).decode().strip()
    try:
        yield place
    finally:
        await run(shell, ["rm", "-rf", place])


def toml(config: Mapping[str, Any]) -> str:
    """Write tables of plain values, lists of tables, and tables of text, as TOML.

    >>> print(toml({"a": [{"x": 1, "y": {"k.e": "v"}}], "b": {"z": "w"}}), end="")
    [[a]]
    x = 1
    y = {"k.e" = "v"}
    [b]
    z = "w"
    """
    lines = []
    for name, value in config.items():
        many = isinstance(value, Sequence)
        for table in value if many else [value]:
            lines.append(f"[[{name}]]" if many else f"[{name}]")
            lines += [f"{key} = {_value(one)}" for key, one in table.items()]
    text = "\n".join(lines) + "\n"
    assert tomllib.loads(text) == json.loads(json.dumps(config))
    return text


def _value(value: Any) -> str:
    """Write a value; JSON's texts and numbers are TOML's as well."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{json.dumps(key)} = {json.dumps(one)}" for key, one in value.items()) + "}"
    return json.dumps(value)
