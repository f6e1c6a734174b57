"""An accelerator's edge: ends TCP connections, and goes on to the endpoint in one of its own from the client's address.

Run in the edge's network namespace as ``python -m tests.lab.edge_process [[ADDRESS, PORT, ENDPOINT], …]``. Two blocking
threads a connection, which are as punctual as the kernel wakes them.
"""

import contextlib
import json
import socket
import sys
import threading

from tests.lab.punctual import go_first

__all__ = ["main"]

IP_TRANSPARENT = 19
"""ip(7); Python does not name it. With it a socket may have an address that is not this machine's."""
CONNECT_SECONDS = 10.0
PIECE_BYTES = 65536


def main() -> None:
    """Serve until killed."""
    go_first()
    listeners = [
        (socket.create_server((address, port), backlog=64), (endpoint, port))
        for address, port, endpoint in json.loads(sys.argv[1])
    ]
    accepting = [threading.Thread(target=accept, args=each) for each in listeners]
    for thread in accepting:
        thread.start()
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    for thread in accepting:
        thread.join()


def accept(listener: socket.socket, endpoint: tuple[str, int]) -> None:
    """Take connections for an endpoint."""
    while True:
        client, address = listener.accept()
        threading.Thread(target=carry, args=(client, address, endpoint), daemon=True).start()


def carry(client: socket.socket, address: tuple[str, int], endpoint: tuple[str, int]) -> None:
    """Join a client's connection to one of our own, until either ends."""
    ours = socket.socket()
    with client, ours:
        try:
            ours.setsockopt(socket.SOL_IP, IP_TRANSPARENT, 1)
            ours.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            ours.bind(address)
            ours.settimeout(CONNECT_SECONDS)
            ours.connect(endpoint)
            ours.settimeout(None)
        except OSError:
            return
        for end in (client, ours):
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        back = threading.Thread(target=pump, args=(ours, client), daemon=True)
        back.start()
        pump(client, ours)
        back.join()


def pump(source: socket.socket, target: socket.socket) -> None:
    """Pass on what comes, and the end of it."""
    with contextlib.suppress(OSError):
        while piece := source.recv(PIECE_BYTES):
            target.sendall(piece)
    for end in (source, target):
        with contextlib.suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)


if __name__ == "__main__":
    main()
