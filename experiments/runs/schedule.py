"""Which block is due when: races or alternating single paths, repeated, and once every so often for time of day."""

import math
from dataclasses import dataclass
from typing import Literal

from daemons.errors import ConfigError

__all__ = ["MODES", "Block", "Mode", "Plan"]

Mode = Literal["race", "baseline", "aws-backbone"]
"""What a block measures, in the receiver's words."""

MODES: dict[str, tuple[Mode, ...]] = {"race": ("race",), "blocks": ("baseline", "aws-backbone")}


@dataclass(frozen=True, slots=True)
class Block:
    """One timed run of the receiver.

    Attributes:
        number: from 1, over the whole experiment.
        mode: what it measures.
        due_seconds: when it is due, since the start; a block that comes after another of its round is due at once.
    """

    number: int
    mode: Mode
    due_seconds: float

    @property
    def name(self) -> str:
        """The name of its folder, which sorts in order of time."""
        return f"{self.number:03d}-{self.mode}"


@dataclass(frozen=True, slots=True)
class Plan:
    """What to measure, and when.

    Attributes:
        kind: ``race`` or ``blocks``.
        duration_seconds: of one block.
        repeat: how often in a row.
        every_seconds: from one round to the next; None for a single round.
        for_seconds: how long rounds go on; None for a single round.

    Raises:
        ConfigError: rounds would overlap, or only one of ``every`` and ``for`` is there.
    """

    kind: str
    duration_seconds: float
    repeat: int = 1
    every_seconds: float | None = None
    for_seconds: float | None = None

    def __post_init__(self) -> None:
        if (self.every_seconds is None) != (self.for_seconds is None):
            given = "--every" if self.for_seconds is None else "--for"
            raise ConfigError(given, "says only half", "give both: --every 1h --for 24h")
        if self.every_seconds is not None and self.round_seconds > self.every_seconds:
            raise ConfigError(
                "--every",
                f"a round takes {self.round_seconds:g} s, which is longer than {self.every_seconds:g} s",
                "shorten --duration or --repeat, or lengthen --every",
            )

    @property
    def round_seconds(self) -> float:
        """How long the blocks of one round take."""
        return self.duration_seconds * self.repeat * len(MODES[self.kind])

    @property
    def rounds(self) -> int:
        """How many rounds there are; one begins at the start, and none at the very end."""
        if self.every_seconds is None or self.for_seconds is None:
            return 1
        return max(1, math.ceil(self.for_seconds / self.every_seconds - 1e-9))

    def blocks(self) -> list[Block]:
        """List all blocks in order; every round begins on its own mark, however long those before it took."""
        order = [
            (round_number * (self.every_seconds or 0.0), mode)
            for round_number in range(self.rounds)
            for _repetition in range(self.repeat)
            for mode in MODES[self.kind]
        ]
        return [Block(number, mode, due) for number, (due, mode) in enumerate(order, start=1)]
