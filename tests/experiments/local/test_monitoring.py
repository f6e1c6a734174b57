"""``experiment monitoring`` with real servers, on daemons that run already."""

import os

import pytest
from click.testing import CliRunner

from experiments.main import main
from tests.monitoring.servers import ask
from tests.processes import running, until
from tests.programs import address_of, forwarder, free_port, receiver, simulator

DURATION_SECONDS = 3600


@pytest.mark.process
def test_every_daemon_that_is_named_is_scraped() -> None:
    prometheus, alertmanager = (f"127.0.0.1:{free_port()}" for _ in range(2))
    servers = ("--prometheus", prometheus, "--alertmanager", alertmanager, "--duration", str(DURATION_SECONDS))
    with (
        simulator("--stream", "btcusdt@trade") as exchange,
        receiver("--mode", "aws-backbone") as receiving,
        forwarder("--feed-url", f"ws://{exchange.ready['near']}", "--destination", address_of(receiving)) as first,
        forwarder("--feed-url", f"ws://{exchange.ready['near']}", "--destination", address_of(receiving)) as second,
    ):
        daemons = {
            address_of(receiving, "metrics"): "receiver",
            address_of(first, "metrics"): "forwarder",
            address_of(second, "metrics"): "forwarder",
        }
        targets = [word for address, role in daemons.items() for word in ("--target", f"{role}={address}")]
        # A proxy of the environment's, which does not answer, is not asked for what listens on this machine.
        proxied = {**os.environ, "http_proxy": "http://127.0.0.1:9"}
        with running("experiments.main", "monitoring", *servers, *targets, ready=None, env=proxied) as monitoring:
            until(lambda: any("Ctrl-C ends it all" in line for line in monitoring.lines), "both serve")

            def up() -> dict[str, str]:
                found = ask(prometheus, "/api/v1/query", query='up{job="latency"} == 1')["data"]["result"]
                # Daemons of one's own are no demo.
                assert {series["metric"]["deployment"] for series in found} <= {"local"}
                return {series["metric"]["instance"]: series["metric"]["role"] for series in found}

            until(lambda: up() == daemons, "all three are up")

            def told() -> list[str]:
                return [one["url"] for one in ask(prometheus, "/api/v1/alertmanagers")["data"]["activeAlertmanagers"]]

            # Prometheus finds whom to scrape and whom to tell each in its own time.
            until(lambda: bool(told()), "Prometheus knows an Alertmanager")
            (url,) = told()
            assert alertmanager in url
            printed = "\n".join(monitoring.lines)
    for address in (*daemons, prometheus, alertmanager):
        assert f"http://{address}" in printed


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("receiver", "'receiver' names no role; write ROLE=HOST:PORT, ROLE one of forwarder, receiver, probe, nat"),
        ("127.0.0.1:9472", "'127.0.0.1:9472' names no role; write ROLE=HOST:PORT"),
        ("receiver=", "'' is not an address; write HOST:PORT"),
        ("receiver=9472", "'9472' is not an address; write HOST:PORT"),
        ("receiver=h:99999", "port 99999 is out of range"),
        ("foo=127.0.0.1:9472", "'foo' is no role that has metrics; write one of forwarder, receiver, probe, nat"),
        ("Receiver=127.0.0.1:9472", "'Receiver' is no role that has metrics"),
    ],
)
def test_what_is_no_target_is_refused(text: str, why: str) -> None:
    result = CliRunner().invoke(main, ["monitoring", "--target", text])
    assert result.exit_code == 2
    assert result.stderr.startswith(f"error: --target: {why}")
