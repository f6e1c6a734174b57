"""What takes events to the kernel: a TCP connection or a UDP socket."""

import contextlib
from collections.abc import Callable, Sequence
from typing import Protocol

from daemons.errors import StreamError
from daemons.link.sending.buffer import Pending
from daemons.stream.connection import Connection
from daemons.stream.datagram import DatagramSender
from daemons.stream.departures import Departed

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

    def send(self, pendings: Sequence[Pending], told: Departed | None = None) -> int:
        """Send events in order; return how many of them the kernel accepted.

        Args:
            pendings: the events.
            told: told when the last of them left this host, where the kernel says so.
        """


class StreamCarrier:
    """Events over TCP. The connection takes every byte, so everything handed over is accepted.

    Args:
        connection: the connection.
        end: what ends each frame.
        seal: makes what is written of the frames of one turn; None to write them as they are.
    """

    paced = False

    def __init__(self, connection: Connection, end: bytes, seal: Callable[[bytes], bytes] | None = None) -> None:
        self._connection = connection
        self._end = end
        self._seal = seal

    @property
    def blocked(self) -> bool:
        return self._connection.blocked

    def send(self, pendings: Sequence[Pending], told: Departed | None = None) -> int:
        end = self._end
        if len(pendings) == 1:
            data = pendings[0].frame + end
        else:
            data = end.join([pending.frame for pending in pendings]) + end
        if self._seal is not None:
            data = self._seal(data)
        if told is None:
            self._connection.write(data)
        else:
            self._connection.write_stamped(data, told)
        return len(pendings)


class DatagramCarrier:
    """Events over UDP: those of one read share datagrams up to a size, others have their own.

    Args:
        sender: the socket.
        wrap: makes a datagram of the frames in it.
        overhead: bytes that it adds.
        pack_bytes: the size up to which events share a datagram.
        on_lost: called with the events accepted that then could not be sent.
    """

    paced = True

    def __init__(
        self,
        sender: DatagramSender,
        wrap: Callable[[bytes], bytes],
        overhead: int,
        pack_bytes: int,
        on_lost: Callable[[Sequence[Pending]], None],
    ) -> None:
        self._sender = sender
        self._wrap = wrap
        self._overhead = overhead
        self._pack_bytes = pack_bytes
        self._on_lost = on_lost

    @property
    def blocked(self) -> bool:
        return self._sender.blocked

    def send(self, pendings: Sequence[Pending], told: Departed | None = None) -> int:
        total = len(pendings)
        if total == 1:
            return int(self._send(pendings, told))
        sent = 0
        while sent < total:
            stop = sent + 1
            size = self._overhead + len(pendings[sent].frame)
            while stop < total and size + len(pendings[stop].frame) <= self._pack_bytes:
                size += len(pendings[stop].frame)
                stop += 1
            if not self._send(pendings[sent:stop], told if stop == total else None):
                break
            sent = stop
        return sent

    def keep_open(self) -> None:
        """Send a datagram without events, so that what lies on the way does not forget the flow."""
        with contextlib.suppress(StreamError):
            self._sender.send(self._wrap(b""))

    def _send(self, pendings: Sequence[Pending], told: Departed | None) -> bool:
        frames = pendings[0].frame if len(pendings) == 1 else b"".join([pending.frame for pending in pendings])
        try:
            if told is not None:
                return self._sender.send_stamped(self._wrap(frames), told)
            return self._sender.send(self._wrap(frames))
        except StreamError:
            # No route for the moment: the control connection will notice and say so.
            self._on_lost(pendings)
            return True
