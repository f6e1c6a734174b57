"""How many series a busy receiver makes, as docs/monitoring.md states it."""

import re
from pathlib import Path

import pytest

from tests.monitoring.expressions import ROOT
from tests.processes import until
from tests.programs import Metrics, forwarder, log_lines, receiver, scrape, simulator

pytestmark = pytest.mark.process

SYMBOLS = ("btcusdt", "ethusdt", "bnbusdt", "solusdt", "xrpusdt")
STREAMS = [f"{symbol}@{kind}" for symbol in SYMBOLS for kind in ("trade", "bookTicker")]


def _stated(what: str) -> int:
    found = re.search(rf"^\| {what} \|.*\| ([\d,]+) \|$", (ROOT / "docs" / "monitoring.md").read_text(), re.MULTILINE)
    assert found is not None, f"docs/monitoring.md does not state the series of: {what}"
    return int(found[1].replace(",", ""))


def test_five_paths_and_ten_streams_make_as_many_series_as_stated(tmp_path: Path) -> None:
    names = [word for stream in STREAMS for word in ("--stream", stream)]
    listed = ", ".join(f'"{stream}"' for stream in STREAMS)
    with simulator("--rate", "200", *names) as exchange:
        feeds = "".join(
            f'[[path]]\nname = "feed-{index}"\nkind = "feed"\n'
            f'url = "ws://{exchange.ready["near"]}"\nstreams = [{listed}]\n'
            for index in range(3)
        )
        links = "".join(
            f'[[path]]\nname = "link-{index}"\nkind = "link"\nlisten = "127.0.0.1:0"\n' for index in range(2)
        )
        (tmp_path / "receiver.toml").write_text(feeds + links)
        with receiver("--config", str(tmp_path / "receiver.toml")) as daemon:
            addresses = [line["address"] for line in log_lines(daemon, "listening")]
            (tmp_path / "forwarder.toml").write_text(
                f'[feed]\nurl = "ws://{exchange.ready["near"]}"\nstreams = [{listed}]\n'
                + "".join(
                    f'[[destination]]\naddress = "{address}"\npath_name = "link-{index}"\n'
                    for index, address in enumerate(addresses)
                )
            )
            with forwarder("--config", str(tmp_path / "forwarder.toml")) as sending:
                until(lambda: len(scrape(daemon).by("latency_receiver_events_total", "path")) == 5, "all paths bring")
                pairs = {(path, stream) for path in range(5) for stream in STREAMS}
                until(
                    lambda: (
                        _count(scrape(daemon), "latency_receiver_jitter_seconds")
                        + _count(scrape(daemon), "latency_receiver_backbone_jitter_seconds")
                        # Feeds have jitter for the five streams with a time; links for all ten, twice.
                        == 3 * 5 + 2 * 10 + 2 * 10
                    ),
                    "every stream of every path has brought two events",
                )
                assert _count(scrape(daemon), "latency_receiver_events_total") == len(pairs)
                assert len(scrape(daemon).samples) == pytest.approx(_stated("receiver, 5 paths, 10 streams"), rel=0.02)
                assert len(scrape(sending).samples) == pytest.approx(
                    _stated("forwarder, 2 links, 10 streams"), rel=0.02
                )


def _count(page: Metrics, name: str) -> int:
    return sum(sample.name == name for sample in page.samples)
