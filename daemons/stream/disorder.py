"""Whether what a TCP read brought had lain behind a packet that was missing, so that its stamp is too early.

The kernel stamps packets as they come, and gives a read the stamp of the last one in the order of the stream. Where one
was lost, those after it come first and wait: the read that the repeated one sets free has the stamp of a packet from
before, and the event that was lost would have come before it could have. How long the packet lay shows as the time
between its stamp and the read, which a process that stood still shows too; TCP's own counts tell the two apart.
"""

import socket
import struct
from typing import Final

from msgspec.structs import replace

from daemons.records import LATE_NS, Stamp, StampKind, exact
from daemons.stream.tcp_info import OUT_OF_ORDER_AT, SINCE_DATA_AT, SIZE

__all__ = ["Disorder"]

_U32: Final = struct.Struct("=I").unpack_from
_ENOUGH: Final = OUT_OF_ORDER_AT + 4


class Disorder:
    """Looks at a connected socket when a read of it is late.

    Args:
        sock: the socket; of one that is no TCP socket nothing is ever found.
    """

    __slots__ = ("_seen", "_socket")

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self._seen = 0

    def judged(self, stamp: Stamp) -> Stamp:
        """Return the stamp of a read, to be called right after it: of the moment of the read if it is of no use.

        It is of none if packets came out of order since the last look, and the newest packet came at less than half of
        the time that the read is late: then it is not the stamped one that the read had to wait for. Where the process
        was late instead, the stamped packet is the newest.
        """
        late_ns = stamp.handled_ns - stamp.ns
        if late_ns < LATE_NS or not exact(stamp.kind) or stamp.step_ns:
            return stamp
        try:
            info = self._socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, SIZE)
        except OSError:
            return stamp
        if len(info) < _ENOUGH:
            # A kernel from before 5.4 does not count them.
            return stamp
        seen, self._seen = self._seen, int(_U32(info, OUT_OF_ORDER_AT)[0])
        newest_ns = int(_U32(info, SINCE_DATA_AT)[0]) * 1_000_000
        if self._seen == seen or newest_ns >= late_ns / 2:
            return stamp
        # Late by no more than our own way here from the moment in which the hole was filled.
        return replace(
            stamp, ns=stamp.handled_ns, kind=StampKind.USER, steady_ns=stamp.steady_ns + late_ns, held_ns=late_ns
        )
