"""A feed fast enough to load any contestant: a real WebSocket handshake, then prebuilt frames on the raw socket.

Run as a program, it prints the port it listens on, serves one client, and is told what to send by lines of JSON on
standard input: ``{"rate": 1000, "seconds": 4}``. Each answer tells what was really sent. Events are trades in a
combined stream's envelope; their event time is the wall clock read right before the bytes are handed to the kernel.
"""

import contextlib
import ctypes
import json
import socket
import sys
import threading
import time
from typing import Any

from websockets.frames import Opcode
from websockets.http11 import Request
from websockets.server import ServerProtocol

__all__ = ["HEAD_BYTES", "MESSAGE_BYTES", "STREAM", "TIME_AT", "frames"]

STREAM = "btcusdt@trade"
BURST_RATE = 20_000
"""Above this rate events leave in bursts, one a tick: a sleep for each would cost more than the events."""
TICK_NS = 500_000
SPIN_NS = 20_000
PR_SET_TIMERSLACK = 29
FIRST_ID = 1_000_000_000
"""Ids keep their width for as long as anyone measures."""

_MESSAGE = (
    b'{"stream":"btcusdt@trade","data":{"e":"trade","E":%016d,"s":"BTCUSDT","t":%d,"p":"97123.45000000",'
    b'"q":"0.00123000","T":%016d,"m":true,"M":true}}'
)
MESSAGE_BYTES = len(_MESSAGE % (0, FIRST_ID, 0))
TIME_AT = _MESSAGE.index(b"%016d")
"""Where a message has its event time, sixteen digits of microseconds."""
_HEAD = bytes([0x80 | Opcode.TEXT, 126]) + MESSAGE_BYTES.to_bytes(2)
HEAD_BYTES = len(_HEAD)
_FRAME = _HEAD.replace(b"%", b"%%") + _MESSAGE


def frames(first_id: int, count: int, event_time_us: int) -> bytes:
    """Return ``count`` WebSocket frames of trades with successive ids, of ten digits."""
    return b"".join([_FRAME % (event_time_us, first_id + index, event_time_us) for index in range(count)])


def _handshake(sock: socket.socket) -> ServerProtocol:
    protocol = ServerProtocol()
    while True:
        protocol.receive_data(sock.recv(65536))
        for request in protocol.events_received():
            assert isinstance(request, Request)
            protocol.send_response(protocol.accept(request))
            sock.sendall(b"".join(protocol.data_to_send()))
            return protocol


def _answer(sock: socket.socket, protocol: ServerProtocol, sending: threading.Lock) -> None:
    """Answer pings until the client is gone: a client that hears nothing for long would give the feed up."""
    with contextlib.suppress(OSError):
        while data := sock.recv(65536):
            protocol.receive_data(data)
            protocol.events_received()
            with sending:
                sock.sendall(b"".join(protocol.data_to_send()))


def _feed(sock: socket.socket, sending: threading.Lock, first_id: int, rate: int, seconds: float) -> dict[str, Any]:
    per_tick = 1 if rate <= BURST_RATE else round(rate * TICK_NS / 1e9)
    tick_ns = round(per_tick * 1e9 / rate)
    ticks = max(1, round(seconds * rate / per_tick))
    wall_ns, steady_ns, sleep = time.time_ns, time.monotonic_ns, time.sleep
    event_id = first_id
    late_ns = 0
    begin_ns = due_ns = steady_ns() + 1_000_000
    first_us = 0
    event_us = 0
    for _tick in range(ticks):
        left_ns = due_ns - steady_ns()
        if left_ns > SPIN_NS:
            sleep((left_ns - SPIN_NS) / 1e9)
        while (left_ns := due_ns - steady_ns()) > 0:
            pass
        late_ns = max(late_ns, -left_ns)
        event_us = max(event_us + 1, wall_ns() // 1000)
        first_us = first_us or event_us
        with sending:
            sock.sendall(frames(event_id, per_tick, event_us))
        event_id += per_tick
        due_ns += tick_ns
    sent = event_id - first_id
    return {
        "sent": sent,
        "first_us": first_us,
        "last_us": event_us,
        "seconds": (steady_ns() - begin_ns) / 1e9,
        "offered_seconds": ticks * tick_ns / 1e9,
        "late_ns": late_ns,
    }


def main() -> None:
    # Sleeps end when they should, not up to 50 us later (prctl(2)).
    ctypes.CDLL(None).prctl(PR_SET_TIMERSLACK, 1)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        print(json.dumps({"port": listening.getsockname()[1]}), flush=True)
        sock, _peer = listening.accept()
    with sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sending = threading.Lock()
        threading.Thread(target=_answer, args=(sock, _handshake(sock), sending), daemon=True).start()
        print(json.dumps({"connected": True}), flush=True)
        event_id = FIRST_ID
        for line in sys.stdin:
            order = json.loads(line)
            done = _feed(sock, sending, event_id, order["rate"], order["seconds"])
            event_id += done["sent"]
            print(json.dumps(done), flush=True)


if __name__ == "__main__":
    main()
