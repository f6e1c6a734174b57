"""A feed fast enough to load any contestant: a real WebSocket handshake, then prebuilt frames on the raw socket.

Run as a program, it prints the port it listens on, serves one client, and is told what to send by lines of JSON on
standard input: ``{"rate": 1000, "seconds": 4}``. Each answer tells what was really sent. Events are trades in a
combined stream's envelope, or with ``--sbe`` binary ones; their event time is the wall clock read right before the
bytes are handed to the kernel, or with ``--tls CERTIFICATE KEY`` to OpenSSL.
"""

import argparse
import contextlib
import ctypes
import json
import select
import socket
import ssl
import struct
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

from websockets.frames import Opcode
from websockets.http11 import Request
from websockets.server import ServerProtocol

__all__ = ["HEAD_BYTES", "MESSAGE_BYTES", "SBE_TIME_AT", "STREAM", "TIME_AT", "frames", "sbe_frames"]

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

_SBE = struct.Struct("<HHHHqqbbHIqqq?B7s")
"""Schema ``spot_stream`` 1:0, template 10000: head; times and exponents; a group of one trade; the symbol."""
_SBE_FRAME = bytes([0x80 | Opcode.BINARY, _SBE.size])
SBE_TIME_AT = 8
"""Where a binary message has its event time, eight bytes of microseconds."""


def frames(first_id: int, count: int, event_time_us: int) -> bytes:
    """Return ``count`` WebSocket frames of trades with successive ids, of ten digits."""
    return b"".join([_FRAME % (event_time_us, first_id + index, event_time_us) for index in range(count)])


def sbe_frames(first_id: int, count: int, event_time_us: int) -> bytes:
    """Return ``count`` WebSocket frames of binary messages of one trade each, with successive ids."""
    of = (18, 10000, 1, 0, event_time_us, event_time_us, -8, -8, 25, 1)
    made = [_SBE.pack(*of, first_id + index, 9712345000000, 123000, True, 7, b"BTCUSDT") for index in range(count)]
    return _SBE_FRAME + _SBE_FRAME.join(made)


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
    data = b"any"
    with contextlib.suppress(OSError):
        while data:
            select.select([sock], [], [])
            # A TLS connection is not for two threads at once.
            with sending:
                data = sock.recv(65536)
                protocol.receive_data(data)
                protocol.events_received()
                sock.sendall(b"".join(protocol.data_to_send()))


def _feed(
    sock: socket.socket,
    sending: threading.Lock,
    made: Callable[[int, int, int], bytes],
    first_id: int,
    rate: int,
    seconds: float,
) -> dict[str, Any]:
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
            sock.sendall(made(event_id, per_tick, event_us))
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
    options = argparse.ArgumentParser()
    options.add_argument("--tls", nargs=2, metavar=("CERTIFICATE", "KEY"))
    options.add_argument("--sbe", action="store_true")
    given = options.parse_args()
    # Sleeps end when they should, not up to 50 us later (prctl(2)).
    ctypes.CDLL(None).prctl(PR_SET_TIMERSLACK, 1)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        print(json.dumps({"port": listening.getsockname()[1]}), flush=True)
        sock, _peer = listening.accept()
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if given.tls:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(*given.tls)
        sock = context.wrap_socket(sock, server_side=True)
    with sock:
        sending = threading.Lock()
        threading.Thread(target=_answer, args=(sock, _handshake(sock), sending), daemon=True).start()
        print(json.dumps({"connected": True}), flush=True)
        event_id = FIRST_ID
        for line in sys.stdin:
            order = json.loads(line)
            done = _feed(sock, sending, sbe_frames if given.sbe else frames, event_id, order["rate"], order["seconds"])
            event_id += done["sent"]
            print(json.dumps(done), flush=True)


if __name__ == "__main__":
    main()
