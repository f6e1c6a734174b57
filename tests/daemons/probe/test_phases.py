"""Delays injected into each phase come out in that phase, and in no other."""

import asyncio
import socket
import time
from collections.abc import Callable
from typing import Any

import pytest

from daemons.probe.attempt import Attempt, ConnectionKind, Phase
from daemons.probe.prober import Wire
from daemons.probe.target import Target
from tests.daemons.probe.probing import DIRECT_PHASES, prober, run, target_of
from tests.daemons.probe.proxy import proxying
from tests.daemons.probe.server import Authority, Behaviour, serving
from tests.processes import until

pytestmark = pytest.mark.process

ROUNDS = 11
BATCHES = 40
"""On a machine that has time one is enough."""
DELAY = 0.020
TOLERANCE_NS = 1_000_000


Excess = dict[Phase, int]


BEGINNINGS = {
    Phase.DNS: "dns_start",
    Phase.TUNNEL: "tunnel_start",
    Phase.TLS: "tls_start",
    Phase.PROCESSING: "request_sent",
    Phase.TRANSFER: "first_byte",
}


def excess(attempts: list[Attempt], phase: Phase, slept: list[tuple[int, int]]) -> Excess:
    """How much longer than what was injected into it each phase took, in the round in which it was least.

    Other processes share this machine: a round can be late, but none is early.
    """
    assert all(attempt.succeeded for attempt in attempts), [attempt.detail for attempt in attempts]
    rounds = [dict(attempt.instants.phases()) for attempt in attempts]
    for attempt, durations, (began_ns, ended_ns) in zip(attempts, rounds, slept, strict=True):
        # A server that sleeps before a client held up has come to the phase delays that phase by what is left.
        durations[phase] -= ended_ns - max(began_ns, getattr(attempt.instants, BEGINNINGS[phase]))
    return {each: min(durations[each] for durations in rounds) for each in rounds[0]}


def least(one: Excess, other: Excess) -> Excess:
    return {phase: min(duration, other[phase]) for phase, duration in one.items()}


def repeated(batch: Callable[[], Excess]) -> Excess:
    """Give the least of as many batches as it takes until nothing of it is left over, or of all that are allowed."""
    found = batch()
    for _batch in range(BATCHES):
        # The minimum comes down to the truth as rounds go on; a delay in the wrong phase never goes away.
        if max(found.values()) <= TOLERANCE_NS:
            break
        found = least(found, batch())
    return found


def cold(target: Target, lookup: Callable[..., Any] | None = None) -> list[Attempt]:
    async def main() -> list[Attempt]:
        async with prober(lookup) as one:
            return [(await one.attempt(target, one.clock.monotonic_ns()))[0] for _round in range(ROUNDS)]

    return run(main)


def warm(target: Target) -> list[Attempt]:
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
        assert [attempt.connection for attempt in attempts] == [ConnectionKind.COLD] + [ConnectionKind.WARM] * ROUNDS
        return attempts[1:]

    return run(main)


def delaying(what: str, seconds: float) -> Behaviour:
    behaviour = Behaviour()
    setattr(behaviour, f"{what}_delay", seconds)
    return behaviour


@pytest.mark.parametrize(
    ("behaviour", "phase"),
    [
        # The kernel accepts for the server: a server slow to accept is slow to answer the client's hello.
        ("accept", Phase.TLS),
        ("handshake", Phase.TLS),
        ("first_byte", Phase.PROCESSING),
        ("body", Phase.TRANSFER),
    ],
)
@pytest.mark.parametrize("http", ["1.1", "2"])
def test_a_delay_shows_in_its_phase_alone_when_cold(
    authority: Authority, behaviour: str, phase: Phase, http: str
) -> None:
    with serving(authority.context(alpn=("h2", "http/1.1"))) as server:
        target = target_of(f"https://localhost:{server.port}/", ca_file=str(authority.file), http=http)

        def batch(seconds: float) -> Excess:
            server.behaviour = delaying(behaviour, seconds)
            return excess(cold(target), phase, server.seen.slept.pop(behaviour))

        def attributed() -> bool:
            # The handshake's own arithmetic takes a millisecond or more; what was injected comes on top of it.
            return all(
                abs(delayed[each] - (little[each] if each is Phase.TLS else 0)) <= TOLERANCE_NS for each in delayed
            )

        little, delayed = batch(DELAY / 4), batch(DELAY)
        assert set(delayed) == DIRECT_PHASES
        for _batch in range(BATCHES):
            # The minimum comes down to the truth as rounds go on; a delay in the wrong phase never goes away.
            if attributed():
                break
            little, delayed = least(little, batch(DELAY / 4)), least(delayed, batch(DELAY))
        assert attributed(), (little, delayed)


def test_a_slow_proxy_shows_in_the_tunnel_alone(authority: Authority) -> None:
    with serving(authority.context()) as server, proxying(delay=DELAY) as proxy:
        target = target_of(f"https://127.0.0.1:{server.port}/", ca_file=str(authority.file), proxy=proxy.url)

        def batch() -> Excess:
            found = excess(cold(target), Phase.TUNNEL, proxy.seen.slept)
            proxy.seen.slept.clear()
            # The handshake's own arithmetic takes a millisecond or more.
            del found[Phase.TLS]
            return found

        found = repeated(batch)
        assert set(found) == DIRECT_PHASES - {Phase.DNS, Phase.TLS} | {Phase.TUNNEL}
        assert max(found.values()) <= TOLERANCE_NS, found


@pytest.mark.parametrize(("behaviour", "phase"), [("first_byte", Phase.PROCESSING), ("body", Phase.TRANSFER)])
@pytest.mark.parametrize("http", ["1.1", "2"])
def test_a_delay_shows_in_its_phase_alone_when_warm(
    authority: Authority, behaviour: str, phase: Phase, http: str
) -> None:
    with serving(authority.context(alpn=("h2", "http/1.1"))) as server:
        server.behaviour = delaying(behaviour, DELAY)
        target = target_of(f"https://localhost:{server.port}/", ca_file=str(authority.file), http=http)

        def batch() -> Excess:
            server.seen.connections = 0
            attempts = warm(target)
            assert server.seen.connections == 1
            return excess(attempts, phase, server.seen.slept.pop(behaviour)[1:])

        found = repeated(batch)
    assert found == {
        Phase.PROCESSING: pytest.approx(0, abs=TOLERANCE_NS),
        Phase.TRANSFER: pytest.approx(0, abs=TOLERANCE_NS),
    }


def test_a_slow_resolver_shows_in_the_dns_phase_alone(authority: Authority) -> None:
    slept: list[tuple[int, int]] = []

    def slow(host: str, port: int, family: int) -> list[Any]:
        began_ns = time.monotonic_ns()
        time.sleep(DELAY)
        slept.append((began_ns, time.monotonic_ns()))
        return socket.getaddrinfo("127.0.0.1", port, type=socket.SOCK_STREAM)

    with serving(authority.context("slow.example")) as server:
        target = target_of(f"https://slow.example:{server.port}/", ca_file=str(authority.file))

        def batch() -> Excess:
            slept.clear()
            found = excess(cold(target, slow), Phase.DNS, slept)
            return {phase: found[phase] for phase in (Phase.DNS, Phase.CONNECT)}

        found = repeated(batch)
    assert found[Phase.DNS] == pytest.approx(0, abs=TOLERANCE_NS)
    assert found[Phase.CONNECT] < TOLERANCE_NS


def held_up(authority: Authority) -> tuple[Attempt, int]:
    """Make a warm attempt on an event loop that stands still from before the answer until a tenth of a second after it.

    Returns:
        The attempt, and for how long the server held its answer back, in ns.
    """
    with serving(authority.context(), first_byte_delay=0.4) as server:
        target = target_of(f"https://127.0.0.1:{server.port}/", ca_file=str(authority.file))

        async def main() -> Attempt:
            async with prober() as one:
                # Past the time in which stamps may be late after the kernel was asked for the first.
                await asyncio.sleep(0.15)
                _first, wire = await one.attempt(target, one.clock.monotonic_ns(), keep=True)
                assert wire is not None
                asked = asyncio.create_task(one.attempt(target, one.clock.monotonic_ns(), wire))
                await asyncio.to_thread(until, lambda: len(server.seen.requests) == 2, "the request is there")
                # The loop stands still from before the answer until well after it.
                until(lambda: len(server.seen.slept["first_byte"]) == 2, "the answer is being sent")
                time.sleep(0.1)  # noqa: ASYNC251 the point of the test
                record, _wire = await asked
                return record

        record = run(main)
        began_ns, ended_ns = server.seen.slept["first_byte"][-1]
    assert record.succeeded
    return record, ended_ns - began_ns


def test_a_busy_event_loop_does_not_lengthen_what_the_kernel_stamps(authority: Authority) -> None:
    record, slept_ns = held_up(authority)
    processing_ns = dict(record.instants.phases())[Phase.PROCESSING]
    for _round in range(BATCHES):
        # Here too a round can be late: the server's thread was, or the loop did not stand still when the answer came.
        if processing_ns <= slept_ns + 5_000_000 and (record.host_delay_ns or 0) > 40_000_000:
            break
        record, slept_ns = held_up(authority)
        processing_ns = dict(record.instants.phases())[Phase.PROCESSING]
    assert processing_ns == pytest.approx(slept_ns, abs=5_000_000)
    assert record.host_delay_ns is not None
    assert record.host_delay_ns > 40_000_000


def test_the_latency_from_the_intended_start_holds_the_lag(authority: Authority) -> None:
    with serving(authority.context()) as server:
        target = target_of(f"https://127.0.0.1:{server.port}/", ca_file=str(authority.file))

        async def main() -> Attempt:
            async with prober() as one:
                return (await one.attempt(target, one.clock.monotonic_ns() - 250_000_000))[0]

        instants = run(main).instants
    assert instants.lag_ns >= 250_000_000
    assert instants.scheduled_total_ns is not None
    assert instants.total_ns is not None
    assert instants.scheduled_total_ns == instants.total_ns + instants.lag_ns
