"""A server that takes known times: the probe's phases are those that curl finds, kind by kind of connection."""

import subprocess
from collections.abc import Iterator

import hpack
import pytest
from hyperframe import frame as frames

from daemons.probe.attempt import Attempt, Phase
from daemons.probe.prober import Wire
from tests.daemons.probe.probing import prober, run, target_of
from tests.daemons.probe.script import Pause, Read, Step, running_script
from tests.daemons.probe.server import Authority

# A machine busy all the time has no least that is true.
pytestmark = [pytest.mark.process, pytest.mark.exhaustive]

ROUNDS = 10
BATCHES = 30
TOLERANCE_SECONDS = 0.002
FIELDS = "%{time_namelookup} %{time_connect} %{time_appconnect} %{time_pretransfer} %{time_starttransfer} %{time_total}"

Least = dict[tuple[str, Phase], float]
"""The least seconds of each phase, cold and warm: others share this machine; a request can be late, none is early."""


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


def by_curl(url: str, http: str, authority: Authority) -> Least:
    command = ["curl", "--silent", "--max-time", "20", f"--http{http}", "--cacert", str(authority.file)]
    command += ["--write-out", FIELDS + "\\n"]
    for number in range(ROUNDS + 1):
        command += ["--output", "/dev/null", f"{url}{number}"]
    done = subprocess.run(command, capture_output=True, check=True, text=True)
    found: Least = {}
    for number, line in enumerate(done.stdout.splitlines()):
        named, connected, encrypted, ready, first, last = map(float, line.split())
        kind = "warm" if number else "cold"
        phases = {Phase.PROCESSING: first - ready, Phase.TRANSFER: last - first}
        if not number:
            phases[Phase.CONNECT] = connected - named
            if encrypted:
                phases[Phase.TLS] = encrypted - connected
        lower(found, {(kind, phase): seconds for phase, seconds in phases.items()})
    return found


def by_us(url: str, http: str, authority: Authority) -> Least:
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

    found: Least = {}
    for attempt in run(main):
        kind = str(attempt.connection)
        lower(found, {(kind, phase): duration / 1e9 for phase, duration in attempt.instants.phases()})
    return found


def lower(found: Least, more: Least) -> None:
    for key, seconds in more.items():
        found[key] = min(seconds, found.get(key, seconds))


@pytest.mark.parametrize("http", ["1.1", "2"])
@pytest.mark.parametrize(("before", "within"), [(0.0, 0.0), (0.015, 0.0), (0.0, 0.015), (0.006, 0.012)])
def test_the_phases_are_those_of_curl(authority: Authority, http: str, before: float, within: float) -> None:
    script = tuple({"1.1": http1, "2": http2}[http](before, within))
    with running_script([script], authority.context(alpn=("h2", "http/1.1")) if http == "2" else None) as server:
        url = f"{'https' if http == '2' else 'http'}://127.0.0.1:{server.port}/"
        theirs: Least = {}
        ours: Least = {}
        apart: Least = {}
        for _batch in range(BATCHES):
            # A minimum comes down to the truth as rounds go on; a delay in the wrong phase never goes away.
            lower(theirs, by_curl(url, http, authority))
            lower(ours, by_us(url, http, authority))
            assert set(ours) == set(theirs)
            apart = {key: abs(ours[key] - theirs[key]) for key in ours}
            # Within its handshake curl loads the authorities, which takes it milliseconds.
            apart["cold", Phase.TLS] = ours.get(("cold", Phase.TLS), 0) - theirs.get(("cold", Phase.TLS), 0)
            if max(apart.values()) <= TOLERANCE_SECONDS:
                break
        assert max(apart.values()) <= TOLERANCE_SECONDS, (apart, ours, theirs)
    for kind in ("cold", "warm"):
        assert ours[kind, Phase.PROCESSING] >= before
        assert ours[kind, Phase.TRANSFER] >= within - TOLERANCE_SECONDS
