"""USD-M futures as a feed: streams of both bases, over a connection each, with the losses that there really were."""

import json
from pathlib import Path

import pytest

from tests.programs import receiver, rows_of, scrape, settled, simulator

pytestmark = pytest.mark.process

STREAMS = ("btcusdt@aggTrade", "btcusdt@depth@100ms", "btcusdt@bookTicker", "ethusdt@depth@100ms")


@pytest.mark.parametrize(("lossy", "holes"), [((), 0), (("--skip-ids-every", "50"), 1)])
def test_a_feed_of_both_bases_is_complete_and_tells_what_was_lost(
    tmp_path: Path, lossy: tuple[str, ...], holes: int
) -> None:
    output, rows = tmp_path / "results.json", tmp_path / "results.csv"
    streams = [word for name in STREAMS for word in ("--stream", name)]
    emitted = ("--rate", "1000", "--wait-for-clients", "2", "--stop-after-events", "2000")
    with simulator("--futures", *emitted, *lossy, *streams) as exchange:
        # The base given is the one of some of them only.
        url = f"ws://{exchange.ready['near']}/market"
        wanted = ("--duration", "600", "--output", str(output), "--csv-output", str(rows))
        with receiver("--mode", "baseline", "--feed-url", url, *streams, *wanted) as program:
            settled(program, "latency_receiver_events_total", 2000)
            page = scrape(program)
            assert page.sum("latency_receiver_feed_connected", path="direct") == 1
            program.terminate()
        exchange.terminate()
        totals = exchange.last_json()
    assert totals["near"]["clients"] == 2
    path = json.loads(output.read_text())["paths"]["direct"]
    assert (path["events"], path["duplicates"], path["reordered"], path["sessions"]) == (2000, 0, 0, 0)
    skipped = {name: stream["skipped_ids"] for name, stream in totals["streams"].items()}
    trades = skipped["btcusdt@aggTrade"]
    by_stream: dict[str, list[dict[str, str]]] = {}
    for row in rows_of(rows):
        by_stream.setdefault(row["stream"], []).append(row)
    assert {name: len(found) for name, found in by_stream.items()} == {
        name: stream["events"] for name, stream in totals["streams"].items()
    }
    # Of trades as many as ids were skipped, of each break in a chain of depth updates one.
    breaks = path["events_lost"] - trades
    assert bool(trades) is bool(holes)
    assert 0 <= breaks <= 2000 // 50 if holes else breaks == 0
