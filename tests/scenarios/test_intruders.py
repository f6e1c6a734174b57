"""Who is not let in: while a forwarder delivers, strangers do their worst, and not a sample is added."""

import contextlib
import json
import socket
import struct
from pathlib import Path

import pytest

from daemons.link.control import encode_control
from daemons.link.events import datagram_head, encode_event
from daemons.link.messages import Hello, Transport
from daemons.link.receiving.port import MAX_STRANGERS
from daemons.records import UNKNOWN_CLOCK
from tests.processes import Program, until
from tests.programs import (
    delivered,
    dropped_datagrams,
    forwarder,
    log_lines,
    port_of,
    receiver,
    resident_bytes,
    scrape,
    settled,
    silences,
    simulator,
)

pytestmark = pytest.mark.process

KEY = "correct horse battery staple"
EVENT = encode_event(1, 1, 0, None, 1, None, b"btcusdt@trade", b"{}")


def key_file(tmp_path: Path, text: str) -> str:
    file = tmp_path / f"{len(text)}.key"
    file.write_text(text)
    file.chmod(0o600)
    return str(file)


def refusals(program: Program) -> dict[str, float]:
    return scrape(program).by("latency_receiver_link_refusals_total", "reason")


def turned_away(program: Program) -> float:
    """How many connections were given up in their handshake: for lack of room, or of a word."""
    found = refusals(program)
    return found.get("limit", 0) + found["timeout"]


def talk(port: int, data: bytes) -> bytes:
    """Say something to a receiver; return all it answered until it closed."""
    answer = b""
    with socket.create_connection(("127.0.0.1", port), timeout=300) as connection:
        connection.sendall(data)
        try:
            while piece := connection.recv(65536):
                answer += piece
        except ConnectionResetError:
            pass
    return answer


def test_strangers_add_nothing_and_harm_nobody(tmp_path: Path) -> None:
    key = key_file(tmp_path, KEY)
    output = tmp_path / "run.json"
    with (
        simulator("--rate", "500", "--wait-for-clients", "1") as exchange,
        receiver(
            *("--mode", "aws-backbone", "--transport", "udp", "--key-file", key, "--output", str(output)),
        ) as program,
    ):
        url, port = f"ws://{exchange.ready['near']}", port_of(program)
        destination = ("--destination", f"127.0.0.1:{port}")
        with forwarder("--feed-url", url, *destination, "--key-file", key) as sender:
            until(lambda: bool(scrape(program).by("latency_receiver_events_total", "stream")), "events flow")

            # Another key, and none; on the other side the reason is known as well.
            for flags in (("--key-file", key_file(tmp_path, KEY + "!")), ()):
                with forwarder("--feed-url", url, *destination, *flags) as wrong:
                    line = json.loads(wrong.wait_for_log('"reason": "key"'))
                    assert "give both ends the same key file" in line["error"]
                assert KEY not in wrong.log
            assert refusals(program)["key"] >= 2

            # Another version.
            old = Hello(0, Transport.TCP, 1, bytes(16), 0, "", UNKNOWN_CLOCK)
            assert b"it speaks version 0, we 2; upgrade the older" in talk(port, encode_control(old))
            # Garbage, a frame out of turn, a frame that is too large: cut at once, after the challenge.
            for data in (b"GET / HTTP/1.1\r\n\r\n", b"\x00" * 4096, EVENT * 100):
                assert len(talk(port, data)) <= 23
            assert len(talk(port, struct.pack("!BBI", 0xB1, 2, 0xFFFFFFFF))) <= 23
            # Half a frame, and nothing at all: given up after the handshake's time.
            for data in (encode_control(old)[:20], b""):
                assert len(talk(port, data)) == 23
            counted = refusals(program)
            assert {reason: counted[reason] for reason in ("version", "garbage", "too_large")} == {
                "version": 1,
                "garbage": 3,
                "too_large": 1,
            }
            # Whoever had another key may have been too slow to say so.
            assert counted["timeout"] >= 2

            # A thousand that connect and say nothing. By now there is what every stream and page needs.
            before = resident_bytes(program.pid)
            with contextlib.ExitStack() as crowd:
                for _ in range(1000):
                    crowd.enter_context(socket.create_connection(("127.0.0.1", port), timeout=300))
                until(lambda: turned_away(program) >= 2 + 1000 - MAX_STRANGERS, "the crowd is turned away")

            # Datagrams: of no link, and of no form.
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as intruder:
                intruder.connect(("127.0.0.1", port))
                for _ in range(50):
                    intruder.send(datagram_head(12345, 1) + EVENT)
                    intruder.send(b"\xff" * 1000)
                    intruder.send(
                        b'{"sequence_id":1,"tokyo_receive_timestamp":1,"binance_event_time":1,"event_data":""}'
                    )

                def unseen() -> float:
                    found = refusals(program)
                    # Of no link, and of no form, beside the three of before.
                    left = (50 - found.get("token", 0), 103 - found["garbage"])
                    assert min(left) >= 0
                    return sum(left)

                until(lambda: unseen() <= dropped_datagrams(program), "all datagrams that come in are refused")

            # The log does not grow with the crowd.
            assert len(log_lines(program, "peer refused")) < 60
            # A process that served a thousand strangers has not kept them: 4 MB are the allocator's, not theirs.
            assert resident_bytes(program.pid) - before < 4 << 20
            connections = scrape(program).sum("latency_receiver_link_connections_total")
            assert connections - 1 <= silences(program, sender)
            settled(program, "latency_receiver_link_connected", 1)
            exchange.terminate()
            total = exchange.last_json()["near"]["messages_sent"]
            # The end of a connection is seen after all that came before it.
            settled(sender, "latency_forwarder_feed_connected", 0)
            # Three forwarders listened to the exchange; ours was the only one let in.
            received = scrape(sender).sum("latency_forwarder_events_received_total")
            assert received <= total
            got = delivered(program, received)
        program.terminate()
        assert KEY not in program.log + sender.log
    path = json.loads(output.read_text())["paths"]["backbone"]
    lost = received - got
    assert (path["events"], path["unique"], path["events_lost"], path["sessions"]) == (got, got, lost, 1)


def test_a_source_that_is_not_allowed(tmp_path: Path) -> None:
    with receiver("--mode", "aws-backbone", "--transport", "udp", "--allow", "10.0.0.0/8") as program:
        port = port_of(program)
        assert talk(port, b"") == b""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as intruder:
            intruder.sendto(datagram_head(1, 1) + EVENT, ("127.0.0.1", port))
        until(lambda: refusals(program) == {"source": 2}, "both are refused")
        (line,) = log_lines(program, "peer refused")[:1]
        assert line["error"] == "127.0.0.1 is not in allowed_sources"


def test_a_path_of_another_name(tmp_path: Path) -> None:
    with (
        receiver("--mode", "aws-backbone") as program,
        forwarder(
            *("--feed-url", "ws://127.0.0.1:1", "--destination", f"127.0.0.1:{port_of(program)}"),
            *("--path-name", "elsewhere"),
        ) as wrong,
    ):
        line = json.loads(wrong.wait_for_log('"reason": "path"'))
        assert "it names path 'elsewhere', this is 'backbone'; set path_name" in line["error"]
        assert refusals(program)["path"] >= 1
