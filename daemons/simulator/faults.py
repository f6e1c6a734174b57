"""What the simulator does wrong on request, decided by event number so that a run can be repeated exactly."""

import itertools
from dataclasses import dataclass
from random import Random

from daemons.simulator.market import Event, envelope

__all__ = ["HUGE_BYTES", "MALFORMED_KINDS", "Faults", "Malformed"]

MALFORMED_KINDS = ("truncated", "binary", "missing-fields", "absurd-time", "array", "huge")
"""In the order in which they are sent, again and again."""

HUGE_BYTES = 2 * 1024 * 1024
"""Padding of a huge message: twice what the websockets library accepts by default."""

_ABSURD_TIMES = (b"0", b"-1", b"99999999999999999999999999", b'"now"', b"1e400", b"null")


@dataclass(frozen=True, slots=True)
class Malformed:
    """A message that no decoder should accept; it follows an event and uses up no id.

    Attributes:
        kind: one of :data:`MALFORMED_KINDS`.
        event: the event that it follows and imitates.
        salt: decides the random part.
    """

    kind: str
    event: Event
    salt: int

    @property
    def stream(self) -> str:
        return self.event.stream

    @property
    def binary(self) -> bool:
        return self.kind == "binary"

    def render(self, emitted_ns: int, unit_ns: int, *, combined: bool) -> bytes:
        if self.kind == "binary":
            return Random(self.salt).randbytes(64)
        if self.kind == "truncated":
            whole = self.event.render(emitted_ns, unit_ns, combined=combined)
            return whole[: len(whole) // 2]
        payload = self._payload(emitted_ns // unit_ns)
        return envelope(self.stream, payload) if combined else payload

    def _payload(self, event_time: int) -> bytes:
        if self.kind == "missing-fields":
            return b'{"e":"trade","E":%d}' % event_time
        if self.kind == "absurd-time":
            absurd = _ABSURD_TIMES[self.salt % len(_ABSURD_TIMES)]
            return b'{"e":"trade","E":%s,"s":"BTCUSDT","t":%d,"p":"1.00","q":"1.00","T":%s,"m":true,"M":true}' % (
                absurd,
                self.event.last_id,
                absurd,
            )
        if self.kind == "array":
            return b'[{"e":"24hrMiniTicker","E":%d,"s":"BTCUSDT"}]' % event_time
        assert self.kind == "huge"
        return b'{"e":"trade","E":%d,"pad":"%s"}' % (event_time, b"x" * HUGE_BYTES)


class Faults:
    """Decides, event by event, which ids are skipped and what malformed message follows.

    Args:
        skip_ids_every: leave ids out before every such event; 0 for never.
        malformed_every: send a malformed message after every such event; 0 for never.
        seed: decides how many ids are skipped: 1 to 5.
    """

    def __init__(self, *, skip_ids_every: int = 0, malformed_every: int = 0, seed: int = 0) -> None:
        self._skip_every = skip_ids_every
        self._malformed_every = malformed_every
        self._rng = Random(f"{seed}/faults")
        self._malformed = zip(itertools.cycle(MALFORMED_KINDS), itertools.count(), strict=False)

    def skipped_ids(self, number: int) -> int:
        """Return how many ids to leave out before the event of this number, counted from 1."""
        if self._skip_every and number % self._skip_every == 0:
            return 1 + self._rng.randrange(5)
        return 0

    def malformed_after(self, number: int, event: Event) -> Malformed | None:
        """Return what to send after the event of this number, counted from 1."""
        if self._malformed_every and number % self._malformed_every == 0:
            kind, turn = next(self._malformed)
            # Each kind comes once a cycle: the salt counts cycles, so every absurd time gets its turn.
            return Malformed(kind, event, turn // len(MALFORMED_KINDS))
        return None
