"""Which numbers a forwarder has used and never sent: told to the receiver, they are no loss of the way."""

from collections import deque

from daemons.link.messages import MAX_RANGES

__all__ = ["GivenUp"]


class GivenUp:
    """Remembers numbers as ranges, the newest :data:`~daemons.link.messages.MAX_RANGES`; older ones count as lost."""

    def __init__(self) -> None:
        self._ranges: deque[tuple[int, int]] = deque(maxlen=MAX_RANGES)
        self._untold = 0

    def add(self, number: int) -> None:
        """Note that a number will never be sent."""
        first = number
        if self._ranges and self._ranges[-1][1] == number - 1:
            first = self._ranges.pop()[0]
            self._untold -= self._untold > 0
        self._ranges.append((first, number))
        self._untold = min(self._untold + 1, MAX_RANGES)

    def untold(self) -> tuple[tuple[int, int], ...]:
        """Return the ranges that this connection has not been told of, which it is herewith."""
        ranges = tuple(self._ranges)[len(self._ranges) - self._untold :]
        self._untold = 0
        return ranges

    def tell_again(self) -> None:
        """Begin a connection: what the last one was told may not have arrived. To be told twice does no harm."""
        self._untold = len(self._ranges)
