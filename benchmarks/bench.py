"""What every part of the benchmarks is given."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.contestants import Contestant

__all__ = ["Bench"]


@dataclass(frozen=True, slots=True)
class Bench:
    """Settings of a run.

    Attributes:
        contestants: who is compared; the first is ours in its measurement-grade setting.
        folder: for temporary files.
        scale: multiplies the lengths of all measurements.
        realtime: run everything measured ahead of all else on the machine.
        say: shows a line of progress.
    """

    contestants: tuple[Contestant, ...]
    folder: Path
    scale: float
    realtime: bool
    say: Callable[[str], None]
