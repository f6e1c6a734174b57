"""What stands around the receiver during a block: the real world, or a simulated one that is set up for each block."""

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Protocol

from experiments.local.simulated import Injected, Simulated
from experiments.runs.schedule import Mode

__all__ = ["Endpoints", "RealEndpoints", "SimulatedEndpoints", "Surroundings"]


class Surroundings(Protocol):
    """What runs beside the receiver during one block."""

    async def start(self) -> list[str]:
        """Bring up what must be there first; returns the receiver's arguments."""

    async def connect(self, listening: str) -> None:
        """Bring up what connects to the receiver, which listens there."""

    async def end(self) -> None:
        """Put everything away, after the receiver has ended."""

    async def abort(self) -> None:
        """End everything at once, after trouble."""


class Endpoints(Protocol):
    """Where the paths begin."""

    def around(self, mode: Mode) -> Surroundings:
        """Give the surroundings of one block."""

    def record(self) -> dict[str, Any]:
        """Describe them for the manifest."""


class RealEndpoints:
    """An exchange and forwarders that run by themselves.

    Args:
        config: the receiver's configuration file, if there is one.
        feed: flags for feed paths.
        link: flags for link paths.
    """

    def __init__(self, config: Path | None, feed: Sequence[str], link: Sequence[str]) -> None:
        self._config = config
        self._feed = list(feed)
        self._link = list(link)

    def around(self, mode: Mode) -> Surroundings:
        arguments = [] if self._config is None else ["--config", str(self._config)]
        # A file's paths are all raced, however many: the mode would only choose among their kinds.
        if self._config is None or mode != "race":
            arguments += ["--mode", mode]
        if mode != "aws-backbone":
            arguments += self._feed
        if mode != "baseline":
            arguments += self._link
        return _Standing(arguments)

    def record(self) -> dict[str, Any]:
        return {"kind": "real", "config_file": None if self._config is None else str(self._config)}


class _Standing:
    """Surroundings that are there already."""

    def __init__(self, arguments: list[str]) -> None:
        self._arguments = arguments

    async def start(self) -> list[str]:
        return self._arguments

    async def connect(self, listening: str) -> None:
        """Leave it to the forwarders, which try until they can."""

    async def end(self) -> None:
        """Leave them standing."""

    async def abort(self) -> None:
        """Leave them standing."""


class SimulatedEndpoints:
    """A simulated exchange with known distances, fresh for each block."""

    def __init__(self, injected: Injected) -> None:
        self._injected = injected
        self._blocks = 0

    def around(self, mode: Mode) -> Surroundings:
        self._blocks += 1
        # Every block another market and other jitter, yet the same in every experiment.
        injected = replace(self._injected, seed=self._injected.seed + self._blocks - 1)
        return _Made(injected, mode)

    def record(self) -> dict[str, Any]:
        return {"kind": "simulated", "injected": asdict(self._injected)}


class _Made(Simulated):
    """A simulated world for one mode."""

    def __init__(self, injected: Injected, mode: Mode) -> None:
        super().__init__(injected, feed=mode != "aws-backbone", link=mode != "baseline")
        self._mode = mode

    async def start(self) -> list[str]:
        # All its clocks are one.
        return ["--mode", self._mode, "--allow-unsynchronized-clock", *await super().start()]

    async def end(self) -> None:
        # Nobody is left to deliver anything to.
        await self.abort()
