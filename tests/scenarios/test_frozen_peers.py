"""A peer that is stopped, not ended: its connections stay, nothing comes. It is given up, told of, and found again."""

import json
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.processes import Program, running, until
from tests.programs import address_of, forwarder, log_lines, port_of, read, receiver, scrape, settled, simulator

pytestmark = pytest.mark.process

RATE = 200


@contextmanager
def frozen(program: Program) -> Iterator[None]:
    """Stop a program for the length of a ``with`` block."""
    program.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        program.send_signal(signal.SIGCONT)


def configured(
    tmp_path: Path, exchange: Program, sink: Program, transport: str = "tcp", silence_seconds: float = 300.0
) -> tuple[str, ...]:
    file = tmp_path / "forwarder.toml"
    file.write_text(
        f'[feed]\nurl = "ws://{exchange.ready["near"]}"\nsilence_seconds = {silence_seconds}\n'
        f'[[destination]]\naddress = "127.0.0.1:{port_of(sink)}"\ntransport = "{transport}"\n'
        "reconnect_max_seconds = 0.2\n"
    )
    return ("--config", str(file))


def test_a_frozen_exchange_costs_the_connection_and_no_account(tmp_path: Path) -> None:
    """Its silence is noticed and told of; it is dialled again, and all that came before and after is accounted for."""
    with (
        simulator("--rate", str(RATE)) as exchange,
        receiver("--mode", "aws-backbone", "--output", str(tmp_path / "run.json")) as sink,
        forwarder(*configured(tmp_path, exchange, sink, silence_seconds=2.0)) as program,
    ):
        settled(program, "latency_forwarder_feed_connected", 1)
        until(lambda: bool(scrape(sink).by("latency_receiver_events_total", "stream")), "events flow")
        with frozen(exchange):
            until(
                lambda: scrape(program).sum("latency_forwarder_reconnects_total", side="feed", reason="silent") >= 1,
                "the silent feed is given up",
            )
            until(lambda: bool(log_lines(program, "feed lost")), "and told of")
        received = "latency_forwarder_events_received_total"
        before = scrape(program).sum(received)
        until(lambda: scrape(program).sum(received) > before + RATE, "events come again")
        exchange.terminate()
        settled(program, "latency_forwarder_feed_connected", 0)
        total = scrape(program).sum(received)
        settled(sink, "latency_receiver_events_total", total)
        settled(program, "latency_forwarder_buffer_events", 0)
        sink.terminate()
    path = json.loads((tmp_path / "run.json").read_text())["paths"]["backbone"]
    assert (path["unique"], path["events_lost"], path["duplicates"], path["sessions"]) == (total, 0, 0, 1)


def test_a_frozen_forwarder_is_given_up_and_loses_nothing(tmp_path: Path) -> None:
    total = 16 * RATE
    with (
        simulator("--rate", str(RATE), "--wait-for-clients", "1", "--stop-after-events", str(total)) as exchange,
        receiver("--mode", "aws-backbone", "--output", str(tmp_path / "run.json")) as sink,
        forwarder(*configured(tmp_path, exchange, sink)) as program,
    ):
        until(lambda: bool(scrape(sink).by("latency_receiver_events_total", "stream")), "events flow")
        with frozen(program):
            line = json.loads(sink.wait_for_log('"event": "forwarder disconnected"'))
            assert line["why"] == "silent"
            assert scrape(sink).sum("latency_receiver_link_connected") == 0
        settled(sink, "latency_receiver_link_connected", 1)
        settled(program, "latency_forwarder_events_forwarded_total", total)
        settled(program, "latency_forwarder_buffer_events", 0)
        sink.terminate()
    path = json.loads((tmp_path / "run.json").read_text())["paths"]["backbone"]
    assert (path["unique"], path["events_lost"], path["sessions"]) == (total, 0, 1)


def test_a_receiver_frozen_over_udp_loses_what_is_counted(tmp_path: Path) -> None:
    """What was sent to it meanwhile waits in its socket, or is missing: together it is all there was."""
    total = 10 * RATE
    with (
        simulator("--rate", str(RATE), "--wait-for-clients", "1", "--stop-after-events", str(total)) as exchange,
        receiver("--mode", "aws-backbone", "--transport", "udp", "--output", str(tmp_path / "run.json")) as sink,
        forwarder(*configured(tmp_path, exchange, sink, "udp")) as program,
    ):
        until(lambda: bool(scrape(sink).by("latency_receiver_events_total", "stream")), "events flow")
        with frozen(sink):
            program.wait_for_log('"reason": "silent"')
        settled(program, "latency_forwarder_events_received_total", total)
        settled(program, "latency_forwarder_events_forwarded_total", total)
        until(lambda: scrape(sink).sum("latency_receiver_link_connections_total") >= 2, "it is back")
        program.terminate()
        sink.wait_for_log('"event": "forwarder disconnected"')
        sink.terminate()
    path = json.loads((tmp_path / "run.json").read_text())["paths"]["backbone"]
    assert path["unique"] + path["events_lost"] == total
    assert path["given_up_by_forwarder"] == 0
    assert path["sessions"] == 1


def test_a_frozen_server_costs_its_attempts_alone() -> None:
    """Its attempts fail in their time and for their reason until it is back; those of the other target go on."""
    with (
        receiver("--mode", "aws-backbone") as stopped,
        receiver("--mode", "aws-backbone", "--metrics", "127.0.0.2:0") as other,
    ):
        targets = [f"http://{address_of(one, 'metrics')}/-/healthy" for one in (stopped, other)]
        arguments = [argument for target in targets for argument in ("--target", target)]
        # A target's name is its host.
        bad, good = "127.0.0.1", "127.0.0.2"
        with running(
            *("daemons.probe.main", "--metrics", "127.0.0.1:0", *arguments, "--interval", "0.1", "--timeout", "0.5")
        ) as probe:
            page = f"http://{probe.ready['metrics']}/metrics"

            def count(what: str, target: str, **labels: str) -> float:
                return sum(read(page).matching(f"latency_probe_{what}", target=target, **labels))

            until(lambda: all(count("successes_total", target) >= 5 for target in (bad, good)), "both answer")
            with frozen(stopped):
                until(lambda: count("failures_total", bad, reason="timeout") >= 3, "it fails in time")
                assert count("success", bad) == 0
                before = count("successes_total", good)
                until(lambda: count("successes_total", good) >= before + 5, "the other goes on")
            before = count("successes_total", bad)
            until(lambda: count("successes_total", bad) >= before + 5, "it answers again")
            until(lambda: count("success", bad) == 1, "on both kinds of connection")
            # Where the machine stood still for longer than that, so did its attempts.
            failures = [one for one in read(page).samples if one.name == "latency_probe_failures_total" and one.value]
            reasons = {one.labels["reason"] for one in failures if one.labels["target"] == good}
            assert reasons <= {"timeout", "connect_timeout"}
            assert sum(read(page).matching("latency_unexpected_errors_total")) == 0
