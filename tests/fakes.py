"""What stands in for the world in unit tests: it implements the same seam, and does only what it is told."""

from typing import NoReturn

__all__ = ["ManualClock", "absent"]

START_WALL_NS = 1_700_000_000_000_000_000
START_MONOTONIC_NS = 5_000_000_000_000


class ManualClock:
    """A clock that stands still until it is moved; a :class:`daemons.timing.clock.Clock`.

    Attributes:
        slept: the seconds of every sleep asked for; each moved the clock at once.
        stall_ns: for so long the process is held up right after the next reading of the wall clock.
    """

    def __init__(self) -> None:
        self._wall_ns = START_WALL_NS
        self._monotonic_ns = START_MONOTONIC_NS
        self.slept: list[float] = []
        self.stall_ns = 0

    def wall_ns(self) -> int:
        read, stall_ns, self.stall_ns = self._wall_ns, self.stall_ns, 0
        self.advance(stall_ns)
        return read

    def monotonic_ns(self) -> int:
        return self._monotonic_ns

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.advance(round(seconds * 1e9))

    def advance(self, ns: int) -> None:
        """Let time pass."""
        self._wall_ns += ns
        self._monotonic_ns += ns

    def step(self, ns: int) -> None:
        """Set the wall clock, as settimeofday(2) does; the monotonic clock goes on."""
        self._wall_ns += ns


def absent(*_arguments: object) -> NoReturn:
    """Stand for a callback that must not be called."""
    raise AssertionError("called, though it must not be")
