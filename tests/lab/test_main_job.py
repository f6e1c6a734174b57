"""The main job on booted hosts: start, what can be seen, reload, stop."""

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.deadline import wait_until
from tests.lab.lab import Lab
from tests.lab.main_job import FORWARDER, GOT, PROMETHEUS, RECEIVER, SIMULATOR, MainJob

pytestmark = pytest.mark.lab

STOP_SECONDS = 2.0
MEASURED = 1000
"""Events on each path before their median is judged."""


@pytest.fixture(scope="module")
def job(installed: tuple[Path, ...]) -> Iterator[MainJob]:
    with Lab() as lab:
        job = MainJob(lab, installed)
        job.start()
        yield job


def test_all_daemons_are_active_and_say_what_they_do(job: MainJob) -> None:
    for host, unit in ((job.exchange, SIMULATOR), (job.tokyo, FORWARDER), (job.frankfurt, RECEIVER)):
        assert host.systemctl("is-active", unit).strip() == "active"
        assert host.systemctl("is-enabled", unit).strip() == "enabled"
        # Type=notify: without READY=1 it would still be activating.
        assert host.property(unit, "Type") == "notify"
    for host, unit, words in (
        (job.frankfurt, RECEIVER, ("events/s", "backbone up", "direct up", "0 lost")),
        (job.tokyo, FORWARDER, ("events/s", "feed up", "frankfurt:8080 up")),
    ):
        wait_until(
            f"{unit} says {words}",
            lambda host=host, unit=unit, words=words: all(  # type: ignore[misc]
                word in host.property(unit, "StatusText") for word in words
            ),
        )


def test_the_journal_has_json_with_the_configuration_in_force(job: MainJob) -> None:
    for host, unit in ((job.tokyo, FORWARDER), (job.frankfurt, RECEIVER)):
        starting = [event for event in host.events(unit) if event["event"] == "starting"]
        assert len(starting) == 1
        assert starting[0]["level"] == "info"
        key_files = json.dumps(starting[0]["config"])
        assert "credential:link.key" in key_files
        assert host.path("/etc/latency/link.key").read_text() not in key_files
    paths = job.frankfurt.events(RECEIVER)[0]["config"]["path"]
    assert [path["name"] for path in paths] == ["backbone", "direct"]
    assert paths[0]["listen"] == "0.0.0.0:8080", "a default that is in force is shown too"


def test_prometheus_on_another_host_scrapes_both_ends(job: MainJob) -> None:
    assert job.monitor.systemctl("is-active", PROMETHEUS).strip() == "active"

    def scraped(query: str) -> dict[str, float]:
        page = job.monitor.fetch(f"http://127.0.0.1:9090/api/v1/query?query={query}")
        return {row["metric"]["instance"]: float(row["value"][1]) for row in json.loads(page)["data"]["result"]}

    both = {"tokyo:9471": 1.0, "frankfurt:9472": 1.0}
    wait_until("both targets are up", lambda: scraped("up") == both)
    wait_until(
        "samples were taken in",
        lambda: scraped(f"sum%20by(instance)({GOT}_events_total)").get("frankfurt:9472", 0) > 0,
    )


def test_the_delays_measured_are_those_of_the_links(job: MainJob) -> None:
    # Of some seconds' events, for in the first ones a stall would be all there is.
    wait_until("some seconds were measured", lambda: min(map(job.live, ("backbone", "direct"))) >= MEASURED)
    page = job.receiver()
    for path, least, typical in (("backbone", 0.050, 0.052), ("direct", 0.052, 0.060)):
        buckets: dict[float, float] = {}
        for name, labels, value in page.samples:
            if name == f"{GOT}_end_to_end_seconds_bucket" and labels["path"] == path:
                buckets[float(labels["le"])] = buckets.get(float(labels["le"]), 0.0) + value
        count = buckets[float("inf")]
        assert count > 0
        # Nothing is faster than the links. The median is bounded generously: a busy machine adds to it.
        assert max((value for le, value in buckets.items() if le < least), default=0.0) == 0
        assert min(le for le, value in buckets.items() if value >= count / 2) < typical * 2


def test_systemd_is_told_of_a_reload(job: MainJob) -> None:
    for host, unit in ((job.tokyo, FORWARDER), (job.frankfurt, RECEIVER)):
        before = host.property(unit, "StateChangeTimestampMonotonic")
        # By signal, not by `systemctl reload`: only the daemon's own RELOADING=1 and READY=1 change the unit's state.
        host.kill(unit, "HUP")
        wait_until(
            f"{unit} has been reloading",
            lambda host=host, unit=unit, before=before: (  # type: ignore[misc]
                host.property(unit, "StateChangeTimestampMonotonic") != before
                and host.property(unit, "ActiveState") == "active"
            ),
        )
        assert host.restarts(unit) == 0
    job.wait_live()


def test_a_bad_configuration_is_refused_and_the_old_one_stays(job: MainJob) -> None:
    host, name = job.frankfurt, f"{GOT}_config_last_reload_successful"
    good = host.path("/etc/latency/receiver.toml").read_text()
    assert job.receiver().total(name) == 1
    host.write("/etc/latency/receiver.toml", good.replace("transport", "transprot"))
    host.systemctl("reload", RECEIVER)
    wait_until("the refusal is seen in the metric", lambda: job.receiver().total(name) == 0)
    wait_until("the unit is active again", lambda: host.property(RECEIVER, "ActiveState") == "active")
    refusal = next(event for event in host.events(RECEIVER) if event["level"] == "error")
    assert "did you mean `transport`?" in refusal["error"]
    job.wait_live()
    host.write("/etc/latency/receiver.toml", good)
    host.systemctl("reload", RECEIVER)
    wait_until("the good one is taken", lambda: job.receiver().total(name) == 1)
    assert host.restarts(RECEIVER) == 0


def test_a_configuration_that_cannot_start_says_why_and_heals_by_itself(job: MainJob) -> None:
    host = job.tokyo
    good = host.path("/etc/latency/forwarder.toml").read_text()
    host.write("/etc/latency/forwarder.toml", good.replace("frankfurt:8080", "frankfurt"))
    assert "failed" in host.run("systemctl", "restart", FORWARDER, check=False).stderr
    said = [str(entry["MESSAGE"]) for entry in host.journal(FORWARDER)]
    assert any("'frankfurt' is not an address" in line for line in said)
    host.write("/etc/latency/forwarder.toml", good)
    host.wait_for(FORWARDER)
    job.wait_live()


def test_a_missing_key_is_named(job: MainJob) -> None:
    host = job.tokyo
    key = host.path("/etc/latency/link.key")
    text = key.read_text()
    key.unlink()
    assert "failed" in host.run("systemctl", "restart", FORWARDER, check=False).stderr
    assert any("credential:link.key: holds 4 bytes" in str(entry["MESSAGE"]) for entry in host.journal(FORWARDER))
    host.write("/etc/latency/link.key", text, 0o600)
    host.wait_for(FORWARDER)
    job.wait_live()


def test_stopping_flushes_the_results_in_time(job: MainJob) -> None:
    # A stop may meet a stall; one that took long by itself would take long every time.
    wait_until("a stop is short", lambda: stop_receiver(job) < STOP_SECONDS)


def stop_receiver(job: MainJob) -> float:
    """Stop the receiver after it has measured, check its results, and return how many seconds stopping took."""
    host = job.frankfurt
    job.exchange.systemctl("start", SIMULATOR)
    host.systemctl("start", "latency-receiver.socket", RECEIVER)
    job.wait_live()
    job.quiet()
    page = job.receiver()
    begin = time.monotonic()
    host.systemctl("stop", "latency-receiver.socket", RECEIVER)
    took = time.monotonic() - begin
    assert host.property(RECEIVER, "Result") == "success"
    results = json.loads(host.path("/var/lib/latency/results.json").read_text())
    assert results["complete"] is True
    rows = host.path("/var/lib/latency/results.csv").read_text().splitlines()[1:]
    for name in ("backbone", "direct"):
        counted = page.total(f"{GOT}_events_total", path=name)
        assert results["paths"][name]["events"] == counted
        assert sum(row.split(",")[6] == name for row in rows) == counted
    return took
