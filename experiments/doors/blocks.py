"""What doors brought of the same events, block of time by block of time. Pure."""

import math
from collections import defaultdict
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Final

import numpy as np

from experiments.results.series import Floats

__all__ = ["MOST_EVENTS", "BlockTable", "RacedBlock"]

MOST_EVENTS = 20_000
"""Of a block that are compared: its median is no better for more, and a long block must not fill the memory."""
_GRACE_NS = 2_000_000_000
"""How long after its end a block waits for the copies that slow doors bring."""
_NOTHING: Final[dict[Hashable, dict[int, int]]] = {}
_PRESENT = 0.5
"""Of a block's events a door must have brought this share: one that came up late in it saw another block."""


@dataclass(frozen=True)
class RacedBlock:
    """One block.

    Attributes:
        number: of the block, counted from the begin of the race.
        lag_ms: of each door that was there: the median of how much later than the middle of the field it was.
        events: of each door: how many it brought of the events that two doors or more brought.
        first: of each door: how many of those it brought before all others.
        compared: how many events two doors or more brought.
    """

    number: int
    lag_ms: dict[int, float]
    events: dict[int, int]
    first: dict[int, int]
    compared: int


class BlockTable:
    """Gathers arrivals until their block can be judged.

    Args:
        begin_ns: when the first block begins, by the monotonic clock.
        length_ns: of a block.
    """

    def __init__(self, begin_ns: int, length_ns: int) -> None:
        self._begin_ns, self._length_ns = begin_ns, length_ns
        self._open: dict[int, dict[Hashable, dict[int, int]]] = {}
        self._next = 0

    def observe(self, door: int, key: Hashable, at_ns: int) -> None:
        """Take in that a door brought an event; a copy belongs to the block in which the event first came.

        Args:
            door: its number.
            key: the event's identity, equal at all doors.
            at_ns: arrival by the monotonic clock.
        """
        number = (at_ns - self._begin_ns) // self._length_ns
        if number < self._next:
            return
        block = self._open.get(number)
        if block is None:
            block = self._open[number] = {}
        seen = block.get(key)
        for before in range(number - 1, self._next - 1, -1):
            if seen is not None:
                break
            seen = self._open.get(before, _NOTHING).get(key)
        if seen is not None:
            # What a door brings twice counts once: its first arrival.
            seen.setdefault(door, at_ns)
        elif len(block) < MOST_EVENTS:
            block[key] = {door: at_ns}

    def due(self, now_ns: int, *, last: bool = False) -> list[RacedBlock]:
        """Judge the blocks that are over, one after the other; also those in which nothing came.

        Args:
            now_ns: by the monotonic clock.
            last: wait for no more copies.
        """
        done = []
        grace_ns = 0 if last else _GRACE_NS
        while self._begin_ns + (self._next + 1) * self._length_ns + grace_ns <= now_ns:
            done.append(_judged(self._next, self._open.pop(self._next, {})))
            self._next += 1
        return done


def _judged(number: int, arrivals: dict[Hashable, dict[int, int]]) -> RacedBlock:
    shared = [seen for seen in arrivals.values() if len(seen) > 1]
    events: dict[int, int] = defaultdict(int)
    first: dict[int, int] = defaultdict(int)
    for seen in shared:
        for door in seen:
            events[door] += 1
        first[min(seen, key=seen.__getitem__)] += 1
    present = sorted(door for door, count in events.items() if count >= _PRESENT * len(shared))
    lags = _lags_ms([[seen.get(door) for door in present] for seen in shared]) if len(present) > 1 else []
    known = {door: lag for door, lag in zip(present, lags, strict=False) if not math.isnan(lag)}
    return RacedBlock(number, known, dict(events), dict(first), len(shared))


def _lags_ms(arrivals: list[list[int | None]]) -> list[float]:
    """Give each door's median lag behind the middle of the field, over events x doors.

    The middle is the median of the doors that brought the event, each less how late it commonly is, so that it does not
    move when one of them misses some; as :func:`experiments.statistics.field.lags_ms` has it for complete fields.
    """
    begin = next((at for row in arrivals for at in row if at is not None), 0)
    since = np.array([[math.nan if at is None else at - begin for at in row] for row in arrivals]) / 1e6
    since = since[(~np.isnan(since)).sum(axis=1) > 1]
    if not len(since):
        return []
    commonly = _medians(since - np.nanmean(since, axis=1, keepdims=True))
    middle = np.nanmedian(since - commonly, axis=1, keepdims=True)
    return [float(lag) for lag in _medians(since - middle)]


def _medians(table: Floats) -> Floats:
    """Give the median of what is known of each column; NaN where nothing is."""
    known = ~np.isnan(table)
    return np.array(
        [np.median(column[there]) if there.any() else math.nan for column, there in zip(table.T, known.T, strict=True)]
    )
