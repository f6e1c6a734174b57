"""An exchange of the websockets library's making: one market, any number of connections, notices and cuts at will."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from websockets.exceptions import ConnectionClosed
from websockets.sync.server import Server, ServerConnection, serve

__all__ = ["Exchange", "exchange"]


class Exchange:
    """Sends every event to each connection that is there; counts what it sent.

    Attributes:
        port: where it listens.
        connections: how many there have been.
        last_id: of the newest event.
    """

    def __init__(self, rate: float) -> None:
        self._interval_seconds = 1 / rate
        self._members: dict[ServerConnection, None] = {}
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self.connections = 0
        self.last_id = 0
        self.port = 0

    def member(self, connection: ServerConnection) -> None:
        with self._lock:
            self._members[connection] = None
            self.connections += 1
        try:
            for _message in connection:
                pass
        except ConnectionClosed:
            pass
        finally:
            with self._lock:
                self._members.pop(connection, None)

    def trade(self) -> None:
        """Send events until told to stop."""
        due = time.monotonic()
        while not self._stop.is_set():
            with self._lock:
                self.last_id += 1
                now_us = time.time_ns() // 1000
                self._send({"e": "trade", "E": now_us, "s": "BTCUSDT", "t": self.last_id, "p": "1", "q": "1"})
            due += self._interval_seconds
            self._stop.wait(max(0.0, due - time.monotonic()))

    def announce_shutdown(self) -> None:
        """Tell everybody who is connected that their connection is about to be closed."""
        with self._lock:
            self._send({"e": "serverShutdown", "E": time.time_ns() // 1000})

    def tell_the_oldest(self, symbol: str) -> None:
        """Send one event of another symbol to the connection that has been there for longest, and to no other."""
        with self._lock:
            oldest = next(iter(self._members))
            oldest.send(
                json.dumps({"e": "trade", "E": time.time_ns() // 1000, "s": symbol, "t": 1, "p": "1", "q": "1"})
            )

    def tell_everybody(self, symbol: str, count: int) -> None:
        """Send trades of another symbol, and then none of it any more."""
        with self._lock:
            for number in range(1, count + 1):
                self._send({"e": "trade", "E": time.time_ns() // 1000, "s": symbol, "t": number, "p": "1", "q": "1"})

    def cut(self) -> None:
        """Close every connection without a word before."""
        for connection in tuple(self._members):
            connection.close()

    def cut_the_oldest(self) -> None:
        """Close the connection that has been there for longest, without a word before."""
        next(iter(self._members)).close()

    def close(self) -> None:
        self._stop.set()

    def _send(self, message: dict[str, object]) -> None:
        text = json.dumps(message)
        for connection in tuple(self._members):
            try:
                connection.send(text)
            except ConnectionClosed:
                self._members.pop(connection, None)


@contextmanager
def exchange(rate: float, host: str = "127.0.0.1") -> Iterator[Exchange]:
    """Run an exchange for the length of a block."""
    made = Exchange(rate)
    server: Server = serve(made.member, host, 0, compression=None)
    made.port = server.socket.getsockname()[1]
    threads = [threading.Thread(target=server.serve_forever), threading.Thread(target=made.trade)]
    for thread in threads:
        thread.start()
    try:
        yield made
    finally:
        made.close()
        server.shutdown()
        for thread in threads:
            thread.join()
