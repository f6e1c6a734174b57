"""Counters of one page belong together: at every scrape of busy daemons the books balance to the event."""

import json
from pathlib import Path

import pytest

from tests.processes import running, until
from tests.programs import (
    Metrics,
    address_of,
    forwarder,
    free_port,
    port_of,
    read,
    receiver,
    scrape,
    settled,
    simulator,
)

pytestmark = pytest.mark.process

EVENTS = 40_000
PAGES = 10
RATE = 8_000
"""More than a slow machine makes: then it is busy all the time."""
STREAMS = ("btcusdt@trade", "ethusdt@trade", "btcusdt@bookTicker")


def assert_forwarder_balances(page: Metrics, links: tuple[str, ...]) -> None:
    received = page.sum("latency_forwarder_events_received_total")
    for link in links:
        forwarded = page.sum("latency_forwarder_events_forwarded_total", link=link)
        dropped = page.sum("latency_forwarder_events_dropped_total", link=link)
        buffered = page.sum("latency_forwarder_buffer_events", link=link)
        assert received - forwarded - dropped - buffered == 0, (link, received, forwarded, dropped, buffered)


def assert_receiver_balances(page: Metrics) -> None:
    seen = sum(page.matching("latency_receiver_events_total"))
    assert seen == page.sum("latency_receiver_stamps_total")
    assert page.sum("latency_receiver_duplicate_events_total") <= seen


def test_a_busy_forwarder_and_its_receivers(tmp_path: Path) -> None:
    """Of three links one is over TCP, one over UDP, and one has no peer and room for few."""
    with (
        simulator(
            *(argument for stream in STREAMS for argument in ("--stream", stream)),
            *("--rate", str(RATE), "--wait-for-clients", "1"),
        ) as exchange,
        receiver("--mode", "aws-backbone") as over_tcp,
        receiver("--mode", "aws-backbone", "--transport", "udp") as over_udp,
    ):
        links = tuple(f"127.0.0.1:{port}" for port in (port_of(over_tcp), port_of(over_udp), free_port()))
        file = tmp_path / "forwarder.toml"
        file.write_text(
            f'[feed]\nurl = "ws://{exchange.ready["near"]}"\nstreams = {json.dumps(STREAMS)}\n'
            + "".join(
                f'[[destination]]\naddress = "{link}"\ntransport = "{transport}"\nbuffer_events = {room}\n'
                for link, transport, room in zip(links, ("tcp", "udp", "tcp"), (1_000_000, 1_000_000, 500), strict=True)
            )
        )
        with forwarder("--config", str(file)) as program:
            moments: set[float] = set()

            def read_under_way() -> bool:
                page = scrape(program)
                assert_forwarder_balances(page, links)
                for sink in (over_tcp, over_udp):
                    assert_receiver_balances(scrape(sink))
                moments.add(page.sum("latency_forwarder_events_received_total"))
                return len(moments) > PAGES and max(moments) > EVENTS

            until(read_under_way, f"{PAGES} moments of {EVENTS} events")
            exchange.terminate()
            settled(program, "latency_forwarder_feed_connected", 0)
            received = scrape(program).sum("latency_forwarder_events_received_total")
            settled(program, "latency_forwarder_events_forwarded_total", received, link=links[0])
            assert_forwarder_balances(scrape(program), links)
            assert scrape(program).sum("latency_forwarder_events_dropped_total", link=links[2]) == received - 500


def test_a_busy_probe() -> None:
    """Slots are attempts and missed ones; attempts are successes, failures, and those under way: never fewer."""
    with receiver("--mode", "aws-backbone") as server:
        good, bad = f"http://{address_of(server, 'metrics')}/-/healthy", f"http://127.0.0.2:{free_port()}/"
        arguments = ("--target", good, "--target", bad, "--interval", "0.02", "--timeout", "2")
        with running("daemons.probe.main", "--metrics", "127.0.0.1:0", *arguments) as probe:

            def enough() -> bool:
                page = read(f"http://{probe.ready['metrics']}/metrics")
                for target in ("127.0.0.1", "127.0.0.2"):
                    slots, sent, missed, successes, failures = (
                        sum(page.matching(f"latency_probe_{name}_total", target=target))
                        for name in ("slots", "attempts", "missed_slots", "successes", "failures")
                    )
                    assert slots == sent + missed
                    assert successes + failures <= sent
                return sum(page.matching("latency_probe_attempts_total")) > 500

            until(enough, "500 attempts")
