"""Whatever a server says, the probe comes to the same end as curl, and every attempt is in the account."""

import os
import subprocess
from typing import Any

import pytest
from structlog.testing import capture_logs

from daemons.probe.attempt import Attempt, ConnectionKind, Phase, Reason
from daemons.probe.lane import WarmLane
from daemons.probe.target import Target
from tests.daemons.probe.grammar.case import Case
from tests.daemons.probe.grammar.differences import End, difference
from tests.daemons.probe.grammar.http1 import http1_case
from tests.daemons.probe.grammar.http2 import http2_case
from tests.daemons.probe.probing import observations, prober, run, target_of
from tests.daemons.probe.script import running_script
from tests.daemons.probe.server import Authority

pytestmark = pytest.mark.process

MAKERS = {"1.1": http1_case, "2": http2_case}
RUNS = 60
MANY_RUNS = 3000
SECONDS = 20
"""No script leaves a client waiting: only a machine that stands still makes one of them give up."""


def asked_by_curl(case: Case, url: str, authority: Authority) -> list[End]:
    command = ["curl", "--silent", "--max-time", str(SECONDS), f"--http{case.http}", "--cacert", str(authority.file)]
    command += {"HEAD": ["--head"], "POST": ["--data", "a=1"]}.get(case.method, [])
    command += ["--write-out", "%{exitcode} %{http_code} %{num_connects} %{size_download} %{errormsg}\\n"]
    for number in range(case.requests):
        command += ["--output", "/dev/null", f"{url}{number}"]
    done = subprocess.run(command, capture_output=True, check=False, timeout=SECONDS * 6)
    ends = []
    for line in done.stdout.decode("utf-8", "replace").splitlines():
        code, status, connects, size, why = line.split(" ", 4)
        ends.append(End(int(status) if code == "0" else None, connects != "0", int(size), f"{code} {why}"))
    # After some errors curl asks for nothing more.
    assert 1 <= len(ends) <= case.requests, (case, done)
    return ends


def asked_by_us(case: Case, url: str, authority: Authority) -> list[End]:
    target = target_of(
        url,
        timeout_seconds=float(SECONDS),
        ca_file=str(authority.file),
        http=case.http,
        method=case.method,
        expect={"status": list(range(200, 600))},
        **({"body": "a=1"} if case.method == "POST" else {}),
    )
    ended: list[Attempt] = []

    async def main() -> None:
        async with prober() as one:
            lane = WarmLane(target, one, seen)
            for _slot in range(case.requests):
                lane.slot(one.clock.monotonic_ns(), 0)
                await lane.idle()
            await lane.close()

    seen = Recording(target, ended)
    with capture_logs() as lines:
        run(main)
    account = seen.seen
    (slots,) = account.slots.values()
    assert lines == [], case
    assert slots.expected == case.requests == slots.sent + slots.missed
    assert slots.ended == slots.sent == account.successes + sum(account.failures.values())
    assert account.failures[Reason.INTERNAL] == 0
    for attempt in ended:
        check_instants(attempt)
    return [
        End(
            attempt.status if attempt.reason in (None, Reason.STATUS) else None,
            attempt.connection is ConnectionKind.COLD,
            attempt.body_bytes,
            f"{attempt.reason} {attempt.detail[:200]}",
            attempt,
        )
        for attempt in ended
    ]


class Recording:
    """The daemon's observer, which keeps the attempts as well."""

    def __init__(self, target: Target, ended: list[Attempt]) -> None:
        self.seen = observations(target, (ConnectionKind.WARM,))
        self._ended = ended

    def finished(self, kind: ConnectionKind, attempt: Attempt) -> None:
        self.seen.finished(kind, attempt)
        self._ended.append(attempt)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.seen, name)


def check_instants(attempt: Attempt) -> None:
    """What happened lies in its order; a success has every phase of its kind, a warm one none of connecting."""
    instants = attempt.instants
    phases = dict(instants.phases())
    assert all(duration >= 0 for duration in phases.values()), attempt
    assert sum(phases.values()) <= (instants.end or 0) - instants.start, attempt
    if attempt.succeeded:
        connecting = {Phase.CONNECT, Phase.TLS} if attempt.tls_version else {Phase.CONNECT}
        wanted = {Phase.PROCESSING, Phase.TRANSFER}
        assert set(phases) == (wanted | connecting if attempt.connection is ConnectionKind.COLD else wanted), attempt


def compare(http: str, seeds: list[int], authority: Authority) -> list[str]:
    context = authority.context(alpn=("h2",)) if http == "2" else None
    found = []
    with running_script([], context) as server:
        scheme = "http" if context is None else "https"
        url = f"{scheme}://127.0.0.1:{server.port}/"
        for seed in seeds:
            case = MAKERS[http](seed)
            server.begin(case.scripts)
            theirs = asked_by_curl(case, url, authority)
            server.begin(case.scripts)
            ours = asked_by_us(case, url, authority)
            if (text := difference(case, theirs, ours)) is not None:
                found.append(f"seed {seed} {case.method} {case.traits}: {text}")
    return found


@pytest.mark.parametrize("http", ["1.1", "2"])
def test_the_probe_comes_to_the_same_end_as_curl(authority: Authority, http: str) -> None:
    assert compare(http, list(range(RUNS)), authority) == []


@pytest.mark.exhaustive
@pytest.mark.parametrize("http", ["1.1", "2"])
def test_the_probe_comes_to_the_same_end_as_curl_thousands_of_times(authority: Authority, http: str) -> None:
    first = int(os.environ.get("GRAMMAR_SEED", "1000"))
    assert compare(http, list(range(first, first + int(os.environ.get("GRAMMAR_RUNS", MANY_RUNS)))), authority) == []
