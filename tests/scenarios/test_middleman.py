"""With a key, whoever is on the way adds and changes nothing: what arrives is what was sent, each event once."""

import os
import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.namespaces import alone
from tests.processes import Program, until
from tests.programs import forwarder, port_of, receiver, rows_of, scrape, settled, simulator
from tests.scenarios.middleman import Middleman, standing_between
from tests.scenarios.test_intruders import KEY, key_file, refusals
from tests.stretches import stretches

pytestmark = pytest.mark.process


@contextmanager
def attacked(folder: Path, transport: str) -> Iterator[tuple[Program, Program, Program, Middleman]]:
    """Run exchange, receiver and forwarder, and the man between the last two."""
    key, config = key_file(folder, KEY), folder / "forwarder.toml"
    link = ("--transport", transport, "--key-file", key, "--csv-output", str(folder / "rows.csv"))
    with (
        simulator("--rate", "1000", "--wait-for-clients", "1") as exchange,
        receiver("--mode", "aws-backbone", *link) as program,
        standing_between(port_of(program), random.Random(22), streams=transport == "tcp") as middleman,
    ):
        # Each attack on a stream costs a connection; what comes next should not wait for its successor.
        config.write_text(
            f'[[destination]]\naddress = "127.0.0.1:{middleman.port}"\ntransport = "{transport}"\n'
            f'key_file = "{key}"\nreconnect_max_seconds = 0.1\n'
        )
        with forwarder("--feed-url", f"ws://{exchange.ready['near']}", "--config", str(config)) as sender:
            yield exchange, sender, program, middleman


def all_arrived(exchange: Program, sender: Program, program: Program) -> int:
    """End the feed and wait until the receiver has all of it; return how many events it was."""
    until(lambda: scrape(sender).sum("latency_forwarder_link_connected") == 1, "the link is up")
    exchange.terminate()
    settled(sender, "latency_forwarder_feed_connected", 0)
    received = scrape(sender).sum("latency_forwarder_events_received_total")
    assert sum(scrape(sender).matching("latency_forwarder_events_dropped_total")) == 0
    settled(program, "latency_receiver_events_total", received)
    assert "forged@trade" not in scrape(program).text
    return int(received)


def rows_are_exact(file: Path, count: int) -> None:
    written = rows_of(file)
    numbers = [int(row["sequence_id"]) for row in written]
    assert {row["stream"] for row in written} == {"btcusdt@trade", "btcusdt@bookTicker"}
    assert stretches(sorted(numbers)) == [(1, count)]


@pytest.mark.parametrize("transport", ["tcp", "udp"])
@pytest.mark.parametrize("wanted", [60, pytest.param(5_000, marks=pytest.mark.exhaustive)])
def test_nothing_of_a_middleman_is_taken_and_the_rest_is_exact(tmp_path: Path, transport: str, wanted: int) -> None:
    with attacked(tmp_path, transport) as (exchange, sender, program, middleman):
        until(lambda: sum(middleman.attacks.values()) >= wanted, f"{wanted} attacks", 300 + wanted / 4)
        middleman.hostile = False
        count = all_arrived(exchange, sender, program)
        refused = refusals(program)
        assert refused.get("forged", 0) + refused.get("garbage", 0) + refused.get("too_large", 0) > 0
        if transport == "udp":
            assert refused["replayed"] > 0
            assert refused["forged"] > refused["replayed"]
        program.terminate()
        rows_are_exact(tmp_path / "rows.csv", count)


@pytest.mark.parametrize("wanted", [20_000, pytest.param(10_000_000, marks=pytest.mark.exhaustive)])
def test_each_of_very_many_datagrams_of_a_middleman_is_refused_and_counted(tmp_path: Path, wanted: int) -> None:
    # What is counted is theirs alone: on a machine with much else to do somebody knocks at any port.
    with alone(f"middle{os.getpid()}"), attacked(tmp_path, "udp") as (exchange, sender, program, middleman):
        until(lambda: sum(middleman.attacks.values()) > 0, "there is something to touch")
        middleman.hostile = False
        until(lambda: scrape(program).sum("latency_receiver_events_total") > 0, "events flow")
        middleman.flood(wanted, random.Random(23))
        count = all_arrived(exchange, sender, program)
        made = sum(middleman.attacks.values())
        until(lambda: sum(refusals(program).values()) == made, f"{made} are refused")
        assert refusals(program).keys() <= {"forged", "replayed", "garbage", "token"}
        assert made >= wanted
        program.terminate()
        rows_are_exact(tmp_path / "rows.csv", count)
