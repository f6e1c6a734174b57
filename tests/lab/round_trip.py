"""The round trip to an address as the kernels at both ends see it: ``python -m tests.lab.round_trip ADDRESS``.

Echo requests (RFC 792) at the pace of a quiet feed, answered by the far kernel, and stamped by the near one when the
answer comes: no program of ours has a part in it. Writes the median in milliseconds.
"""

import os
import socket
import statistics
import struct
import sys
import time

from tests.lab.punctual import go_first

__all__ = ["main"]

COUNT = 100
PACE_SECONDS = 0.02
PATIENCE_SECONDS = 2.0
SO_TIMESTAMPNS = 35
ECHO_REQUEST, ECHO_REPLY = 8, 0
HEAD = struct.Struct("!BBHHH")


def main() -> None:
    """Measure."""
    go_first()
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP) as sock:
        sock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        sock.settimeout(PATIENCE_SECONDS)
        times = [round_trip_ns(sock, sys.argv[1], number) for number in range(COUNT)]
    sys.stdout.write(f"{statistics.median(times) / 1e6}\n")


def round_trip_ns(sock: socket.socket, address: str, number: int) -> int:
    """Ask once, and wait for the answer; TimeoutError if there is none."""
    time.sleep(PACE_SECONDS)
    identity = os.getpid() & 0xFFFF
    blank = HEAD.pack(ECHO_REQUEST, 0, 0, identity, number)
    sent_ns = time.time_ns()
    sock.sendto(HEAD.pack(ECHO_REQUEST, 0, checksum(blank), identity, number), (address, 0))
    for _ in range(10_000):
        packet, ancillary, _flags, _source = sock.recvmsg(1500, 256)
        kind, _code, _sum, whose, which = HEAD.unpack_from(packet, (packet[0] & 0x0F) * 4)
        if (kind, whose, which) == (ECHO_REPLY, identity, number):
            seconds, nanoseconds = struct.unpack("=qq", ancillary[0][2])
            arrived_ns: int = seconds * 1_000_000_000 + nanoseconds
            return arrived_ns - sent_ns
    raise TimeoutError(f"{address}: other people's packets only")


def checksum(data: bytes) -> int:
    """The internet check sum (RFC 1071) of an even number of bytes."""
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    total = (total & 0xFFFF) + (total >> 16)
    return ~(total + (total >> 16)) & 0xFFFF


if __name__ == "__main__":
    main()
