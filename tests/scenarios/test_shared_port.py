"""Several forwarders to several paths of a real receiver, over one port, each from an address of its own."""

import json
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.processes import until
from tests.programs import dropped_datagrams, forwarder, free_port, log_lines, receiver, rows_of, scrape, simulator
from tests.scenarios.test_intruders import refusals
from tests.scenarios.test_link_keys import destination, keep, path

pytestmark = pytest.mark.process

WAYS = ("peering", "transit", "internet")


@pytest.mark.parametrize("transport", ["tcp", "udp"])
def test_ways_race_over_one_port_and_one_that_ends_costs_the_others_nothing(tmp_path: Path, transport: str) -> None:
    keys = {way: keep(tmp_path / f"{way}.key", f"the key of {way}, long enough") for way in WAYS}
    here, rows, results = tmp_path / "receiver.toml", tmp_path / "rows.csv", tmp_path / "results.json"
    port = free_port()
    here.write_text("".join(path(way, port, key, transport=transport) for way, key in keys.items()))
    with ExitStack() as stack:
        exchange = stack.enter_context(simulator("--rate", "300", "--wait-for-clients", str(len(WAYS))))
        program = stack.enter_context(
            receiver("--config", str(here), "--csv-output", str(rows), "--output", str(results))
        )
        senders = {}
        for number, (way, key) in enumerate(keys.items(), 2):
            there = tmp_path / f"{way}.toml"
            source = f"127.0.0.{number}"
            there.write_text(destination(port, key, transport=transport, path_name=way, source_address=source))
            url = f"ws://{exchange.ready['near']}"
            senders[way] = stack.enter_context(forwarder("--feed-url", url, "--config", str(there)))
            until(lambda: scrape(program).sum("latency_receiver_link_connected", path=way) == 1, way)  # noqa: B023
            assert log_lines(program, "forwarder connected")[-1]["source"].startswith(f"{source}:")

        def came(way: str, more: int) -> None:
            before = scrape(program).sum("latency_receiver_events_total", path=way)
            until(lambda: scrape(program).sum("latency_receiver_events_total", path=way) >= before + more, way)

        for way in WAYS:
            came(way, 200)
        senders["transit"].kill()
        for way in ("peering", "internet"):
            came(way, 300)
        assert refusals(program) == {}
        for way in ("peering", "internet"):
            senders[way].terminate()
        dropped = dropped_datagrams(program)
        program.terminate()
        exchange.terminate()
    told = json.loads(results.read_text())
    for way in ("peering", "internet"):
        assert told["paths"][way]["events_lost"] == 0 or dropped > 0
        assert told["paths"][way]["events"] == sum(row["path"] == way for row in rows_of(rows))
    assert {(race["path"], race["reference"]) for race in told["race"]} == {
        ("peering", "internet"),
        ("transit", "internet"),
        ("transit", "peering"),
    }
    assert all(race["pairs"] > 0 for race in told["race"])
