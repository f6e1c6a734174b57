"""A whole validation: scenario by scenario, phase by phase, and the results on disk at every step."""

import asyncio
import signal
import sys
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import msgspec
from rich.console import Console

from daemons.errors import ConfigError
from daemons.service.console.screen import sentence
from experiments.hosts.inventory import Inventory
from experiments.hosts.shell import HostError, LocalShell, SshShell
from experiments.runs.manifest import now, versions
from experiments.validation.config import Scenario, Suite
from experiments.validation.evidence import Outcome, PhaseResult, inconclusive, worst
from experiments.validation.phases import Vantage, phases_of, preflight

__all__ = ["FORMAT", "ScenarioResult", "Validation", "ValidationRun"]

FORMAT = "backbone-latency-validation/1"


class ScenarioResult(msgspec.Struct, kw_only=True):
    """One scenario."""

    name: str
    host: str
    outcome: Outcome = "inconclusive"
    start: str = ""
    end: str = ""
    phases: list[PhaseResult] = []


class Validation(msgspec.Struct, kw_only=True):
    """The whole result.

    Attributes:
        complete: no phase was left out because of an interruption.
        comparisons: what separates the scenarios from the baseline, a sentence each.
    """

    format: str = FORMAT
    outcome: Outcome = "inconclusive"
    complete: bool = False
    target: str = ""
    start: str = ""
    end: str = ""
    versions: dict[str, str] = {}
    scenarios: list[ScenarioResult] = []
    comparisons: list[str] = []


class ValidationRun:
    """Measures a suite.

    Args:
        suite: the file.
        inventory: the hosts; None when all is measured on this machine.
        console: for progress.

    Raises:
        ConfigError: a scenario names a host that is not there.
    """

    def __init__(self, suite: Suite, inventory: Inventory | None, console: Console) -> None:
        self._suite = suite
        self._inventory = inventory
        self._console = console
        self._told = asyncio.Event()
        self._write: Callable[[Validation], None] = lambda _result: None
        # Before anything is measured: every scenario's host must exist, and be known for what is expected of it.
        self._places = [(scenario, self._vantage(scenario), self._egress(scenario)) for scenario in suite.scenario]

    async def run(self, folder: Path, write: Callable[[Validation], None]) -> Validation:
        """Measure everything, or what can be until a signal comes.

        Args:
            folder: gets a folder for each scenario, with what was measured.
            write: puts the result on disk; called after every phase.
        """
        self._write = write
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._told.set)
        result = Validation(target=self._suite.target.url, start=now(), versions=versions())
        for scenario, vantage, egress in self._places:
            place = folder / scenario.name
            place.mkdir()
            await self._scenario(result, scenario, vantage, egress, place)
        result.end = now()
        result.complete = not self._told.is_set()
        self._conclude(result)
        return result

    @property
    def interrupted(self) -> bool:
        """Whether a signal ended it."""
        return self._told.is_set()

    def _vantage(self, scenario: Scenario) -> Vantage:
        if not scenario.host:
            programs = str(Path(sys.executable).parent)
            return Vantage(LocalShell(), (sys.executable, "-m", "daemons.probe.main"), programs)
        if self._inventory is None:
            where = f"scenario {scenario.name}"
            raise ConfigError(where, f"is measured on host {scenario.host!r}", "give --deployment or --hosts")
        host = self._inventory.named(scenario.host)
        shell = SshShell(Path(self._inventory.ssh_config), host.name)
        return Vantage(shell, (f"{host.programs}/latency-probe",), host.programs)

    def _egress(self, scenario: Scenario) -> str:
        """Find the address that ``egress.host`` stands for."""
        if scenario.egress is None or not scenario.egress.host:
            return ""
        where = f"scenario {scenario.name}: egress.host"
        if self._inventory is None:
            raise ConfigError(where, "there are no hosts", "give --deployment or --hosts, or write egress.address")
        address = self._inventory.named(scenario.egress.host).address
        if not address:
            raise ConfigError(where, f"{scenario.egress.host} has no public address", "write egress.address")
        return address

    async def _scenario(
        self, result: Validation, scenario: Scenario, vantage: Vantage, egress: str, folder: Path
    ) -> None:
        found = ScenarioResult(name=scenario.name, host=scenario.host or vantage.shell.name, start=now())
        result.scenarios.append(found)
        first = await self._phase(result, found, "preflight", preflight(self._suite, scenario, vantage, folder))
        for phase in phases_of(self._suite, scenario, egress):
            if first.outcome == "pass":
                await self._phase(result, found, phase.name, phase.measure(vantage, folder))
            else:
                # Without an answer from the target nothing that follows could be evidence.
                why = f"not measured: preflight is {first.outcome}"
                self._add(result, found, inconclusive(phase.name, why))
        found.end = now()

    async def _phase(
        self, result: Validation, found: ScenarioResult, name: str, measure: Coroutine[Any, Any, PhaseResult]
    ) -> PhaseResult:
        """Measure a phase, unless a signal comes first."""
        begun = time.monotonic()
        task = asyncio.get_running_loop().create_task(measure)
        told = asyncio.get_running_loop().create_task(self._told.wait())
        await asyncio.wait({task, told}, return_when=asyncio.FIRST_COMPLETED)
        told.cancel()
        if not task.done() or self._told.is_set():
            task.cancel()
        try:
            phase = await task
        except asyncio.CancelledError:
            if not self._told.is_set():
                raise
            phase = inconclusive(name, "interrupted")
        except HostError as error:
            phase = inconclusive(name, str(error))
        self._add(result, found, phase, time.monotonic() - begun)
        return phase

    def _add(self, result: Validation, found: ScenarioResult, phase: PhaseResult, seconds: float = 0.0) -> None:
        found.phases.append(phase)
        self._conclude(result)
        took = f" ({seconds:.0f} s)" if seconds else ""
        reason = f": {phase.reason}" if phase.reason else ""
        words = f"{phase.outcome:<13}{found.name} {phase.phase}{took}{reason}"
        style = {"pass": "green", "fail": "bold red", "inconclusive": "yellow"}[phase.outcome]
        sentence(self._console, words, style=style, indent=13)

    def _conclude(self, result: Validation) -> None:
        for scenario in result.scenarios:
            scenario.outcome = worst(phase.outcome for phase in scenario.phases)
        result.outcome = worst(scenario.outcome for scenario in result.scenarios)
        self._write(result)
