"""Several connections of one feed: what one of them misses the others bring, and nothing comes twice."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.daemons.feed.exchange_server import exchange
from tests.processes import Program, until
from tests.programs import forwarder, port_of, receiver, rows_of, scrape
from tests.stretches import stretches

pytestmark = pytest.mark.process

ADDRESSES = ["127.0.0.1", "127.0.0.2", "127.0.0.3"]


def section(head: str, **fields: Any) -> str:
    return f"{head}\n" + "".join(f"{key} = {json.dumps(value)}\n" for key, value in fields.items())


def standing(program: Program) -> int:
    return len(scrape(program).matching("latency_feed_connection_info"))


def test_one_of_three_is_cut_again_and_again_and_nothing_is_missing(tmp_path: Path) -> None:
    file, results, rows = tmp_path / "r.toml", tmp_path / "r.json", tmp_path / "r.csv"
    with exchange(500, "0.0.0.0") as made:
        url = f"ws://localhost:{made.port}/ws/btcusdt@trade"
        file.write_text(section("[[path]]", name="d", kind="feed", url=url, connections=3, address=ADDRESSES))
        output = ("--duration", "600", "--output", str(results), "--csv-output", str(rows))
        with receiver("--config", str(file), *output) as program:
            for cuts in range(8):
                until(lambda: standing(program) == 3, "three connections")
                page = scrape(program)
                for number, address in enumerate(ADDRESSES):
                    labels = {"path": "d", "connection": str(number)}
                    assert page.sum("latency_feed_connection_info", **labels, address=address) == 1
                    assert page.sum("latency_feed_connection_start_time_seconds", **labels) > 1.6e9
                    assert 0 < page.sum("latency_feed_connection_tcp_rtt_seconds", **labels) < 60
                begun = made.last_id
                until(lambda begun=begun: made.last_id > begun + 50, "events")  # type: ignore[misc]
                made.cut_the_oldest()
                until(lambda cuts=cuts: made.connections == 4 + cuts, "a connection made anew")  # type: ignore[misc]
            page = scrape(program)
            assert page.sum("latency_receiver_reconnects_total", reason="closed") == 8
            assert page.sum("latency_receiver_feed_connected") == 1
            won = page.sum("latency_feed_connection_wins_total")
            assert page.sum("latency_feed_connection_copies_total") > won
            assert page.sum("latency_feed_connection_behind_seconds_total") > 0
            program.terminate()
    path = json.loads(results.read_text())["paths"]["d"]
    assert (path["events_lost"], path["duplicates"]) == (0, 0)
    ids = [int(row["event_id"]) for row in rows_of(rows)]
    assert stretches(sorted(ids)) == [(min(ids), max(ids))]
    assert path["events"] == len(ids) >= won


def test_behind_a_forwarder_there_is_one_stream(tmp_path: Path) -> None:
    file, results = tmp_path / "f.toml", tmp_path / "r.json"
    with (
        exchange(500, "0.0.0.0") as made,
        receiver("--mode", "aws-backbone", "--duration", "600", "--output", str(results)) as receiving,
    ):
        url = f"ws://localhost:{made.port}/ws/btcusdt@trade"
        file.write_text(section("[feed]", url=url, connections=2, address=ADDRESSES[:2], max_age_seconds=1.0))
        with forwarder("--config", str(file), "--destination", f"127.0.0.1:{port_of(receiving)}") as program:
            replaced = "latency_feed_replacements_total"
            until(lambda: scrape(program).sum(replaced, reason="age") >= 4, "replacements")
            made.cut_the_oldest()
            until(lambda: standing(program) == 2, "two connections")
            until(lambda: scrape(program).sum("latency_forwarder_events_received_total") > 500, "events")
        receiving.terminate()
    path = json.loads(results.read_text())["paths"]["backbone"]
    assert path["events"] > 500
    assert (path["events_lost"], path["given_up_by_forwarder"], path["duplicates"]) == (0, 0, 0)
