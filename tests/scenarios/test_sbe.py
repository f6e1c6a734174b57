"""The exchange's binary streams beside its JSON ones: the same updates, raced, replaced without a gap, forwarded."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme

from tests.processes import Program, until
from tests.programs import forwarder, port_of, receiver, rows_of, scrape, simulator
from tests.scenarios.test_replacement import assert_whole

pytestmark = pytest.mark.process

JSON_STREAMS = ["btcusdt@trade", "btcusdt@bookTicker"]
SBE_STREAMS = ["btcusdt@trade", "btcusdt@bestBidAsk"]


@pytest.fixture
def key_file(tmp_path: Path) -> str:
    file = tmp_path / "api.key"
    file.write_text("k" * 64)
    file.chmod(0o600)
    return str(file)


def section(head: str, **fields: Any) -> str:
    return f"{head}\n" + "".join(f"{key} = {json.dumps(value)}\n" for key, value in fields.items())


def pairs(program: Program) -> float:
    """Return how many events both paths have brought, live or not."""
    page = scrape(program)
    names = ("path_wins", "path_ties", "race_excluded_events")
    return sum(page.sum(f"latency_receiver_{name}_total") for name in names)


@pytest.fixture
def market() -> Iterator[Program]:
    streams = [word for name in JSON_STREAMS for word in ("--stream", name)]
    with simulator(
        *("--sbe-listen", "127.0.0.1:0", "--rate", "1000", "--wait-for-clients", "2", "--stop-after-events", "2000"),
        *streams,
    ) as program:
        yield program


def test_the_same_updates_race_in_both_encodings(tmp_path: Path, market: Program, key_file: str) -> None:
    """Best bid and ask have an end-to-end latency in SBE, which has their event time."""
    file, results, rows = tmp_path / "r.toml", tmp_path / "r.json", tmp_path / "r.csv"
    file.write_text(
        section("[[path]]", name="text", kind="feed", url=f"ws://{market.ready['near']}", streams=JSON_STREAMS)
        + section(
            "[[path]]",
            name="binary",
            kind="feed",
            url=f"ws://{market.ready['sbe']}",
            streams=SBE_STREAMS,
            encoding="sbe",
            api_key_file=key_file,
        )
    )
    output = ("--output", str(results), "--csv-output", str(rows), "--duration", "600", "--log-level", "debug")
    with receiver("--config", str(file), *output) as program:
        until(lambda: scrape(program).sum("latency_receiver_events_total", path="text") == 2000, "the JSON events")
        until(lambda: pairs(program) == 2000, "2,000 pairs")
        program.terminate()
    found = json.loads(results.read_text())["paths"]
    for path in found.values():
        assert (path["events"], path["events_lost"], path["duplicates"], path["reordered"]) == (2000, 0, 0, 0)
        assert not any(path["invalid"].values())
    written = rows_of(rows)
    timed = {(row["path"], row["stream"]): bool(row["end_to_end_latency_ms"]) for row in written}
    assert timed == {
        ("text", "btcusdt@trade"): True,
        ("text", "btcusdt@bookTicker"): False,
        ("binary", "btcusdt@trade"): True,
        ("binary", "btcusdt@bestBidAsk"): True,
    }
    assert "k" * 64 not in program.log


@pytest.mark.parametrize("form", ["stream", "ws"])
def test_a_connection_of_sbe_is_replaced_without_a_gap_under_tls(tmp_path: Path, key_file: str, form: str) -> None:
    authority = trustme.CA()
    issued, ca_file = authority.issue_cert("127.0.0.1"), tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(ca_file)
    pem, key = tmp_path / "c.pem", tmp_path / "c.key"
    issued.cert_chain_pems[0].write_to_path(pem)
    issued.private_key_pem.write_to_path(key)
    file, results, rows = tmp_path / "r.toml", tmp_path / "r.json", tmp_path / "r.csv"
    streams = [word for name in [*JSON_STREAMS, "btcusdt@depth"] for word in ("--stream", name)]
    tls = ("--tls-certificate", str(pem), "--tls-key", str(key))
    with simulator("--sbe-listen", "127.0.0.1:0", "--rate", "1000", *tls, *streams) as market:
        url = f"wss://{market.ready['sbe']}"
        if form == "ws":
            url += "/ws/btcusdt@trade/btcusdt@bestBidAsk/btcusdt@depth"
        fields: dict[str, Any] = {"url": url, "encoding": "sbe", "api_key_file": key_file, "ca_file": str(ca_file)}
        fields |= {"max_age_seconds": 0.5, "streams": [*SBE_STREAMS, "btcusdt@depth"]}
        file.write_text(section("[[path]]", name="direct", kind="feed", **fields))
        output = ("--output", str(results), "--csv-output", str(rows), "--duration", "600")
        with receiver("--config", str(file), *output) as program:
            until(lambda: scrape(program).sum("latency_feed_replacements_total", reason="age") >= 4, "replacements")
            assert scrape(program).sum("latency_feed_overlap_events_total") > 0
            program.terminate()
    written = rows_of(rows)
    assert_whole(json.loads(results.read_text())["paths"]["direct"], written)
    assert {row["stream"] for row in written} == {*SBE_STREAMS, "btcusdt@depth@sbe"}


def test_a_link_carries_sbe_and_the_events_race_against_the_direct_json_feed(
    tmp_path: Path, market: Program, key_file: str
) -> None:
    receiving, forwarding, results = tmp_path / "r.toml", tmp_path / "f.toml", tmp_path / "r.json"
    direct = {"url": f"ws://{market.ready['near']}", "streams": JSON_STREAMS}
    receiving.write_text(
        section("[[path]]", name="direct", kind="feed", **direct)
        + section("[[path]]", name="backbone", kind="link", listen="127.0.0.1:0")
    )
    forwarding.write_text(
        section(
            "[feed]",
            url=f"ws://{market.ready['sbe']}",
            streams=SBE_STREAMS,
            encoding="sbe",
            api_key_file=key_file,
        )
    )
    with receiver("--config", str(receiving), "--output", str(results), "--duration", "600") as program:
        with forwarder("--config", str(forwarding), "--destination", f"127.0.0.1:{port_of(program)}"):
            until(lambda: pairs(program) == 2000, "2,000 pairs")
        program.terminate()
    path = json.loads(results.read_text())["paths"]["backbone"]
    assert (path["events"], path["events_lost"], path["duplicates"]) == (2000, 0, 0)


def test_without_a_good_key_the_exchange_refuses_and_the_feed_says_so(tmp_path: Path, key_file: str) -> None:
    """JSON at the door of SBE: the answer's status is told, and the feed goes on trying."""
    file = tmp_path / "r.toml"
    with simulator("--sbe-listen", "127.0.0.1:0") as market:
        file.write_text(section("[[path]]", name="d", kind="feed", url=f"ws://{market.ready['sbe']}"))
        with receiver("--config", str(file)) as program:
            program.wait_for_log("answered HTTP 401")
            assert scrape(program).sum("latency_receiver_reconnects_total", reason="http_4xx") >= 1
