"""The head that every frame of a link begins with: magic, type, length of the body. All integers are big-endian."""

from enum import IntEnum
from struct import Struct
from typing import Final

__all__ = ["FRAME_MAGIC", "HEAD", "NO_TIME", "Kind"]

FRAME_MAGIC: Final = 0xB1
HEAD = Struct("!BBI")
NO_TIME: Final = -(1 << 63)
"""Stands for a time that is not known."""


class Kind(IntEnum):
    """Frame types."""

    CHALLENGE = 1
    HELLO = 2
    WELCOME = 3
    REJECT = 4
    EVENT = 5
    HEARTBEAT = 6
    ACK = 7
    CLOCK_REQUEST = 8
    CLOCK_REPLY = 9
    BYE = 10
    GAVE_UP = 11
    DEPARTURES = 128
    SHARED = 129
