"""The link's byte stream, cut into frames and read; docs/wire-format.md has the format and test vectors."""

from typing import Final

from daemons.errors import WireError
from daemons.link.control import decode_control
from daemons.link.events import event_at
from daemons.link.frame import FRAME_MAGIC, HEAD, Kind
from daemons.link.messages import Message
from daemons.reasons import LinkReason

__all__ = ["MAX_BODY", "MAX_STRANGER_BODY", "FrameDecoder"]

MAX_BODY: Final = 8 << 20
"""Largest body accepted from an authenticated peer."""
MAX_STRANGER_BODY: Final = 512
"""Largest body accepted before the handshake is complete."""
_EVENT: Final = int(Kind.EVENT)


class FrameDecoder:
    """Cuts a byte stream into messages, however it was split on the way.

    Attributes:
        limit: largest body accepted; raised once the peer is known.
        pause_after: frame type after which to stop; what follows it is then taken by :meth:`rest`.
        exact: the last read ended with a message, of which nothing came in a packet after the read's last.
    """

    def __init__(self, limit: int = MAX_STRANGER_BODY) -> None:
        self.limit = limit
        self.pause_after: Kind | None = None
        self.exact = False
        # What is there of a message, and how long it has to be before looking at it again brings anything: a large
        # message that comes in small pieces is put together once, not with each of them.
        self._rest = bytearray()
        self._needed = 0

    def feed(self, data: bytes) -> list[Message]:
        """Take in received bytes; return the messages that they complete.

        Raises:
            WireError: the bytes are not this format; the stream cannot be read on.
        """
        rest = self._rest
        if rest:
            rest += data
            if len(rest) < self._needed:
                self.exact = False
                return []
            data = bytes(rest)
            rest.clear()
        messages: list[Message] = []
        self._needed = HEAD.size
        at, end = 0, len(data)
        unpack = HEAD.unpack_from
        size = HEAD.size
        while end - at >= size:
            magic, kind, length = unpack(data, at)
            if magic != FRAME_MAGIC:
                raise WireError(LinkReason.GARBAGE, f"frame starts with {data[at : at + 4].hex()}, not ours")
            if length > self.limit:
                raise WireError(LinkReason.TOO_LARGE, f"frame of {length} bytes exceeds the limit of {self.limit}")
            stop = at + size + length
            if stop > end:
                self._needed = stop - at
                break
            if kind == _EVENT:
                messages.append(event_at(data, at, stop))
            else:
                messages += decode_control(kind, data[at + size : stop])
            at = stop
            if kind == self.pause_after:
                break
        self.exact = at == end
        if at < end:
            rest += data[at:]
        return messages

    def rest(self) -> bytes:
        """Give back what has come and was not decoded."""
        rest = bytes(self._rest)
        self._rest.clear()
        return rest
