"""What a wide-area link does to packets: pure arithmetic, so that the link process stays a loop.

Jitter is correlated, as on a real path, where queues fill and drain: the extra delay wanders between random levels,
never faster than half a second per second, so packets keep their order and their spacing changes gently. (An
independent draw for each packet would have to be re-ordered, or, with order kept, collapses to the upper bound.)
Only packets chosen by ``reorder`` leave the order.
"""

import random
from dataclasses import dataclass

__all__ = ["Direction", "Shape"]

MILLISECOND_NS = 1_000_000
WANDER_MIN_NS = 10 * MILLISECOND_NS
WANDER_PER_JITTER = 4
"""Time between two levels in units of the jitter: the delay then changes by at most half a second per second."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """One direction of a link; probabilities are per packet.

    Args:
        delay_ms: the base one-way delay.
        jitter_ms: the delay wanders within plus or minus this.
        loss: probability of being dropped.
        reorder: probability of being held back by ``reorder_hold_ms``, so that later packets overtake it.
        reorder_hold_ms: how long such a packet waits more.
        duplicate: probability of arriving twice.
        cut: nothing passes, and what was under way is lost.
    """

    delay_ms: float = 0.0
    jitter_ms: float = 0.0
    loss: float = 0.0
    reorder: float = 0.0
    reorder_hold_ms: float = 5.0
    duplicate: float = 0.0
    cut: bool = False

    def __post_init__(self) -> None:
        for name in ("loss", "reorder", "duplicate"):
            value = getattr(self, name)
            if not 0.0 <= value <= 1.0:
                raise ValueError(f"{name} {value}: not a probability; use 0 to 1")
        if self.jitter_ms > self.delay_ms:
            raise ValueError(f"jitter {self.jitter_ms} ms: above the delay of {self.delay_ms} ms; lower it")


class Direction:
    """Decides the fate of each packet of one direction.

    Args:
        shape: what the direction does to packets.
        generator: the source of chance, seeded by the caller.
    """

    def __init__(self, shape: Shape, generator: random.Random) -> None:
        self._random = generator
        self._last_due_ns = 0
        self._level_from = self._level_to = 0.0
        self._level_start_ns = self._level_end_ns = 0
        self.shape = shape

    def due_ns(self, now_ns: int) -> tuple[int, ...]:
        """Return when a packet that enters now leaves: nothing if it is lost, two times if it is duplicated."""
        shape, chance = self.shape, self._random.random
        if shape.cut or (shape.loss and chance() < shape.loss):
            return ()
        due = now_ns + round(shape.delay_ms * MILLISECOND_NS)
        if shape.jitter_ms:
            due += round(self._level(now_ns) * shape.jitter_ms * MILLISECOND_NS)
        if shape.reorder and chance() < shape.reorder:
            late = due + round(shape.reorder_hold_ms * MILLISECOND_NS)
            return (late,)
        # A delay made smaller while packets are under way must not let the later ones overtake.
        due = self._last_due_ns = max(due, self._last_due_ns)
        if shape.duplicate and chance() < shape.duplicate:
            return (due, due)
        return (due,)

    def _level(self, now_ns: int) -> float:
        """Return the wandering part of the delay, from -1 to 1."""
        if now_ns >= self._level_end_ns:
            span = max(WANDER_MIN_NS, round(WANDER_PER_JITTER * self.shape.jitter_ms * MILLISECOND_NS))
            # After a pause without packets the walk starts afresh; otherwise it goes on from where it was.
            fresh = now_ns - self._level_end_ns > span
            self._level_from = self._random.uniform(-1, 1) if fresh else self._level_to
            self._level_to = self._random.uniform(-1, 1)
            self._level_start_ns = now_ns
            self._level_end_ns = now_ns + span
        part = (now_ns - self._level_start_ns) / (self._level_end_ns - self._level_start_ns)
        return self._level_from + (self._level_to - self._level_from) * part
