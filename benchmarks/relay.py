"""The floor: bytes from a TCP socket to a UDP socket and into a buffer, blocking, nothing understood on the way.

``forward URL HOST:PORT`` sends what each read brought as datagrams; ``receive HOST:PORT FILE`` stamps each datagram and
reads no more of it than the event time, at its fixed place in the feeder's message.
"""

import json
import signal
import socket
import sys
import time
from array import array
from pathlib import Path
from urllib.parse import urlsplit

from websockets.client import ClientProtocol
from websockets.uri import parse_uri

from benchmarks.feeder import HEAD_BYTES, MESSAGE_BYTES, TIME_AT
from benchmarks.samples import Samples

__all__: list[str] = []

FRAME_BYTES = HEAD_BYTES + MESSAGE_BYTES
AT = HEAD_BYTES + TIME_AT


class Stopped(Exception):  # noqa: N818 nothing is wrong
    pass


def forward(url: str, host: str, port: int) -> None:
    parts = urlsplit(url)
    assert parts.hostname is not None
    feed = socket.create_connection((parts.hostname, parts.port or 80))
    out = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    out.connect((host, port))
    protocol = ClientProtocol(parse_uri(url))
    protocol.send_request(protocol.connect())
    feed.sendall(b"".join(protocol.data_to_send()))
    answer = b""
    while b"\r\n\r\n" not in answer:
        answer += feed.recv(4096)
    print(json.dumps({"ready": True}), flush=True)
    rest = b""
    while data := feed.recv(262144):
        data = rest + data
        whole = len(data) - len(data) % FRAME_BYTES
        for at in range(0, whole, FRAME_BYTES):
            out.send(data[at : at + FRAME_BYTES])
        rest = data[whole:]


def receive(host: str, port: int, file: Path) -> None:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
    sock.bind((host, port))
    event_ns, measured_ns = array("q"), array("q")

    def stop(_number: int, _frame: object) -> None:
        raise Stopped

    signal.signal(signal.SIGTERM, stop)
    print(json.dumps({"ready": True}), flush=True)
    try:
        while True:
            data = sock.recv(65536)
            measured_ns.append(time.time_ns())
            event_ns.append(int(data[AT : AT + 16]) * 1000)
    except Stopped:
        count = len(event_ns)
        Samples(event_ns, measured_ns[:count]).save(file)


def main() -> None:
    role, *rest = sys.argv[1:]
    if role == "forward":
        url, destination = rest
        host, port = destination.rsplit(":", 1)
        forward(url, host, int(port))
    else:
        address, file = rest
        host, port = address.rsplit(":", 1)
        receive(host, int(port), Path(file))


if __name__ == "__main__":
    main()
