"""The real Prometheus scrapes both daemons: no warning, and every metric of the design is there."""

import json
import subprocess
import time
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from tests.processes import until
from tests.programs import address_of, forwarder, free_port, receiver, scrape, settled, simulator
from tests.tools import required

pytestmark = pytest.mark.process

HISTOGRAMS = {
    "latency_forwarder_feed_delay_seconds": {"stream"},
    "latency_forwarder_hold_seconds": {"link"},
    "latency_receiver_end_to_end_seconds": {"path", "stream"},
    "latency_receiver_backbone_seconds": {"path", "stream"},
    "latency_receiver_host_delay_seconds": {"path"},
    "latency_receiver_path_lead_seconds": {"path", "reference"},
    "latency_receiver_link_rtt_seconds": {"path"},
}
COUNTERS = {
    "latency_forwarder_events_received_total": set[str](),
    "latency_forwarder_events_forwarded_total": set[str](),
    "latency_forwarder_events_dropped_total": {"reason"},
    "latency_forwarder_events_invalid_total": {"reason"},
    "latency_forwarder_reconnects_total": {"side", "reason"},
    "latency_receiver_path_wins_total": {"path", "reference"},
    "latency_receiver_path_ahead_seconds_total": {"path", "reference"},
    "latency_receiver_given_up_events_total": {"path"},
    "latency_receiver_sequence_leaps_total": {"path"},
    "latency_feed_replacements_total": {"path", "reason"},
    "latency_feed_overlap_events_total": {"path"},
    "latency_feed_notices_total": {"path"},
    "latency_tcp_retransmitted_segments_total": {"side"},
    "latency_tcp_out_of_order_segments_total": {"side"},
    "latency_receiver_unpaired_events_total": {"path"},
    "latency_receiver_events_total": {"path", "stream"},
    "latency_receiver_sequence_gaps_total": {"path"},
    "latency_receiver_sequence_gap_events_total": {"path"},
    "latency_receiver_reordered_events_total": {"path"},
    "latency_receiver_duplicate_events_total": {"path"},
    "latency_receiver_delayed_events_total": {"path"},
    "latency_receiver_invalid_events_total": {"path", "reason"},
}
GAUGES = {
    "latency_forwarder_buffer_events": set[str](),
    "latency_forwarder_feed_connected": set[str](),
    "latency_forwarder_link_connected": {"link"},
    "latency_receiver_jitter_seconds": {"path", "stream"},
    "latency_tcp_rtt_seconds": {"side"},
    "latency_tcp_send_queue_bytes": {"side"},
    **{
        f"latency_{daemon}_clock_{name}": set[str]()
        for daemon in ("forwarder", "receiver")
        for name in ("offset_seconds", "error_bound_seconds", "synchronized")
    },
    "latency_build_info": {"version"},
    "latency_feed_connection_info": {"path", "connection", "address", "tls", "encoding"},
    "latency_last_event_timestamp_seconds": {"path"},
}


def ask(server: str, path: str, **query: str) -> Any:
    with urllib.request.urlopen(
        f"http://{server}/api/v1/{path}?{urllib.parse.urlencode(query)}", timeout=300
    ) as answer:
        found = json.load(answer)
    assert found["status"] == "success"
    return found["data"]


def ready(server: str) -> bool:
    try:
        with urllib.request.urlopen(f"http://{server}/-/ready", timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def well_scraped(server: str, moments: list[float]) -> bool:
    """Note a moment at which both daemons had answered three times and the last time; False if there is none yet.

    A daemon that stalls for a second misses a scrape, which leaves a gap in its series; a scrape that has begun by
    then must have ended.
    """
    moment = time.time() - 3
    query = "min(sum_over_time(up[5m])) >= 3 and min(up) == 1 and count(up) == 2"
    if found := ask(server, "query", query=query, time=str(moment))["result"]:
        moments.append(moment)
    return bool(found)


def test_prometheus_has_nothing_to_complain_about(tmp_path: Path) -> None:
    program = required("prometheus")
    with (
        simulator("--rate", "500", "--wait-for-clients", "2") as exchange,
        receiver("--mode", "race", "--feed-url", f"ws://{exchange.ready['near']}") as sink,
        forwarder(
            *("--feed-url", f"ws://{exchange.ready['near']}", "--destination", address_of(sink)),
        ) as source,
    ):
        for name in ("path_lead", "link_rtt", "backbone"):
            count = f"latency_receiver_{name}_seconds_count"
            until(lambda count=count: sum(scrape(sink).matching(count)) > 0, count)  # type: ignore[misc]
        targets = {"forwarder": address_of(source, "metrics"), "receiver": address_of(sink, "metrics")}
        jobs = "".join(
            f"  - job_name: {name}\n    static_configs: [{{targets: ['{target}']}}]\n"
            for name, target in targets.items()
        )
        (tmp_path / "prometheus.yml").write_text(f"global:\n  scrape_interval: 1s\nscrape_configs:\n{jobs}")
        server, log = f"127.0.0.1:{free_port()}", tmp_path / "prometheus.log"
        with log.open("w") as output:
            process = subprocess.Popen(
                [
                    program,
                    f"--config.file={tmp_path / 'prometheus.yml'}",
                    f"--storage.tsdb.path={tmp_path / 'data'}",
                    f"--web.listen-address={server}",
                    "--log.level=debug",
                ],
                stdout=output,
                stderr=subprocess.STDOUT,
            )
            try:
                until(lambda: ready(server), "prometheus is ready")
                moments: list[float] = []
                until(lambda: well_scraped(server, moments), "three scrapes of each")

                def then(query: str) -> Any:
                    return ask(server, "query", query=query, time=str(moments[-1]))["result"]

                assert {item["metric"]["job"]: item["value"][1] for item in then("up")} == {
                    "forwarder": "1",
                    "receiver": "1",
                }
                described = ask(server, "metadata")
                for kind, names in (("histogram", HISTOGRAMS), ("counter", COUNTERS), ("gauge", GAUGES)):
                    for name, labels in names.items():
                        # The text format's families of counters lack the suffix.
                        entry = described.get(name) or described[name.removesuffix("_total")]
                        assert entry[0]["type"] == kind, name
                        assert entry[0]["help"].endswith((".", "running", "started")), name
                        sample = f"{name}_bucket" if kind == "histogram" else name
                        series = then(sample)
                        assert series, name
                        assert labels <= set(series[0]["metric"]), name
                # Whatever scraped oddly would say so here.
                for query in ("scrape_samples_scraped - scrape_samples_post_metric_relabeling", "1 - up"):
                    assert {item["value"][1] for item in then(query)} == {"0"}
                quantile = "histogram_quantile(0.5, sum by (le) (rate(latency_receiver_backbone_seconds_bucket[1m])))"
                (found,) = then(quantile)
                assert 0 < float(found["value"][1]) < 16
                text = log.read_text()
            finally:
                process.terminate()
                process.wait(300)
        settled(sink, "latency_receiver_link_connected", 1)
    signs = ("level=warn", "level=error", "duplicate", "out of order", "out-of-order", "parse", "append failed")
    complaints = [line for line in text.splitlines() if any(sign in line.lower() for sign in signs)]
    assert complaints == []
