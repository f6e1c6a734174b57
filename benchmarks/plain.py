"""The first draft: what one writes with the high-level API of ``websockets`` and the standard library's json.

``forward URL HOST:PORT`` parses each message, wraps it as a ForwardedEvent and sends it by UDP;
``receive HOST:PORT FILE`` parses, measures and keeps every sample until SIGTERM.
"""

import asyncio
import json
import signal
import socket
import sys
import time
from array import array
from pathlib import Path
from typing import Any

from websockets.asyncio.client import connect

from benchmarks.samples import Samples

__all__: list[str] = []


async def forward(url: str, host: str, port: int) -> None:
    loop = asyncio.get_running_loop()
    transport, _protocol = await loop.create_datagram_endpoint(asyncio.DatagramProtocol, remote_addr=(host, port))
    sequence = 0
    async with connect(url, compression=None) as feed:
        print(json.dumps({"ready": True}), flush=True)
        async for message in feed:
            received_ns = time.time_ns()
            event = json.loads(message)
            sequence += 1
            forwarded = {
                "sequence_id": sequence,
                "tokyo_receive_timestamp": received_ns,
                "binance_event_time": event["data"]["E"],
                "event_data": event,
            }
            transport.sendto(json.dumps(forwarded).encode())


class Receiver(asyncio.DatagramProtocol):
    def __init__(self) -> None:
        self.samples: list[dict[str, int]] = []

    def datagram_received(self, data: bytes, addr: Any) -> None:
        event = json.loads(data)
        measured_ns = time.time_ns()
        event_ns = event["binance_event_time"] * 1000
        self.samples.append(
            {
                "event_ns": event_ns,
                "measured_ns": measured_ns,
                "end_to_end_ns": measured_ns - event_ns,
                "backbone_ns": measured_ns - event["tokyo_receive_timestamp"],
            }
        )


async def receive(host: str, port: int, file: Path) -> None:
    loop = asyncio.get_running_loop()
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    # As large as the other contestants', so that what is lost is lost by speed.
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
    sock.bind((host, port))
    receiver = Receiver()
    await loop.create_datagram_endpoint(lambda: receiver, sock=sock)
    told = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, told.set)
    print(json.dumps({"ready": True}), flush=True)
    await told.wait()
    samples = receiver.samples
    Samples(
        array("q", [sample["event_ns"] for sample in samples]),
        array("q", [sample["measured_ns"] for sample in samples]),
    ).save(file)


def main() -> None:
    role, *rest = sys.argv[1:]
    if role == "forward":
        url, destination = rest
        host, port = destination.rsplit(":", 1)
        asyncio.run(forward(url, host, int(port)))
    else:
        address, file = rest
        host, port = address.rsplit(":", 1)
        asyncio.run(receive(host, int(port), Path(file)))


if __name__ == "__main__":
    main()
