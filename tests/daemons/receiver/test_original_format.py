"""The original Rust programs' ForwardedEvent datagrams, into the receiver and out of the forwarder."""

import json
import random
import socket
import time
from pathlib import Path

import pytest

from daemons.link.forwarded import encode_forwarded
from daemons.stream.datagram import listening_socket
from daemons.stream.stamping import WARMUP_NS
from tests.processes import until
from tests.programs import forwarder, port_of, receiver, rows_of, scrape, settled, simulator

pytestmark = pytest.mark.process

ORIGINAL_KEYS = {
    "setup_type",
    "sample_count",
    "events_lost",
    "avg_latency_ms",
    "median_latency_ms",
    "p95_latency_ms",
    "p99_latency_ms",
    "min_latency_ms",
    "max_latency_ms",
    "jitter_stddev_ms",
    "backbone_avg_latency_ms",
    "backbone_median_latency_ms",
}
ORIGINAL_COLUMNS = [
    "sequence_id",
    "binance_time",
    "tokyo_time",
    "frankfurt_time",
    "end_to_end_latency_ms",
    "backbone_latency_ms",
]


def trade(number: int) -> bytes:
    return b'{"e":"trade","E":1672515782136,"s":"BTCUSDT","t":%d,"p":"1.0","q":"2.0"}' % number


def shuffled(numbers: list[int], within: int, rng: random.Random) -> list[int]:
    """Move every number at most so far."""
    return sorted(numbers, key=lambda number: number + rng.uniform(0, within))


def reordered_in(numbers: list[int]) -> int:
    """RFC 4737: first arrivals after a higher number."""
    count, highest, seen = 0, 0, set[int]()
    for number in numbers:
        if number not in seen and number < highest:
            count += 1
        seen.add(number)
        highest = max(highest, number)
    return count


def test_gaps_duplicates_and_reordering_are_counted_exactly(tmp_path: Path) -> None:
    rng = random.Random(7)
    lost = {10, 11, 12, 50, 400, 777}
    kept = [number for number in range(1, 1001) if number not in lost]
    twice = sorted(rng.sample(kept, 40))
    order = shuffled([*kept, *twice], 8, rng)
    outputs = ("--output", str(tmp_path / "run.json"), "--csv-output", str(tmp_path / "run.csv"))
    link = ("--mode", "aws-backbone", "--transport", "udp", "--format", "json")
    with (
        receiver(*link, *outputs) as program,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender,
    ):
        sender.connect(("127.0.0.1", port_of(program)))
        # While stamping warms up nothing is measured; that is another test's subject.
        started = scrape(program).sum("latency_start_timestamp_seconds")
        until(lambda: time.time() > started + 2 * WARMUP_NS / 1e9, "the warm-up is over")
        begin_ns = time.time_ns()
        for number in order:
            # A forwarder stamps events in the order of their numbers, whatever the network makes of it later.
            stamp_ns = begin_ns + number * 100
            sender.send(encode_forwarded(number, stamp_ns - 5_000_000, stamp_ns - 30_000_000, trade(number)))
        for junk in (b"{}", b"junk", b'{"sequence_id":true}', b"\xff" * 100):
            sender.send(junk)
        settled(program, "latency_receiver_invalid_events_total", 4, reason="malformed")
        settled(program, "latency_receiver_events_total", len(order))
        program.terminate()
    summary = json.loads((tmp_path / "run.json").read_text())
    assert set(summary) >= ORIGINAL_KEYS
    assert summary["setup_type"] == "aws-backbone"
    assert summary["complete"] is True
    path = summary["paths"]["backbone"]
    counts = {key: path[key] for key in ("events", "unique", "events_lost", "duplicates", "reordered", "stale")}
    assert counts == {
        "events": len(order),
        "unique": 994,
        "events_lost": 6,
        "duplicates": 40,
        "reordered": reordered_in(order),
        "stale": 0,
    }
    assert path["gaps"] == 4
    assert path["sessions"] == 1
    assert path["invalid"]["malformed"] == 4
    assert (summary["sample_count"], summary["events_lost"]) == (994, 6)
    assert path["backbone"]["sample_count"] == 994
    # Event times are milliseconds here: up to one less than the 30 ms injected, never less than that.
    assert 30 <= summary["min_latency_ms"] <= summary["median_latency_ms"] <= summary["max_latency_ms"]
    assert 5 <= summary["backbone_median_latency_ms"] <= summary["median_latency_ms"]
    assert path["stamps"]["kernel"] == len(order)
    rows = rows_of(tmp_path / "run.csv")
    assert list(rows[0])[:6] == ORIGINAL_COLUMNS
    assert [int(row["sequence_id"]) for row in rows] == order
    assert sum(row["validity"] == "duplicate" for row in rows) == 40
    assert all(row["stream"] == "btcusdt@trade" and row["event_id"] == row["sequence_id"] for row in rows)


def test_no_sample_is_null_and_never_zero(tmp_path: Path) -> None:
    output = tmp_path / "run.json"
    with receiver("--mode", "aws-backbone", "--duration", "0.2", "--output", str(output)) as program:
        program.wait()
    summary = json.loads(output.read_text())
    assert summary["complete"] is True
    assert summary["clock"]["allowed_unsynchronized"] is True
    assert (summary["sample_count"], summary["events_lost"]) == (0, 0)
    assert {summary[key] for key in ORIGINAL_KEYS if key.endswith("_ms")} == {None}


@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_the_forwarder_emits_the_four_fields_and_nothing_else(transport: str) -> None:
    kind = socket.SOCK_DGRAM if transport == "udp" else socket.SOCK_STREAM
    with (
        # With room for a burst: the test may stall while events come.
        listening_socket("127.0.0.1", 0, kind) as server,
        simulator("--rate", "500", "--wait-for-clients", "1", "--stop-after-events", "300") as exchange,
    ):
        server.settimeout(300)
        destination = f"127.0.0.1:{server.getsockname()[1]}"
        before_ns = time.time_ns()
        with forwarder(
            *("--feed-url", f"ws://{exchange.ready['near']}", "--destination", destination),
            *("--format", "json", "--transport", transport),
        ) as program:
            if transport == "udp":
                lines = [server.recv(65536) for _ in range(300)]
            else:
                connection, _source = server.accept()
                with connection, connection.makefile("rb") as stream:
                    lines = [stream.readline() for _ in range(300)]
            until(lambda: scrape(program).sum("latency_forwarder_events_forwarded_total") == 300, "all are forwarded")
        after_ns = time.time_ns()
    objects = [json.loads(line) for line in lines]
    assert [list(item) for item in objects] == [
        ["sequence_id", "tokyo_receive_timestamp", "binance_event_time", "event_data"]
    ] * 300
    assert [item["sequence_id"] for item in objects] == list(range(1, 301))
    assert all(type(item["tokyo_receive_timestamp"]) is int for item in objects)
    assert all(before_ns < item["tokyo_receive_timestamp"] < after_ns for item in objects)
    for item in objects:
        message = json.loads(item["event_data"])["data"]
        event_ms = message["E"] // 1000 if "E" in message else 0
        assert type(item["binance_event_time"]) is int
        assert item["binance_event_time"] == event_ms
    assert {item["binance_event_time"] > 0 for item in objects} == {True, False}


def test_both_ends_in_the_original_format_over_tcp_and_a_restart(tmp_path: Path) -> None:
    with receiver(*("--mode", "aws-backbone", "--format", "json", "--output", str(tmp_path / "run.json"))) as program:
        for life in (1, 2):
            with (
                simulator("--rate", "1000", "--wait-for-clients", "1", "--stop-after-events", "200") as exchange,
                forwarder(
                    *("--feed-url", f"ws://{exchange.ready['near']}", "--format", "json"),
                    *("--destination", f"127.0.0.1:{port_of(program)}"),
                ),
            ):
                settled(program, "latency_receiver_events_total", 200 * life)
        program.terminate()
    path = json.loads((tmp_path / "run.json").read_text())["paths"]["backbone"]
    assert (path["sessions"], path["unique"], path["events_lost"], path["duplicates"]) == (2, 400, 0, 0)


@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_over_json_every_event_meets_its_like_of_the_feed_under_one_name(tmp_path: Path, transport: str) -> None:
    streams = ("btcusdt@depth@100ms", "btcusdt@depth5@100ms", "btcusdt@bookTicker", "btcusdt@aggTrade", "ethusdt@trade")
    named = [argument for name in streams for argument in ("--stream", name)]
    outputs = ("--output", str(tmp_path / "run.json"), "--csv-output", str(tmp_path / "run.csv"))
    total = 500
    with simulator(*named, "--rate", "500", "--wait-for-clients", "2", "--stop-after-events", str(total)) as exchange:
        feed = ("--feed-url", f"ws://{exchange.ready['near']}", *named)
        link = ("--format", "json", "--transport", transport)
        with (
            receiver("--mode", "race", *feed, *link, *outputs) as program,
            forwarder(*feed, *link, "--destination", f"127.0.0.1:{port_of(program)}"),
        ):
            settled(program, "latency_receiver_events_total", 2 * total)
            program.terminate()
    (race,) = json.loads((tmp_path / "run.json").read_text())["race"]
    came: dict[str, set[tuple[str, str]]] = {}
    for row in rows_of(tmp_path / "run.csv"):
        came.setdefault(row["path"], set()).add((row["stream"], row["event_id"]))
    assert came["direct"] == came["backbone"]
    assert {stream for stream, _id in came["direct"]} == set(streams)
    assert race["pairs"] == total
    assert (race["only_path"], race["only_reference"]) == (0, 0)
