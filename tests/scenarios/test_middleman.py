"""With a key, whoever is on the way adds and changes nothing: what arrives is what was sent, each event once."""

import random
from pathlib import Path

import pytest

from tests.processes import until
from tests.programs import forwarder, port_of, receiver, rows_of, scrape, settled, simulator
from tests.scenarios.middleman import standing_between
from tests.scenarios.test_intruders import KEY, key_file, refusals

pytestmark = pytest.mark.process


@pytest.mark.parametrize("transport", ["tcp", "udp"])
@pytest.mark.parametrize("wanted", [60, pytest.param(5_000, marks=pytest.mark.exhaustive)])
def test_nothing_of_a_middleman_is_taken_and_the_rest_is_exact(tmp_path: Path, transport: str, wanted: int) -> None:
    key, rows = key_file(tmp_path, KEY), tmp_path / "rows.csv"
    with (
        simulator("--rate", "1000", "--wait-for-clients", "1") as exchange,
        receiver(
            *("--mode", "aws-backbone", "--transport", transport, "--key-file", key, "--csv-output", str(rows)),
        ) as program,
        standing_between(port_of(program), random.Random(22), streams=transport == "tcp") as middleman,
    ):
        config = tmp_path / "forwarder.toml"
        # Each attack on a stream costs a connection; what comes next should not wait for its successor.
        config.write_text(
            f'[[destination]]\naddress = "127.0.0.1:{middleman.port}"\ntransport = "{transport}"\n'
            f'key_file = "{key}"\nreconnect_max_seconds = 0.1\n'
        )
        with forwarder("--feed-url", f"ws://{exchange.ready['near']}", "--config", str(config)) as sender:
            until(lambda: sum(middleman.attacks.values()) >= wanted, f"{wanted} attacks", 60 + wanted / 4)
            middleman.hostile = False
            until(lambda: scrape(sender).sum("latency_forwarder_link_connected") == 1, "the link is up again", 60)
            exchange.terminate()
            settled(sender, "latency_forwarder_feed_connected", 0)
            received = scrape(sender).sum("latency_forwarder_events_received_total")
            assert sum(scrape(sender).matching("latency_forwarder_events_dropped_total")) == 0
            refused = refusals(program)
            assert refused.get("forged", 0) + refused.get("garbage", 0) + refused.get("too_large", 0) > 0
            settled(program, "latency_receiver_events_total", received, 60)
            if transport == "udp":
                assert refused["replayed"] > 0
                assert refused["forged"] > refused["replayed"]
        assert "forged@trade" not in scrape(program).text
        program.terminate()
    written = rows_of(rows)
    numbers = [int(row["sequence_id"]) for row in written]
    assert {row["stream"] for row in written} == {"btcusdt@trade", "btcusdt@bookTicker"}
    assert sorted(numbers) == list(range(1, int(received) + 1))
