"""A daemon that stood still itself, as in a virtual machine that is moved, does not blame its peers for silence."""

import signal
import time
from pathlib import Path

import pytest

from tests.processes import until
from tests.programs import forwarder, port_of, receiver, scrape, settled, silences, simulator

pytestmark = pytest.mark.process

RATE = 200
FEED_SILENCE_SECONDS = 4.0
STANDSTILL_SECONDS = 6.0
"""Longer than the silence that feed and link (5 s) are given up for, shorter than what the receiver bears (10 s)."""


def test_a_forwarder_that_stood_still_keeps_feed_and_link(tmp_path: Path) -> None:
    file = tmp_path / "forwarder.toml"
    with (
        simulator("--rate", str(RATE), "--wait-for-clients", "2") as exchange,
        receiver("--mode", "aws-backbone") as sink,
    ):
        file.write_text(
            f'[feed]\nurl = "ws://{exchange.ready["near"]}"\nsilence_seconds = {FEED_SILENCE_SECONDS}\n'
            f'[[destination]]\naddress = "127.0.0.1:{port_of(sink)}"\n'
        )
        # The other does not stand still: what it gives up was silent indeed, on a machine with no turn for a process.
        with forwarder("--config", str(file)) as program, forwarder("--config", str(file)) as witness:
            settled(program, "latency_forwarder_link_connected", 1)
            received = "latency_forwarder_events_received_total"
            for _standstill in range(2):
                before = scrape(program).sum(received)
                until(lambda before=before: scrape(program).sum(received) > before + RATE, "events come")  # type: ignore[misc]
                program.send_signal(signal.SIGSTOP)
                # The standstill is the subject here and not a synchronisation.
                time.sleep(STANDSTILL_SECONDS)
                program.send_signal(signal.SIGCONT)
            before = scrape(program).sum(received)
            until(lambda: scrape(program).sum(received) > before + RATE, "events come to the end")
            given_up = scrape(program).by("latency_forwarder_reconnects_total", "side")
            assert not given_up or scrape(witness).by("latency_forwarder_reconnects_total", "side") or silences(sink)
            exchange.terminate()
            total = 0.0
            for one in (program, witness):
                settled(one, "latency_forwarder_feed_connected", 0)
                total += scrape(one).sum(received)
            settled(sink, "latency_receiver_events_total", total)
