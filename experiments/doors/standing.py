"""Where doors stand after some blocks: their order, how sure it is, and what follows from it. Pure."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from experiments.doors.blocks import RacedBlock
from experiments.doors.model import Outcome
from experiments.statistics.sequential import FEWEST_BLOCKS, Look, look

__all__ = ["Standings", "configuration_line", "say", "standings"]


@dataclass(frozen=True)
class Standings:
    """What is known now.

    Attributes:
        order: doors by number, the earliest first.
        behind: of each of them: how much later than the first it is, in ms, and half the width of its interval, which
            is infinite before enough blocks.
        leaders: the doors that are shown to be earlier than all others; all of them where all are alike; none where
            more has to be seen.
        fewest: blocks of the pair that has the fewest.
    """

    order: list[int]
    behind: dict[int, tuple[float, float]]
    leaders: list[int]
    fewest: int

    @property
    def outcome(self) -> Outcome:
        """Say what is shown."""
        if len(self.order) < 2:
            return "nothing"
        if not self.leaders:
            return "undecided"
        return "none-better" if len(self.leaders) == len(self.order) else "best"


def standings(
    blocks: Sequence[RacedBlock], doors: Sequence[int], known: int, begun_with: int, confidence: float, margin_ms: float
) -> Standings:
    """Rank doors by all blocks so far; may be asked after every block.

    Doors are found while others race. So that the intervals hold together for however many there will be, the allowed
    error is divided in advance: half of it among the pairs of as many doors as there were at the begin, a quarter among
    those of twice as many, and so on.

    Args:
        blocks: what was raced.
        doors: that are to be ranked, by number.
        known: how many doors there are.
        begun_with: how many there were when the race began.
        confidence: that no interval of any pair at any look misses its truth.
        margin_ms: a smaller lead is not worth a pin.
    """
    column = {door: index for index, door in enumerate(doors)}
    lags = np.full((len(blocks), len(doors)), np.nan)
    for row, block in enumerate(blocks):
        for door, lag in block.lag_ms.items():
            if door in column:
                lags[row, column[door]] = lag
    if len(doors) < 2 or not len(blocks):
        return Standings(list(doors), dict.fromkeys(doors, (0.0, math.inf)), [], 0)
    doublings = max(0, math.ceil(math.log2(max(known, 2) / max(begun_with, 2))))
    share = (1 - confidence) / 2 ** (doublings + 1)
    seen = look(lags, 1 - share, max(begun_with, 2) * 2**doublings)
    order = seen.order
    first = order[0]
    return Standings(
        [doors[index] for index in order],
        {doors[index]: _behind(seen, first, index) for index in order},
        [doors[index] for index in seen.leaders(margin_ms)],
        seen.blocks,
    )


def _behind(seen: Look, first: int, other: int) -> tuple[float, float]:
    return (0.0, 0.0) if first == other else (float(seen.lead[first, other]), float(seen.reach[first, other]))


def configuration_line(addresses: Sequence[str]) -> str:
    """Write the key of a feed's section that pins it; of several the first that answers is taken."""
    quoted = [f'"{address}"' for address in addresses]
    return f"address = {quoted[0]}" if len(quoted) == 1 else f"address = [{', '.join(quoted)}]"


def say(now: Standings, names: Sequence[str], margin_ms: float, block_seconds: float) -> str:
    """Say in a sentence what is shown.

    Args:
        now: what is known.
        names: addresses by door.
        margin_ms: a smaller lead is not worth a pin.
        block_seconds: of a block.
    """
    if now.outcome == "nothing":
        return "nothing to compare: fewer than two doors brought the same events"
    if now.outcome == "none-better":
        return f"no door is better: all {len(now.order)} are alike within {margin_ms:g} ms; no pin is worth it"
    if now.outcome == "undecided":
        if now.fewest < FEWEST_BLOCKS:
            missing = (FEWEST_BLOCKS - now.fewest) * block_seconds
            return f"undecided: two doors or more have raced too little; at least {missing:.0f} s more are needed"
        return f"undecided: {names[now.order[0]]} is ahead, but not shown to be; look for longer"
    rest = [door for door in now.order if door not in now.leaders]
    lead, reach = now.behind[rest[0]]
    others = "the other" if len(rest) == 1 else f"the {len(rest)} others"
    by = f"by {lead:.3f} ms ({lead - reach:.3f} to {lead + reach:.3f}) or more"
    if len(now.leaders) == 1:
        return f"{names[now.leaders[0]]} is the best door: ahead of {others} {by}"
    alike = ", ".join(names[door] for door in now.leaders)
    return f"the best doors are {alike}, alike within {margin_ms:g} ms: ahead of {others} {by}"
