"""A server that takes known times: the probe's phases are those that curl finds, kind by kind of connection."""

import subprocess
from collections.abc import Iterator
from statistics import median

import hpack
import pytest
from hyperframe import frame as frames

from daemons.probe.attempt import Attempt, Phase
from daemons.probe.prober import Wire
from tests.daemons.probe.probing import prober, run, target_of
from tests.daemons.probe.script import Pause, Read, Step, running_script
from tests.daemons.probe.server import Authority

# On a machine that is busy all the time no batch may be true.
pytestmark = [pytest.mark.process, pytest.mark.exhaustive]

ROUNDS = 10
BATCHES = 30
TOLERANCE_SECONDS = 0.002
FIELDS = "%{time_namelookup} %{time_connect} %{time_appconnect} %{time_pretransfer} %{time_starttransfer} %{time_total}"

Phases = dict[tuple[str, Phase], list[float]]
"""The seconds of each phase, cold and warm."""


def http1(before: float, within: float) -> Iterator[Step]:
    for _request in range(ROUNDS + 1):
        yield from (Read(), Pause(before), b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n", Pause(within), b"ok")


def http2(before: float, within: float) -> Iterator[Step]:
    yield frames.SettingsFrame(0).serialize()
    head = hpack.Encoder().encode([hpack.NeverIndexedHeaderTuple(":status", "200")])
    for stream in range(1, 2 * ROUNDS + 3, 2):
        begun, ended = frames.HeadersFrame(stream, data=head), frames.DataFrame(stream, data=b"ok")
        begun.flags.add("END_HEADERS")
        ended.flags.add("END_STREAM")
        yield from (Read.request(stream), Pause(before), begun.serialize(), Pause(within), ended.serialize())


def by_curl(url: str, http: str, authority: Authority) -> Phases:
    command = ["curl", "--silent", "--max-time", "20", f"--http{http}", "--cacert", str(authority.file)]
    command += ["--write-out", FIELDS + "\\n"]
    for number in range(ROUNDS + 1):
        command += ["--output", "/dev/null", f"{url}{number}"]
    done = subprocess.run(command, capture_output=True, check=True, text=True)
    found: Phases = {}
    for number, line in enumerate(done.stdout.splitlines()):
        named, connected, encrypted, ready, first, last = map(float, line.split())
        kind = "warm" if number else "cold"
        phases = {Phase.PROCESSING: first - ready, Phase.TRANSFER: last - first}
        if not number:
            phases[Phase.CONNECT] = connected - named
            if encrypted:
                phases[Phase.TLS] = encrypted - connected
        for phase, seconds in phases.items():
            found.setdefault((kind, phase), []).append(seconds)
    return found


def by_us(url: str, http: str, authority: Authority) -> Phases:
    target = target_of(url, http=http, ca_file=str(authority.file), timeout_seconds=20.0)

    async def main() -> list[Attempt]:
        attempts: list[Attempt] = []
        async with prober() as one:
            wire: Wire | None = None
            for _round in range(ROUNDS + 1):
                record, wire = await one.attempt(target, one.clock.monotonic_ns(), wire, keep=True)
                assert wire is not None, record.detail
                attempts.append(record)
            if wire is not None:
                wire.close()
        return attempts

    found: Phases = {}
    for attempt in run(main):
        kind = str(attempt.connection)
        for phase, duration in attempt.instants.phases():
            found.setdefault((kind, phase), []).append(duration / 1e9)
    return found


def apart(ours: Phases, theirs: Phases) -> dict[tuple[str, Phase], float]:
    """By how many seconds the medians differ."""
    assert set(ours) == set(theirs)
    found = {key: abs(median(ours[key]) - median(theirs[key])) for key in ours}
    if (handshake := ("cold", Phase.TLS)) in found:
        # Within its handshake curl loads the authorities, which takes it milliseconds.
        found[handshake] = median(ours[handshake]) - median(theirs[handshake])
    return found


@pytest.mark.parametrize("http", ["1.1", "2"])
@pytest.mark.parametrize(("before", "within"), [(0.0, 0.0), (0.015, 0.0), (0.0, 0.015), (0.006, 0.012)])
def test_the_phases_are_those_of_curl(authority: Authority, http: str, before: float, within: float) -> None:
    script = tuple({"1.1": http1, "2": http2}[http](before, within))
    with running_script([script], authority.context(alpn=("h2", "http/1.1")) if http == "2" else None) as server:
        url = f"{'https' if http == '2' else 'http'}://127.0.0.1:{server.port}/"
        ours: Phases = {}
        between: dict[tuple[str, Phase], float] = {}
        for _batch in range(BATCHES):
            # Others share this machine, and disturb a batch; a delay in the wrong phase is in all of them.
            ours = by_us(url, http, authority)
            between = apart(ours, by_curl(url, http, authority))
            if max(between.values()) <= TOLERANCE_SECONDS:
                break
        assert max(between.values()) <= TOLERANCE_SECONDS, between
    for kind in ("cold", "warm"):
        assert median(ours[kind, Phase.PROCESSING]) >= before - TOLERANCE_SECONDS
        assert median(ours[kind, Phase.TRANSFER]) >= within - TOLERANCE_SECONDS
