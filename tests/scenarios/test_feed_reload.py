"""A feed's section changes while events come: its connection is replaced without a gap; and pins to addresses."""

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest
import trustme

from tests.daemons.feed.exchange_server import exchange
from tests.processes import Program, until
from tests.programs import forwarder, log_lines, receiver, rows_of, scrape, simulator
from tests.scenarios.test_replacement import assert_whole

pytestmark = pytest.mark.process


def write(file: Path, head: str, **fields: Any) -> None:
    file.write_text(f"{head}\n" + "".join(f"{key} = {json.dumps(value)}\n" for key, value in fields.items()))


def reload(program: Program) -> None:
    done = len(log_lines(program, "reloaded"))
    os.kill(program.pid, signal.SIGHUP)
    until(lambda: len(log_lines(program, "reloaded")) > done, "the reload")


def replaced(program: Program) -> float:
    return scrape(program).sum("latency_feed_replacements_total", reason="reload")


def test_another_address_more_streams_and_other_limits_lose_nothing(tmp_path: Path) -> None:
    kinds = ["trade", "depth@100ms", "bookTicker", "aggTrade"]
    streams = [f"btcusdt@{kind}" for kind in kinds]
    file, results, rows = tmp_path / "r.toml", tmp_path / "r.json", tmp_path / "r.csv"
    named = [word for name in streams for word in ("--stream", name)]
    with simulator("--listen", "0.0.0.0:0", "--rate", "1000", *named) as market:
        path: dict[str, Any] = {"name": "direct", "kind": "feed"}
        path["url"] = f"ws://localhost:{market.ready['near'].rpartition(':')[2]}"
        write(file, "[[path]]", **path, address="127.0.0.1", streams=streams[:1])
        output = ("--duration", "600", "--output", str(results), "--csv-output", str(rows))
        with receiver("--config", str(file), *output) as program:
            until(lambda: scrape(program).sum("latency_receiver_events_total") > 100, "events")
            for count in (2, 3, 4):
                address = f"127.0.0.{count}"
                write(file, "[[path]]", **path, address=address, streams=streams[:count])
                reload(program)
                until(lambda count=count: replaced(program) == count - 1, "a replacement")  # type: ignore[misc]
                page = scrape(program)
                assert page.sum("latency_feed_connection_info", address=address, connection="0", encoding="json") == 1
                name = streams[count - 1]
                until(
                    lambda name=name: scrape(program).sum("latency_receiver_events_total", stream=name) > 50,  # type: ignore[misc]
                    name,
                )
            # Limits alone need no other connection.
            write(file, "[[path]]", **path, address="127.0.0.4", streams=streams, silence_seconds=20)
            reload(program)
            assert replaced(program) == 3
            assert scrape(program).sum("latency_receiver_reconnects_total") == 0
            program.terminate()
    written = rows_of(rows)
    assert_whole(json.loads(results.read_text())["paths"]["direct"], written)
    assert {row["stream"] for row in written} == set(streams)


def test_a_pin_to_an_address_that_is_dead_leaves_the_connection_that_stands(tmp_path: Path) -> None:
    file = tmp_path / "f.toml"
    with exchange(500) as made:
        feed = {"url": f"ws://localhost:{made.port}/ws/btcusdt@trade", "reconnect_max_seconds": 0.1}
        write(file, "[feed]", **feed, address="127.0.0.1")
        with forwarder("--config", str(file), "--destination", "127.0.0.1:1") as program:
            received = "latency_forwarder_events_received_total"
            until(lambda: scrape(program).sum(received) > 100, "events")
            write(file, "[feed]", **feed, address="127.0.0.2")
            reload(program)
            until(lambda: scrape(program).sum("latency_forwarder_reconnects_total", reason="refused") >= 2, "refusals")
            before = scrape(program).sum(received)
            until(lambda: scrape(program).sum(received) > before + 100, "more events")
            assert made.connections == 1
            write(file, "[feed]", **feed, address=["127.0.0.2", "127.0.0.1"])
            reload(program)
            until(lambda: replaced(program) == 1, "the replacement")
            assert made.connections == 2


def test_a_pinned_feed_is_called_by_its_name(tmp_path: Path) -> None:
    """The name resolves nowhere: the certificate is still its own, and another name's is refused."""
    authority = trustme.CA()
    issued, ca_file, file = authority.issue_cert("stream.exchange.test"), tmp_path / "ca.pem", tmp_path / "r.toml"
    authority.cert_pem.write_to_path(ca_file)
    pem, key = tmp_path / "c.pem", tmp_path / "c.key"
    issued.cert_chain_pems[0].write_to_path(pem)
    issued.private_key_pem.write_to_path(key)
    with simulator("--tls-certificate", str(pem), "--tls-key", str(key)) as market:
        port = market.ready["near"].rpartition(":")[2]
        path: dict[str, Any] = {"name": "d", "kind": "feed", "address": "127.0.0.1", "ca_file": str(ca_file)}
        write(file, "[[path]]", **path, url=f"wss://stream.exchange.test:{port}")
        with receiver("--config", str(file)) as program:
            until(lambda: scrape(program).sum("latency_receiver_events_total") > 20, "events")
            page = scrape(program)
            assert page.sum("latency_feed_connection_info", address="127.0.0.1", tls="yes", encoding="json") == 1
        write(file, "[[path]]", **path, url=f"wss://other.exchange.test:{port}")
        with receiver("--config", str(file)) as program:
            program.wait_for_log('"reason": "certificate"')
            assert scrape(program).sum("latency_receiver_reconnects_total", reason="certificate") >= 1
