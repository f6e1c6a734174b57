"""Two million events through forwarder and receiver: nothing is lost, and memory does not grow."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from websockets.frames import Frame, Opcode
from websockets.http11 import Request
from websockets.server import ServerProtocol

from tests.processes import Program, until
from tests.programs import address_of, forwarder, receiver, resident_bytes, scrape, settled

pytestmark = pytest.mark.soak

MILLION = 1_000_000
BATCH = 200
WINDOW = 10_000
GROWTH_BYTES = 2 << 20


def frames() -> bytes:
    """Make the frames of a batch of trades; the links count by their own sequence, so the ids may recur."""
    now_us = time.time_ns() // 1000
    return b"".join(
        Frame(
            Opcode.TEXT,
            b'{"stream":"btcusdt@trade","data":{"e":"trade","E":%d,"s":"BTCUSDT","t":%d,"p":"67012.01000000",'
            b'"q":"0.00123000","T":%d,"m":true,"M":true}}' % (now_us, number, now_us),
        ).serialize(mask=False)
        for number in range(BATCH)
    )


class Exchange:
    """Speaks the server's handshake with one client, then sends events as fast as they are taken."""

    def __init__(self, server: socket.socket) -> None:
        self._server = server
        self._allowed = 0
        self._changed = threading.Condition()
        self._sent = 0
        self._ended = False

    def allow(self, events: int) -> None:
        """Let it send up to so many events in all."""
        with self._changed:
            self._allowed = events
            self._changed.notify()

    def end(self) -> None:
        with self._changed:
            self._ended = True
            self._changed.notify()

    def run(self) -> None:
        connection, _source = self._server.accept()
        with connection:
            protocol = ServerProtocol()
            while not (events := protocol.events_received()):
                protocol.receive_data(connection.recv(65536))
            assert isinstance(events[0], Request)
            protocol.send_response(protocol.accept(events[0]))
            connection.sendall(b"".join(protocol.data_to_send()))
            batch = frames()
            while self._may_send():
                connection.sendall(batch)
                self._sent += BATCH

    def _may_send(self) -> bool:
        with self._changed:
            self._changed.wait_for(lambda: self._ended or self._sent < self._allowed)
            return not self._ended


@contextmanager
def exchange() -> Iterator[tuple[Exchange, str]]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        made = Exchange(server)
        thread = threading.Thread(target=made.run)
        thread.start()
        try:
            yield made, f"ws://127.0.0.1:{server.getsockname()[1]}"
        finally:
            made.end()
            thread.join()


def delivered(source: Exchange, middle: Program, total: int) -> bool:
    """Let the exchange go on as far as the buffer is sure to hold, and say whether all has been delivered.

    An exchange that is faster than the receiver for long makes the forwarder drop the oldest: by design, and another
    test's subject.
    """
    page = scrape(middle)
    assert page.sum("latency_forwarder_events_dropped_total") == 0
    forwarded = int(page.sum("latency_forwarder_events_forwarded_total"))
    source.allow(min(total, forwarded + WINDOW))
    return forwarded == total


def test_two_million_events_leave_no_trace_in_memory(tmp_path: Path) -> None:
    with (
        exchange() as (source, url),
        receiver(
            *("--mode", "aws-backbone", "--output", str(tmp_path / "run.json")),
        ) as sink,
        forwarder("--feed-url", url, "--stream", "btcusdt@trade", "--destination", address_of(sink)) as middle,
    ):
        resident: list[dict[str, int]] = []
        for total in (MILLION, 2 * MILLION):
            until(lambda total=total: delivered(source, middle, total), f"{total} are delivered", 300, 0.05)  # type: ignore[misc]
            settled(sink, "latency_receiver_events_total", total)
            resident.append({"forwarder": resident_bytes(middle.pid), "receiver": resident_bytes(sink.pid)})
        page = scrape(middle)
        assert page.sum("latency_forwarder_events_received_total") == 2 * MILLION
        assert page.sum("latency_forwarder_events_dropped_total") == 0
        assert page.sum("latency_forwarder_buffer_events") == 0
        page = scrape(sink)
        for name in ("sequence_gap_events", "duplicate_events", "reordered_events"):
            assert page.sum(f"latency_receiver_{name}_total") == 0
        grown = {name: resident[1][name] - resident[0][name] for name in resident[0]}
        assert max(grown.values()) < GROWTH_BYTES, f"grown by {grown} from {resident[0]}"
