"""A wide-area link between two sites, changed at run time."""

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from tests.lab.inventory import Inventory
from tests.lab.namespace import Namespace
from tests.lab.paths import CHECKOUT
from tests.lab.shape import Shape
from tests.processes import DEADLINE_SECONDS

__all__ = ["WideAreaLink"]

MTU = 1500


class WideAreaLink:
    """A link between the routers of two sites, in a process of its own.

    Args:
        inventory: where the process is written down.
        ends: the two routers' namespaces.
        devices: the name of the link's interface at each end.
        addresses: the link's address at each end.
        shapes: what the link does from the first end to the second, and back.
        seed: makes chance repeatable.
    """

    def __init__(
        self,
        inventory: Inventory,
        ends: tuple[Namespace, Namespace],
        devices: tuple[str, str],
        addresses: tuple[str, str],
        shapes: tuple[Shape, Shape],
        seed: int = 1,
    ) -> None:
        self._near, self._far_address = ends[0], addresses[1]
        config = {
            "ends": [
                {"namespace": end.name, "device": device, "address": mine, "peer": other, "mtu": MTU}
                for end, device, mine, other in zip(ends, devices, addresses, reversed(addresses), strict=True)
            ],
            "shapes": [asdict(shape) for shape in shapes],
            "seed": seed,
        }
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.lab.wan_process", json.dumps(config)],
            cwd=CHECKOUT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        inventory.add_process(self._process.pid)
        self._read()

    def shape(self, *, direction: int | None = None, **change: float | bool) -> None:
        """Change what the link does from now on, in one direction or both; returns when it holds.

        Args:
            direction: 0 from the first end to the second, 1 back, None both.
            change: fields of :class:`~tests.lab.shape.Shape`.
        """
        directions = (0, 1) if direction is None else (direction,)
        self._ask({"change": {str(number): change for number in directions}})

    def cut(self) -> None:
        """Sever the link: packets under way are lost too. Nobody is told, as with a real cut."""
        self.shape(cut=True)

    def restore(self) -> None:
        """Mend the link."""
        self.shape(cut=False)

    @contextlib.contextmanager
    def severed(self) -> Iterator[None]:
        """Cut the link for the length of a block."""
        self.cut()
        try:
            yield
        finally:
            self.restore()

    def counts(self, direction: int = 0) -> dict[str, int]:
        """Return what became of the packets of one direction so far."""
        counts: dict[str, int] = self._ask({})["counts"][direction]
        return counts

    def one_way_ms(self) -> float:
        """Measure what the delay really is, this process's own share with it: half the kernels' round trip, by median.

        The shapes of both directions must be alike.
        """
        return float(self._near.run(sys.executable, "-m", "tests.lab.round_trip", self._far_address)) / 2

    def under_way(self) -> int:
        """Return how many packets wait in the link, both directions together."""
        waiting: int = self._ask({})["under_way"]
        return waiting

    def close(self) -> None:
        """End the link's process; its devices vanish with it."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(timeout=DEADLINE_SECONDS)
        self._process.stdout.close()

    def _ask(self, command: dict[str, Any]) -> dict[str, Any]:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(command) + "\n")
        self._process.stdin.flush()
        return self._read()

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"the link process ended with code {self._process.wait()}; see its words above")
        answer: dict[str, Any] = json.loads(line)
        return answer
