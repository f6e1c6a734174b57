"""Strangers in crowds at a link that delivers: replayed, outdated, half-said, slow and thousands; it loses no event."""

import contextlib
import itertools
import resource
import socket
from pathlib import Path

import pytest

from daemons.link.control import encode_control
from daemons.link.frame import HEAD
from daemons.link.messages import VERSION, Challenge, Transport
from daemons.link.receiving.port import MAX_STRANGERS
from daemons.link.session import ForwarderSession, Introduction
from daemons.records import UNKNOWN_CLOCK, Stamp, StampKind
from daemons.secret import Secret
from tests.processes import Program, until
from tests.programs import forwarder, log_lines, port_of, receiver, rows_of, scrape, settled, silences, simulator
from tests.scenarios.test_intruders import KEY, key_file, refusals, talk
from tests.stretches import stretches

pytestmark = pytest.mark.process

CHALLENGE_BYTES = HEAD.size + 17
REPLAYS = 200
OUTDATED = 50
SLOW = 100
CROWD = 5_000
_STAMP = Stamp(1, StampKind.USER, 1, 1)


def hello(challenge: bytes, key: str) -> bytes:
    """Return what a forwarder with this key answers to a challenge."""
    session = ForwarderSession(
        Introduction(Secret(key.encode()), 4711, "backbone", Transport.TCP, 0, bytes(16)), UNKNOWN_CLOCK
    )
    session.receive_data(challenge, _STAMP, lambda: 1)
    return session.data_to_send()


def replays(port: int) -> None:
    """Say a handshake that was good once, in answer to another challenge."""
    recorded = hello(encode_control(Challenge(VERSION, bytes(range(16)))), KEY)
    for _turn in range(REPLAYS):
        assert b"it has another key" in talk(port, recorded)


def outdated(port: int) -> None:
    """Answer the challenge properly, with the key of last year."""
    for _turn in range(OUTDATED):
        with socket.create_connection(("127.0.0.1", port), timeout=300) as connection:
            challenge = connection.recv(CHALLENGE_BYTES, socket.MSG_WAITALL)
            connection.sendall(hello(challenge, "the key of last year"))
            assert b"it has another key" in connection.recv(4096)


def half_said_and_slow(port: int, crowd: contextlib.ExitStack) -> None:
    """Say half of a handshake: a byte a turn, or all at once and then nothing, or with the way back closed."""
    said = hello(encode_control(Challenge(VERSION, bytes(16))), KEY)
    callers = [crowd.enter_context(socket.create_connection(("127.0.0.1", port), timeout=300)) for _ in range(SLOW)]
    for number, caller in enumerate(callers):
        with contextlib.suppress(OSError):
            if number % 3:
                caller.sendall(said[: len(said) // 2])
            if number % 3 == 1:
                caller.shutdown(socket.SHUT_WR)
    for byte, caller in itertools.product(said[: len(said) // 2], callers[::3]):
        with contextlib.suppress(OSError):
            caller.sendall(bytes([byte]))


def silent(port: int, crowd: contextlib.ExitStack) -> int:
    """Connect as many as this process may have descriptors for, and say nothing; return how many."""
    soft, _hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    count = min(CROWD, max(soft - 512, 2 * MAX_STRANGERS))
    for _turn in range(count):
        crowd.enter_context(socket.create_connection(("127.0.0.1", port), timeout=300))
    return count


def turned_away(program: Program, *reasons: str) -> float:
    found = refusals(program)
    return sum(found.get(reason, 0) for reason in reasons)


@pytest.mark.parametrize("transport", ["tcp", pytest.param("udp", marks=pytest.mark.exhaustive)])
def test_crowds_of_strangers_cost_the_real_link_no_event(tmp_path: Path, transport: str) -> None:
    key, rows = key_file(tmp_path, KEY), tmp_path / "rows.csv"
    with (
        simulator("--rate", "500", "--wait-for-clients", "1") as exchange,
        receiver(
            *("--mode", "aws-backbone", "--transport", transport, "--key-file", key, "--csv-output", str(rows)),
        ) as program,
        forwarder(
            *("--feed-url", f"ws://{exchange.ready['near']}", "--destination", f"127.0.0.1:{port_of(program)}"),
            *("--transport", transport, "--key-file", key),
        ) as sender,
    ):
        port = port_of(program)
        until(lambda: bool(scrape(program).by("latency_receiver_events_total", "stream")), "events flow")
        replays(port)
        outdated(port)
        assert turned_away(program, "key") == REPLAYS + OUTDATED
        with contextlib.ExitStack() as crowd:
            half_said_and_slow(port, crowd)
            before = turned_away(program, "limit", "timeout")
            count = silent(port, crowd)
            until(
                lambda: turned_away(program, "limit", "timeout") >= before + count - MAX_STRANGERS,
                "the crowd is turned away",
            )
        page = scrape(program)
        assert page.sum("latency_receiver_link_connections_total") - 1 <= silences(program, sender)
        settled(program, "latency_receiver_link_connected", 1)
        assert refusals(program).get("unexpected", 0) == 0
        assert len(log_lines(program, "peer refused")) < 80
        exchange.terminate()
        settled(sender, "latency_forwarder_feed_connected", 0)
        page = scrape(sender)
        received = page.sum("latency_forwarder_events_received_total")
        assert sum(page.matching("latency_forwarder_events_dropped_total")) == 0
        settled(program, "latency_receiver_events_total", received)
        program.terminate()
    numbers = [int(row["sequence_id"]) for row in rows_of(rows)]
    assert stretches(sorted(numbers)) == [(1, received)]
