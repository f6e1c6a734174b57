"""A Prometheus in agent mode writes to VictoriaMetrics, which then answers with the same quantiles."""

from pathlib import Path
from typing import Any

import pytest

from tests.monitoring.expressions import ROOT, loaded, write
from tests.monitoring.servers import ask, configured, prometheus, served
from tests.processes import until
from tests.programs import address_of, free_port, receiver, simulator

pytestmark = pytest.mark.process

EVENTS = 2000
QUANTILE = "histogram_quantile({}, latency_receiver_end_to_end_seconds_bucket)"


def test_the_store_has_the_same_quantiles(tmp_path: Path) -> None:
    store = f"127.0.0.1:{free_port()}"
    command = (
        "victoria-metrics",
        f"-storageDataPath={tmp_path / 'store'}",
        f"-httpListenAddr={store}",
        # Else it hides what is younger than half a minute.
        "-search.latencyOffset=1s",
    )
    rest = ("--far-delay-ms", "30", "--rate", "500", "--wait-for-clients", "1", "--stop-after-events", str(EVENTS))
    with (
        served(store, "/health", tmp_path / "store.log", *command, folder=tmp_path),
        simulator("--far-listen", "127.0.0.1:0", "--stream", "btcusdt@trade", *rest) as exchange,
        receiver(
            "--mode", "baseline", "--feed-url", f"ws://{exchange.ready['far']}", "--stream", "btcusdt@trade"
        ) as daemon,
    ):
        targets = {"receiver": address_of(daemon, "metrics")}
        local = configured(tmp_path / "server", targets, "127.0.0.1:9")
        agent = configured(tmp_path / "agent", targets, "127.0.0.1:9")
        # What is shipped, but for the intervals and the store's address.
        shipped = loaded(ROOT / "prometheus" / "remote-write" / "agent.yml")
        shipped["global"] |= {"scrape_interval": "1s", "scrape_timeout": "1s"}
        shipped["scrape_configs"][0]["file_sd_configs"][0]["files"] = ["targets/*.json"]
        shipped["remote_write"][0]["url"] = f"http://{store}/api/v1/write"
        write(agent / "prometheus.yml", shipped)
        flags = ("--enable-feature=agent", f"--storage.agent.path={tmp_path / 'agent' / 'data'}")
        with prometheus(local) as direct, prometheus(agent, *flags):
            # Once nothing more comes, both see the same counters at whatever moment they are asked.
            count = "latency_receiver_events_total"
            until(lambda: _values(direct, count) == _values(store, count) == [EVENTS], "both have all")
            for fraction in (0.5, 0.95, 0.99, 0.999):
                (expected,) = _answer(direct, QUANTILE.format(fraction))
                assert float(expected["value"][1]) > 0.028, "the far endpoint is 30 ms away, and buckets are 9 % wide"
                (stored,) = _answer(store, QUANTILE.format(fraction))
                assert float(stored["value"][1]) == pytest.approx(float(expected["value"][1]))
            (series,) = _answer(store, count)
            assert series["metric"].items() >= {"monitor": "tokyo-1", "deployment": "local", "role": "receiver"}.items()


def _series(address: str, query: str) -> list[Any]:
    found: list[Any] = ask(address, "/api/v1/query", query=query)["data"]["result"]
    return found


def _answer(address: str, query: str) -> list[Any]:
    """Ask until there is an answer: a scrape that took longer than a second has ended every series until the next."""
    answers: list[list[Any]] = []

    def answered() -> bool:
        answers.append(_series(address, query))
        return bool(answers[-1])

    until(answered, query)
    return answers[-1]


def _values(address: str, query: str) -> list[float]:
    return [float(series["value"][1]) for series in _series(address, query)]
