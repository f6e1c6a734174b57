"""A feed's connection is replaced by age and by notice: nothing is missing, and nothing comes twice."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.daemons.feed.exchange_server import exchange
from tests.processes import running, until
from tests.programs import forwarder, port_of, receiver, rows_of, scrape, simulator
from tests.stretches import stretches

pytestmark = pytest.mark.process

STREAMS = ("btcusdt@trade", "btcusdt@bookTicker", "btcusdt@depth@100ms")


def config(folder: Path, url: str, age_seconds: float) -> tuple[str, ...]:
    file = folder / "receiver.toml"
    path = {"name": "direct", "kind": "feed", "url": url, "max_age_seconds": age_seconds, "streams": STREAMS}
    file.write_text("[[path]]\n" + "".join(f"{key} = {json.dumps(value)}\n" for key, value in path.items()))
    return "--config", str(file)


def assert_whole(path: dict[str, Any], rows: list[dict[str, str]]) -> None:
    """Nothing missing, nothing twice, nothing out of order, by the receiver's account and by its rows."""
    assert (path["events_lost"], path["gaps"], path["duplicates"], path["reordered"]) == (0, 0, 0, 0)
    assert not any(path["invalid"].values())
    for stream in {row["stream"] for row in rows}:
        ids = [int(row["event_id"]) for row in rows if row["stream"] == stream]
        assert ids == sorted(set(ids))
        if stream.endswith("@trade"):
            assert len(stretches(ids)) == 1


def run(folder: Path, url: str, age_seconds: float, replacements: int, reason: str = "age", more: Any = None) -> None:
    output, rows = folder / "results.json", folder / "results.csv"
    wanted = ("--duration", "600", "--output", str(output), "--csv-output", str(rows))
    with receiver(*config(folder, url, age_seconds), *wanted) as program:
        until(lambda: scrape(program).sum("latency_receiver_events_total", path="direct") > 200, "events")
        for done in range(1, replacements + 1):
            if more is not None:
                more()
            until(
                lambda done=done: scrape(program).sum("latency_feed_replacements_total", reason=reason) >= done,  # type: ignore[misc]
                f"replacement {done}",
            )
        page = scrape(program)
        assert page.sum("latency_feed_overlap_events_total", path="direct") > 0
        assert page.sum("latency_receiver_reconnects_total") == 0
        assert page.sum("latency_feed_connection_info", path="direct", address="127.0.0.1") == 1
        program.terminate()
    assert_whole(json.loads(output.read_text())["paths"]["direct"], rows_of(rows))


def test_a_connection_that_grew_old_is_replaced_without_a_gap(tmp_path: Path) -> None:
    streams = [word for name in STREAMS for word in ("--stream", name)]
    with simulator("--rate", "1000", *streams) as program:
        run(tmp_path, f"ws://{program.ready['near']}", 0.5, 6)


def test_a_notice_of_the_exchange_is_answered_by_a_replacement_and_is_no_event(tmp_path: Path) -> None:
    with exchange(500) as made:
        url = f"ws://127.0.0.1:{made.port}/ws/btcusdt@trade"
        run(tmp_path, url, 3600, 4, "notice", made.announce_shutdown)
        assert made.connections == 5


def test_a_connection_lost_right_after_it_took_over_is_made_anew_and_said_to_stand(tmp_path: Path) -> None:
    """A stream of which the new connection brings nothing keeps the overlap from settling."""
    file = tmp_path / "forwarder.toml"
    with exchange(500) as made:
        file.write_text(f'[feed]\nurl = "ws://127.0.0.1:{made.port}/stream?streams=btcusdt@trade/ethusdt@trade"\n')
        with forwarder("--config", str(file), "--destination", "127.0.0.1:1") as program:
            until(lambda: scrape(program).sum("latency_forwarder_events_received_total") > 100, "events")
            made.announce_shutdown()
            until(lambda: made.connections == 2, "the new connection")
            made.tell_the_oldest("ETHUSDT")
            until(lambda: scrape(program).sum("latency_feed_replacements_total") == 1, "the replacement")
            made.cut()
            until(lambda: made.connections == 3, "a connection made anew")
            until(lambda: scrape(program).sum("latency_forwarder_feed_connected") == 1, "the word that it stands")
            assert scrape(program).sum("latency_feed_connection_info", address="127.0.0.1") == 1


def test_behind_a_forwarder_its_sequence_shows_no_hole(tmp_path: Path) -> None:
    file = tmp_path / "forwarder.toml"
    with (
        exchange(500) as made,
        receiver("--mode", "aws-backbone", "--duration", "600", "--output", str(tmp_path / "r.json")) as receiving,
    ):
        file.write_text(f'[feed]\nurl = "ws://127.0.0.1:{made.port}/ws/btcusdt@trade"\nmax_age_seconds = 0.5\n')
        with forwarder("--config", str(file), "--destination", f"127.0.0.1:{port_of(receiving)}") as program:
            until(lambda: scrape(program).sum("latency_feed_replacements_total", reason="age") >= 5, "replacements")
            received = scrape(program).sum("latency_forwarder_events_received_total")
            assert received > 500
        receiving.terminate()
    path = json.loads((tmp_path / "r.json").read_text())["paths"]["backbone"]
    assert (path["events_lost"], path["given_up_by_forwarder"], path["duplicates"]) == (0, 0, 0)


@pytest.mark.exhaustive
def test_behind_a_forwarder_a_thousand_replacements_leave_no_hole(tmp_path: Path) -> None:
    """By age and by notice in turn, at 1,000 events a second."""
    file = tmp_path / "forwarder.toml"
    with (
        exchange(1000) as made,
        receiver("--mode", "aws-backbone", "--duration", "3600", "--output", str(tmp_path / "r.json")) as receiving,
    ):
        file.write_text(f'[feed]\nurl = "ws://127.0.0.1:{made.port}/ws/btcusdt@trade"\nmax_age_seconds = 0.3\n')
        command = (
            "--config",
            str(file),
            "--destination",
            f"127.0.0.1:{port_of(receiving)}",
            "--metrics",
            "127.0.0.1:0",
        )
        with running("tests.scenarios.hasty_forwarder", *command) as program:

            def replaced() -> float:
                return scrape(program).sum("latency_feed_replacements_total")

            while (done := replaced()) < 1000:
                if done % 2:
                    made.announce_shutdown()
                until(lambda done=done: replaced() > done, f"replacement {done + 1:g}")  # type: ignore[misc]
            page = scrape(program)
            for reason in ("age", "notice"):
                assert page.sum("latency_feed_replacements_total", reason=reason) > 100
            assert page.sum("latency_forwarder_reconnects_total") == 0
            assert page.sum("latency_feed_overlap_events_total") > 1000
        receiving.terminate()
    path = json.loads((tmp_path / "r.json").read_text())["paths"]["backbone"]
    lost = ("events_lost", "gaps", "given_up_by_forwarder", "duplicates", "reordered")
    assert {name: path[name] for name in lost} == dict.fromkeys(lost, 0)
    assert path["events"] > 100_000
