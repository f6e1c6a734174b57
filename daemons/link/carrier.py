"""What takes events to the kernel: a TCP connection or a UDP socket."""

from collections.abc import Callable, Sequence
from typing import Protocol

from daemons.errors import StreamError
from daemons.link.buffer import Pending
from daemons.stream.connection import Connection
from daemons.stream.datagram import DatagramSender

__all__ = ["Carrier", "DatagramCarrier", "StreamCarrier"]


class Carrier(Protocol):
    """The seam between the buffer and the socket.

    Attributes:
        paced: whether a backlog must be sent slowly, because nothing else holds the sender back.
    """

    paced: bool

    @property
    def blocked(self) -> bool:
        """Whether the kernel has no room now."""

    def send(self, pendings: Sequence[Pending]) -> int:
        """Send events in order; return how many of them the kernel accepted."""


class StreamCarrier:
    """Events over TCP. The connection takes every byte, so everything handed over is accepted."""

    paced = False

    def __init__(self, connection: Connection, end: bytes) -> None:
        self._connection = connection
        self._end = end

    @property
    def blocked(self) -> bool:
        return self._connection.blocked

    def send(self, pendings: Sequence[Pending]) -> int:
        end = self._end
        if len(pendings) == 1:
            self._connection.write(pendings[0].frame + end)
        else:
            self._connection.write(end.join([pending.frame for pending in pendings]) + end)
        return len(pendings)


class DatagramCarrier:
    """Events over UDP: those of one read share datagrams up to a size, others have their own.

    Args:
        sender: the socket.
        head: what every datagram starts with.
        pack_bytes: the size up to which events share a datagram.
        on_lost: called with the number of events accepted that then could not be sent.
    """

    paced = True

    def __init__(self, sender: DatagramSender, head: bytes, pack_bytes: int, on_lost: Callable[[int], None]) -> None:
        self._sender = sender
        self._head = head
        self._pack_bytes = pack_bytes
        self._on_lost = on_lost

    @property
    def blocked(self) -> bool:
        return self._sender.blocked

    def send(self, pendings: Sequence[Pending]) -> int:
        total = len(pendings)
        if total == 1:
            return int(self._send(self._head + pendings[0].frame, 1))
        sent = 0
        while sent < total:
            stop = sent + 1
            size = len(self._head) + len(pendings[sent].frame)
            while stop < total and size + len(pendings[stop].frame) <= self._pack_bytes:
                size += len(pendings[stop].frame)
                stop += 1
            datagram = self._head + b"".join([pending.frame for pending in pendings[sent:stop]])
            if not self._send(datagram, stop - sent):
                break
            sent = stop
        return sent

    def _send(self, datagram: bytes, events: int) -> bool:
        try:
            return self._sender.send(datagram)
        except StreamError:
            # No route for the moment: the control connection will notice and say so.
            self._on_lost(events)
            return True
