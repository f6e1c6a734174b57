"""ICMP echo without I/O: messages, and the account of what was sent, answered and lost (RFC 792, RFC 4443)."""

import struct
from collections import OrderedDict

from daemons.measurement.jitter import InterarrivalJitter

__all__ = ["EchoAccount", "reply_number", "request"]

_REQUEST = {4: 8, 6: 128}
_REPLY = {4: 0, 6: 129}
_HEADER = struct.Struct("!BBHHH")
_COOKIE = struct.Struct("!Q")
REMEMBERED = 4096
"""How many numbers that were answered or given up are remembered, to tell late answers and duplicates from noise."""


def request(version: int, number: int, payload_bytes: int) -> bytes:
    """Encode an echo request; the kernel fills in identifier and checksum of a ping socket (icmp(7)).

    Args:
        version: of IP, 4 or 6.
        number: of the request, from 0; whole in the payload, its low 16 bits in the header.
        payload_bytes: at least 8.
    """
    head = _HEADER.pack(_REQUEST[version], 0, 0, 0, number & 0xFFFF)
    return head + _COOKIE.pack(number) + bytes(payload_bytes - _COOKIE.size)


def reply_number(version: int, message: bytes) -> int | None:
    """Return the number of the request that an echo reply answers; None for any other message."""
    if len(message) < _HEADER.size + _COOKIE.size or message[0] != _REPLY[version] or message[1] != 0:
        return None
    (number,) = _COOKIE.unpack_from(message, _HEADER.size)
    (sequence,) = struct.unpack_from("!H", message, 6)
    return int(number) if number & 0xFFFF == sequence else None


class EchoAccount:
    """What became of each request: ``sent == received + lost + outstanding``, always.

    Args:
        timeout_ns: after which a request is lost, whatever comes later.

    Attributes:
        sent: requests.
        received: answered in time.
        lost: not answered in time.
        late: answers to requests that had been given up.
        duplicates: further answers to one request.
        jitter: of the round trips, after RFC 3550.
    """

    def __init__(self, timeout_ns: int) -> None:
        self._timeout_ns = timeout_ns
        self._outstanding: OrderedDict[int, int] = OrderedDict()
        self._done: OrderedDict[int, bool] = OrderedDict()
        self.sent = 0
        self.received = 0
        self.lost = 0
        self.late = 0
        self.duplicates = 0
        self.jitter = InterarrivalJitter()

    @property
    def outstanding(self) -> int:
        """Requests that may still be answered in time."""
        return len(self._outstanding)

    def send(self, now_ns: int) -> int:
        """Note that a request is being sent; return its number."""
        number = self.sent
        self.sent += 1
        self._outstanding[number] = now_ns
        return number

    def receive(self, number: int, arrival_ns: int) -> int | None:
        """Take in an answer.

        Returns:
            The round trip in nanoseconds; None when the answer is late, a duplicate, or of nothing we sent.
        """
        sent_ns = self._outstanding.get(number)
        if sent_ns is None:
            answered = self._done.get(number)
            if answered is not None:
                self.duplicates += answered
                self.late += not answered
                self._done[number] = True
            return None
        round_trip_ns = arrival_ns - sent_ns
        if round_trip_ns > self._timeout_ns:
            # It expired before anyone looked.
            self._give_up(number)
            return self.receive(number, arrival_ns)
        del self._outstanding[number]
        self._remember(number, answered=True)
        self.received += 1
        self.jitter.observe(round_trip_ns)
        return round_trip_ns

    def expire(self, now_ns: int) -> None:
        """Give up the requests whose time is over."""
        while self._outstanding:
            number, sent_ns = next(iter(self._outstanding.items()))
            if now_ns - sent_ns <= self._timeout_ns:
                return
            self._give_up(number)

    def _give_up(self, number: int) -> None:
        del self._outstanding[number]
        self._remember(number, answered=False)
        self.lost += 1

    def _remember(self, number: int, *, answered: bool) -> None:
        self._done[number] = answered
        if len(self._done) > REMEMBERED:
            self._done.popitem(last=False)
