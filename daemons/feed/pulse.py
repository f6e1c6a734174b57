"""The pings of one connection of a feed: which is under way, and how long its answer took. Pure."""

__all__ = ["PING_SECONDS", "Pulse"]

PING_SECONDS = 20.0
"""Far below the five messages a second that exchanges allow, and below the idle limits of middle boxes."""


class Pulse:
    """Makes pings, and knows their answers.

    Attributes:
        outstanding: the last ping has no answer yet.
    """

    def __init__(self) -> None:
        self._number = 0
        self._sent_ns = 0
        self.outstanding = False

    def ping(self, now_ns: int) -> bytes:
        """Return the payload of the next ping, which is about to be sent.

        Args:
            now_ns: by the monotonic clock.
        """
        self._number += 1
        self._sent_ns = now_ns
        self.outstanding = True
        return self._number.to_bytes(8)

    def pong(self, payload: bytes, arrived_ns: int) -> int | None:
        """Take in a pong; return the round trip in nanoseconds.

        Args:
            payload: that it carried.
            arrived_ns: by the same clock.

        Returns:
            None for one that nobody asked for, or that answers an earlier ping: a peer may answer the last of several
            only, and send pongs unasked (RFC 6455, section 5.5.3).
        """
        if not self.outstanding or payload != self._number.to_bytes(8):
            return None
        self.outstanding = False
        return max(0, arrived_ns - self._sent_ns)
