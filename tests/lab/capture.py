"""What the kernel of a host saw on its interface, packet by packet: tcpdump(8), its file read."""

import struct
from pathlib import Path

from tests.lab.deadline import wait_until
from tests.lab.host import Host

__all__ = ["Capture"]

UNIT = "lab-capture.service"
FILE = "/var/tmp/lab.pcap"
NANOSECOND_MAGIC = 0xA1B23C4D
FILE_HEAD_BYTES = 24
PACKET_HEAD = struct.Struct("<IIII")
ETHERNET_BYTES, UDP_BYTES = 14, 8


class Capture:
    """Captures UDP datagrams that arrive at a host, from construction until :meth:`datagrams`.

    Args:
        host: where; one capture a host at a time.
        port: the datagrams' destination.
    """

    def __init__(self, host: Host, port: int) -> None:
        self._host = host
        command = ("tcpdump", "-i", "eth0", "-n", "-Z", "root", "--time-stamp-precision=nano", "-w", FILE)
        host.run("systemd-run", "--quiet", f"--unit={UNIT}", *command, f"udp dst port {port}")
        wait_until(
            "tcpdump listens", lambda: any("listening on" in str(said["MESSAGE"]) for said in host.journal(UNIT))
        )

    def datagrams(self) -> list[tuple[int, bytes]]:
        """Stop, and return the kernel's arrival stamp in ns, and the payload, of each datagram."""
        self._host.systemctl("stop", UNIT)
        return read(self._host.path(FILE))


def read(file: Path) -> list[tuple[int, bytes]]:
    """Read a capture of UDP in IPv4 in Ethernet (pcap-savefile(5))."""
    data = file.read_bytes()
    assert struct.unpack_from("<I", data) == (NANOSECOND_MAGIC,)
    found = []
    at = FILE_HEAD_BYTES
    while at < len(data):
        seconds, nanoseconds, kept, length = PACKET_HEAD.unpack_from(data, at)
        assert kept == length, "packets are captured whole"
        packet = data[at + PACKET_HEAD.size : at + PACKET_HEAD.size + kept]
        payload = ETHERNET_BYTES + (packet[ETHERNET_BYTES] & 0x0F) * 4 + UDP_BYTES
        found.append((seconds * 1_000_000_000 + nanoseconds, packet[payload:]))
        at += PACKET_HEAD.size + kept
    return found
