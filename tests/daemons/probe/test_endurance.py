"""Months in minutes: nothing leaks, no slot sticks, and of two hundred targets every slot is accounted for."""

import asyncio
import gc
import itertools
import os
import signal
import urllib.request
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from daemons.probe.attempt import ConnectionKind, Reason
from daemons.probe.families import Families
from daemons.probe.lane import WarmLane
from daemons.probe.observations import Observations
from daemons.probe.target import Target
from tests.daemons.probe.probing import attempt, prober, run, target_of
from tests.daemons.probe.server import Authority, serving
from tests.processes import running, until

pytestmark = [pytest.mark.process, pytest.mark.soak]

ATTEMPTS = 10_000
AT_ONCE = 32
TARGETS = 200
SECONDS = 15


@pytest.fixture
def fast_port(authority: Authority, tmp_path: Path) -> Iterator[int]:
    certificate = tmp_path / "server.pem"
    authority.ca.issue_cert("localhost", "127.0.0.1").private_key_and_cert_chain_pem.write_to_path(str(certificate))
    # It serves until it is told to stop, which is how it ends.
    with running("tests.daemons.probe.fast_server", str(certificate), exit_code=-signal.SIGTERM) as server:
        yield server.ready["port"]


def descriptors() -> int:
    return sum(1 for _entry in Path("/proc/self/fd").iterdir())


def test_no_descriptor_leaks_in_ten_thousand_attempts_whatever_becomes_of_them(
    authority: Authority, fast_port: int
) -> None:
    """A good server and one failing in each way, in turn, 32 attempts at a time."""
    # The event loop's library keeps a few descriptors once it has been used.
    attempt(target_of("https://127.0.0.1:1/"))
    # Nor must what earlier tests left behind be counted now and be gone in the end.
    gc.collect()
    before = descriptors()
    with (
        serving(authority.context()) as wrong_status,
        serving(authority.context(), reset="response") as resetting,
        serving(authority.context(), close="body") as closing,
        serving(authority.context("elsewhere.example")) as wrong_name,
        serving(authority.context(), hang="response") as hanging,
    ):
        wrong_status.behaviour.status = "500 No"

        def at(port: int, host: str = "127.0.0.1", seconds: float = 10.0) -> Target:
            return target_of(f"https://{host}:{port}/", ca_file=str(authority.file), timeout_seconds=seconds)

        good, bad = (
            at(fast_port),
            {
                Reason.STATUS: at(wrong_status.port),
                Reason.RESET: at(resetting.port),
                Reason.CLOSED: at(closing.port),
                Reason.CERTIFICATE: at(wrong_name.port),
                Reason.TIMEOUT: at(hanging.port, seconds=1.0),
                Reason.CONNECT_REFUSED: at(1),
                # Time enough for a resolver whose first answer is lost.
                Reason.DNS: at(1, "nosuch.invalid", seconds=30.0),
            },
        )
        # One in ten fails: the failing servers have a thread for each connection.
        cycle = itertools.cycle([target for each in bad.values() for target in [good] * 9 + [each]])
        outcomes: Counter[Reason | None] = Counter()

        async def main() -> int:
            async with prober() as one:
                left = iter(range(ATTEMPTS))

                async def worker() -> None:
                    for _attempt in left:
                        record, _wire = await one.attempt(next(cycle), one.clock.monotonic_ns())
                        outcomes[record.reason] += 1

                await asyncio.gather(*(worker() for _worker in range(AT_ONCE)))
                return len(asyncio.all_tasks())

        assert run(main, seconds=400) == 1
    # The failing servers live in this process too, and have closed their ends by now.
    gc.collect()
    assert descriptors() <= before
    assert sum(outcomes.values()) == ATTEMPTS
    assert outcomes[None] == pytest.approx(ATTEMPTS * 0.9, abs=20)
    # What is to hang runs out of time earlier, in the handshake or before, where the machine stands still for a second.
    for early in (Reason.TLS_TIMEOUT, Reason.CONNECT_TIMEOUT):
        outcomes[Reason.TIMEOUT] += outcomes.pop(early, 0)
    for reason in bad:
        assert outcomes[reason] == pytest.approx(ATTEMPTS / 70, abs=20), outcomes
    assert set(outcomes) == {None, *bad}


def test_a_warm_connection_serves_ten_thousand_requests(authority: Authority, fast_port: int) -> None:
    target = target_of(f"https://127.0.0.1:{fast_port}/", ca_file=str(authority.file))

    async def main() -> tuple[Observations, int, int]:
        seen = Observations(target, (ConnectionKind.WARM,), Families())
        async with prober() as one:
            lane = WarmLane(target, one, seen)
            before = 0
            for number in range(ATTEMPTS):
                lane.slot(one.clock.monotonic_ns(), 0)
                await lane.idle()
                if number == 100:
                    before = descriptors()
            after = descriptors()
            await lane.close()
        return seen, before, after

    seen, before, after = run(main, seconds=200)
    assert before == after
    assert (seen.successes, sum(seen.reconnects.values())) == (ATTEMPTS, 0)
    assert seen._families.total.labels(target.name, "warm").count == ATTEMPTS - 1


def test_of_two_hundred_targets_once_a_second_on_one_core_every_slot_is_sent_or_missed(
    authority: Authority, fast_port: int, tmp_path: Path
) -> None:
    """Cold attempts, the expensive kind: each with a TLS handshake; scraped every five seconds meanwhile."""
    text = '[metrics]\nlisten = "127.0.0.1:0"\n' + "".join(
        f'[[target]]\nname = "t{number}"\nurl = "https://127.0.0.1:{fast_port}/"\nca_file = "{authority.file}"\n'
        'connections = "cold"\ninterval_seconds = 1.0\ntimeout_seconds = 3.0\n'
        for number in range(TARGETS)
    )
    file = tmp_path / "probe.toml"
    file.write_text(text)
    with running("daemons.probe.main", "--config", str(file), "--log-level", "warning") as program:
        os.sched_setaffinity(program.pid, {max(os.sched_getaffinity(0))})
        metrics = program.ready["metrics"]
        # How many are missed says how busy this machine is; that none is forgotten says that the accounting is right.
        until(lambda: watched(metrics)[WATCHED[0]] >= TARGETS * SECONDS, "slots", every_seconds=5.0)
        seen = watched(metrics)
        expected, sent, missed, successes, _failures = (seen[name] for name in WATCHED)
        assert expected == sent + missed
        assert successes > 0
        # What has begun ends: an attempt at each target at the most is still under way.
        until(lambda: under_way(watched(metrics)) <= TARGETS, "what was begun ends", every_seconds=0.5)


WATCHED = (
    "latency_probe_slots_total",
    "latency_probe_attempts_total",
    "latency_probe_missed_slots_total",
    "latency_probe_successes_total",
    "latency_probe_failures_total",
)


def watched(metrics: str) -> Counter[str]:
    """Sum up the watched counters, which are those of the moment when the scrape began."""
    sums: Counter[str] = Counter()
    for family in text_string_to_metric_families(fetched(metrics)):
        for sample in family.samples:
            if sample.name in WATCHED:
                sums[sample.name] += int(sample.value)
    return sums


def under_way(sums: Counter[str]) -> int:
    _expected, sent, _missed, successes, failures = (sums[name] for name in WATCHED)
    return sent - successes - failures


def fetched(metrics: str) -> str:
    with urllib.request.urlopen(f"http://{metrics}/metrics", timeout=300) as answer:
        return str(answer.read().decode())
