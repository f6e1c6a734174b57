"""A time server that can be wrong: ``python -m tests.lab.time_server NAMESPACE ADDRESS OFFSET_SECONDS STRATUM``.

Hosts share the outer machine's clock, which nothing here may set. A host whose chrony believes a server that is off
sees exactly what a host with a wrong clock sees: an offset and an error bound. (NTP, RFC 5905 section 7.3.)
"""

import socket
import struct
import sys
import time

from tests.lab.namespace import enter

__all__ = ["main"]

PORT = 123
UNIX_TO_NTP_SECONDS = 2_208_988_800
SERVER_MODE, VERSION = 4, 4
PRECISION_LOG2 = -20
ROOT_16_16 = 66
"""Root delay and dispersion: 1 ms in 16.16 fixed point."""

PACKET = struct.Struct("!BBbbII4s")


def timestamp(seconds: float) -> bytes:
    """Encode a Unix time as an NTP timestamp."""
    whole = int(seconds)
    return struct.pack("!II", (whole + UNIX_TO_NTP_SECONDS) & 0xFFFFFFFF, int((seconds - whole) * 2**32))


def reply(request: bytes, arrival: float, departure: float, stratum: int) -> bytes:
    """Answer a client's packet; times are the server's own."""
    head = PACKET.pack(
        VERSION << 3 | SERVER_MODE, stratum, request[2], PRECISION_LOG2, ROOT_16_16, ROOT_16_16, b"LAB\0"
    )
    origin = request[40:48]
    return head + timestamp(arrival - 1) + origin + timestamp(arrival) + timestamp(departure)


def main() -> None:
    """Serve until killed."""
    namespace, address, offset, stratum = sys.argv[1], sys.argv[2], float(sys.argv[3]), int(sys.argv[4])
    enter(namespace)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind((address, PORT))
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        while True:
            request, client = server.recvfrom(512)
            arrival = time.time() + offset
            if len(request) >= 48:
                server.sendto(reply(request, arrival, time.time() + offset, stratum), client)


if __name__ == "__main__":
    main()
