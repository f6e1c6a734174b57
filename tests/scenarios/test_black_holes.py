"""Peers that stop answering without a word: no FIN, no RST, every packet swallowed, as by a dead way or a firewall.

In a network namespace of the test's own, whose firewall swallows what a port sends and gets.
"""

import os
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.lab.namespace import enter
from tests.processes import running, until
from tests.programs import address_of, forwarder, free_port, port_of, read, receiver, scrape, settled, simulator

pytestmark = pytest.mark.process

"""The kernel gives a dead peer 15 s, the probe's request its timeout, and a starved machine its time."""


def inside(work: Callable[["Firewall"], None]) -> None:
    """Run ``work`` in a network of its own: whoever it starts, and what it asks of them, stays there."""
    name = f"black-hole-{os.getpid()}"
    subprocess.run(["ip", "netns", "add", name], check=True)
    raised: list[BaseException] = []

    def body() -> None:
        try:
            enter(name)
            subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
            work(Firewall())
        except BaseException as error:  # noqa: BLE001 it is raised where it is heard
            raised.append(error)

    # A thread cannot leave a namespace again: it ends there.
    thread = threading.Thread(target=body)
    try:
        thread.start()
        thread.join()
    finally:
        subprocess.run(["ip", "netns", "delete", name], check=True)
    if raised:
        raise raised[0]


class Firewall:
    """Swallows what goes to a port or comes from it."""

    @contextmanager
    def swallowing(self, port: int) -> Iterator[None]:
        self._rules("-A", port)
        try:
            yield
        finally:
            self._rules("-D", port)

    def swallow_all_for(self, host: str, port: int) -> None:
        """Swallow what goes to an address, for good."""
        program = "ip6tables" if ":" in host else "iptables"
        line = [program, "-w", "-A", "INPUT", "-d", host, "-p", "tcp", "--dport", str(port), "-j", "DROP"]
        subprocess.run(line, check=True)

    @staticmethod
    def _rules(action: str, port: int) -> None:
        for protocol in ("tcp", "udp"):
            for end in ("--dport", "--sport"):
                line = ["iptables", "-w", action, "INPUT", "-p", protocol, end, str(port), "-j", "DROP"]
                subprocess.run(line, check=True)


def test_an_exchange_that_is_swallowed_is_noticed_however_quiet_its_streams_may_be(tmp_path: Path) -> None:
    def work(firewall: Firewall) -> None:
        file = tmp_path / "forwarder.toml"
        with simulator("--rate", "200") as exchange:
            url = exchange.ready["near"]
            file.write_text(f'[feed]\nurl = "ws://{url}"\nsilence_seconds = 86400.0\nreconnect_max_seconds = 1.0\n')
            with forwarder("--config", str(file), "--destination", f"127.0.0.1:{free_port()}") as program:
                until(lambda: scrape(program).sum("latency_forwarder_events_received_total") > 0, "events")
                until(lambda: scrape(program).sum("latency_feed_connection_pongs_total") > 0, "a pong")
                assert scrape(program).sum("latency_feed_connection_rtt_seconds", path="feed", connection="0") < 60
                with firewall.swallowing(int(url.rpartition(":")[2])):
                    settled(program, "latency_forwarder_feed_connected", 0)
                    lost = scrape(program).by("latency_forwarder_reconnects_total", "reason")
                    assert set(lost) & {"timeout", "silent"}, lost
                before = scrape(program).sum("latency_forwarder_events_received_total")
                until(
                    lambda: scrape(program).sum("latency_forwarder_events_received_total") > before,
                    "events again",
                )

    inside(work)


@pytest.mark.parametrize("dead", ["127.0.0.2", "::1"])
def test_a_first_address_or_a_family_that_is_swallowed_costs_no_attempt(dead: str, tmp_path: Path) -> None:
    def work(firewall: Firewall) -> None:
        file = tmp_path / "forwarder.toml"
        with simulator("--rate", "200") as exchange:
            port = int(exchange.ready["near"].rpartition(":")[2])
            firewall.swallow_all_for(dead, port)
            file.write_text(f'[feed]\nurl = "ws://localhost:{port}"\naddress = ["{dead}", "127.0.0.1"]\n')
            with forwarder("--config", str(file), "--destination", f"127.0.0.1:{free_port()}") as program:
                received = "latency_forwarder_events_received_total"
                until(lambda: sum(scrape(program).matching(received)) > 50, "events")
                page = scrape(program)
                assert page.sum("latency_feed_connection_info", address="127.0.0.1") == 1
                assert page.sum("latency_forwarder_reconnects_total", side="feed") == 0

    inside(work)


@pytest.mark.parametrize("transport", ["tcp", "udp"])
def test_a_link_that_is_swallowed_is_made_anew_and_every_event_is_accounted_for(transport: str) -> None:
    def work(firewall: Firewall) -> None:
        with (
            simulator("--rate", "200", "--wait-for-clients", "1") as exchange,
            receiver("--mode", "aws-backbone", "--transport", transport) as sink,
        ):
            port = port_of(sink)
            link = f"127.0.0.1:{port}"
            arguments = ("--feed-url", f"ws://{exchange.ready['near']}", "--transport", transport)
            with forwarder(*arguments, "--destination", link) as program:
                until(lambda: sum(scrape(sink).matching("latency_receiver_events_total")) > 50, "events")
                with firewall.swallowing(port):
                    until(
                        lambda: (
                            scrape(program).sum("latency_forwarder_reconnects_total", side=link, reason="silent") > 0
                        ),
                        "the forwarder notices",
                    )
                    settled(sink, "latency_receiver_link_connected", 0)
                settled(program, "latency_forwarder_link_connected", 1)
                exchange.terminate()
                sent = exchange.last_json()["near"]["messages_sent"]
                settled(program, "latency_forwarder_events_received_total", sent)
                settled(program, "latency_forwarder_buffer_events", 0)
                assert scrape(program).sum("latency_forwarder_events_forwarded_total") == sent

                def accounted() -> bool:
                    page = scrape(sink)
                    events, copies, gaps, late = (
                        sum(page.matching(f"latency_receiver_{name}_total"))
                        for name in ("events", "duplicate_events", "sequence_gap_events", "late_events")
                    )
                    unique, missing = events - copies, gaps - late
                    assert transport == "udp" or missing == 0
                    return bool(unique + missing == sent)

                until(accounted, "all that was sent is there or missing")

    inside(work)


def test_a_kept_connection_of_a_probe_that_is_swallowed_costs_requests_until_their_timeout(tmp_path: Path) -> None:
    def work(firewall: Firewall) -> None:
        file = tmp_path / "probe.toml"
        with receiver("--mode", "aws-backbone") as server:
            address = address_of(server, "metrics")
            where = f"http://{address}/-/healthy"
            file.write_text(
                f'[[target]]\nname = "t"\nurl = "{where}"\nconnections = "warm"\ninterval_seconds = 0.2\n'
                "timeout_seconds = 1.0\n"
            )
            with running("daemons.probe.main", "--metrics", "127.0.0.1:0", "--config", str(file)) as probe:

                def total(name: str, **labels: str) -> float:
                    page = read(f"http://{probe.ready['metrics']}/metrics")
                    return sum(page.matching(f"latency_probe_{name}_total", **labels))

                until(lambda: total("successes") > 3, "it probes")
                with firewall.swallowing(int(address.rpartition(":")[2])):
                    until(lambda: total("failures", reason="timeout") > 0, "the request is given up")
                    until(lambda: total("failures", reason="connect_timeout") > 0, "no new one")
                before = total("successes")
                until(lambda: total("successes") > before + 3, "it probes again")
                page = read(f"http://{probe.ready['metrics']}/metrics")
                slots, sent, missed = (
                    sum(page.matching(f"latency_probe_{name}_total")) for name in ("slots", "attempts", "missed_slots")
                )
                assert slots == sent + missed

    inside(work)
