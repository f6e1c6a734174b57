"""What lanes make of their slots: attempts, misses, warm connections and their loss."""

import asyncio
from collections.abc import Callable

import pytest

from daemons.probe.attempt import ConnectionKind, Reason, Reconnect
from daemons.probe.families import Families
from daemons.probe.lane import ColdLane, WarmLane
from daemons.probe.observations import Observations
from daemons.probe.target import Target
from tests.daemons.probe.probing import prober, run, target_of
from tests.daemons.probe.server import Authority, Behaviour, Server, serving
from tests.processes import until

pytestmark = pytest.mark.process


def scenario(target: Target, kind: ConnectionKind, *steps: Callable[[], object] | int) -> Observations:
    """Use a lane: a number is so many slots one after the other, a function is called between them."""

    async def main() -> Observations:
        seen = Observations(target, (kind,), Families())
        async with prober() as one:
            lane = (ColdLane if kind is ConnectionKind.COLD else WarmLane)(target, one, seen)
            try:
                for step in steps:
                    if not isinstance(step, int):
                        step()
                        continue
                    for _slot in range(step):
                        lane.slot(one.clock.monotonic_ns(), 0)
                        await lane.idle()
            finally:
                await lane.close()
        return seen

    return run(main)


def lost(seen: Observations) -> dict[Reconnect, int]:
    return {why: count for why, count in seen.reconnects.items() if count}


def samples(seen: Observations, kind: ConnectionKind) -> int:
    return seen._families.total.labels(seen.name, kind).count


def settled(server: Server, connections: int) -> None:
    """Wait until the server has closed what it was told to close, so that the client's kernel knows."""
    until(lambda: len(server._sockets) <= connections, "the server closes its connections")


def test_the_first_request_of_a_warm_lane_is_a_cold_one(authority: Authority) -> None:
    with serving(authority.context()) as server:
        target = target_of(f"https://127.0.0.1:{server.port}/", ca_file=str(authority.file))
        seen = scenario(target, ConnectionKind.WARM, 5)
        assert server.seen.connections == 1
    assert (samples(seen, ConnectionKind.COLD), samples(seen, ConnectionKind.WARM)) == (1, 4)
    assert (sum(seen.reconnects.values()), seen.successes) == (0, 5)
    phases = seen._families.phase._children
    assert {key[2] for key, child in phases.items() if key[1] == "warm" and child.count} == {"processing", "transfer"}
    assert {key[2] for key in phases if key[1] == "warm"} == {"processing", "transfer"}


@pytest.mark.parametrize("http", ["1.1", "2"])
def test_a_lost_connection_is_counted_and_the_request_that_follows_is_cold(authority: Authority, http: str) -> None:
    with serving(authority.context(alpn=("h2", "http/1.1"))) as server:
        target = target_of(f"https://127.0.0.1:{server.port}/", ca_file=str(authority.file), http=http)

        def drop() -> None:
            server.drop_connections()
            settled(server, 0)

        seen = scenario(target, ConnectionKind.WARM, 3, drop, 3)
        assert server.seen.connections == 2
    assert lost(seen) == {Reconnect.CLOSED: 1}
    assert (samples(seen, ConnectionKind.COLD), samples(seen, ConnectionKind.WARM)) == (2, 4)
    assert sum(seen.failures.values()) == 0


@pytest.mark.parametrize("http", ["1.1", "2"])
def test_a_server_that_ends_connections_after_some_requests(authority: Authority, http: str) -> None:
    with serving(authority.context(alpn=("h2", "http/1.1")), requests_per_connection=3) as server:
        target = target_of(f"https://127.0.0.1:{server.port}/", ca_file=str(authority.file), http=http)
        seen = scenario(target, ConnectionKind.WARM, 9)
        assert server.seen.connections == 3
    assert lost(seen) == {Reconnect.GOAWAY if http == "2" else Reconnect.CLOSED: 2}
    assert (samples(seen, ConnectionKind.COLD), samples(seen, ConnectionKind.WARM)) == (3, 6)
    assert sum(seen.failures.values()) == 0


def test_a_connection_cut_during_a_warm_request_fails_that_request_and_is_not_tried_again(
    authority: Authority,
) -> None:
    with serving(authority.context()) as server:
        target = target_of(f"https://127.0.0.1:{server.port}/", ca_file=str(authority.file))

        def cut() -> None:
            server.behaviour = Behaviour(close="response")

        def mend() -> None:
            server.behaviour = Behaviour()

        seen = scenario(target, ConnectionKind.WARM, 2, cut, 1, mend, 2)
        assert len(server.seen.requests) == 5
    assert {reason: count for reason, count in seen.failures.items() if count} == {Reason.CLOSED: 1}
    assert lost(seen) == {Reconnect.FAILED: 1}
    assert (samples(seen, ConnectionKind.COLD), samples(seen, ConnectionKind.WARM)) == (2, 2)


def test_a_wrong_answer_does_not_cost_the_connection(authority: Authority) -> None:
    with serving(authority.context(), status="503 Busy") as server:
        target = target_of(f"https://127.0.0.1:{server.port}/", ca_file=str(authority.file))
        seen = scenario(target, ConnectionKind.WARM, 4)
        assert server.seen.connections == 1
    assert seen.failures[Reason.STATUS] == 4
    assert samples(seen, ConnectionKind.COLD) + samples(seen, ConnectionKind.WARM) == 0


@pytest.mark.parametrize(("kind", "attempts"), [(ConnectionKind.WARM, 1), (ConnectionKind.COLD, 5)])
def test_slots_that_find_no_room_are_missed_and_counted(
    authority: Authority, kind: ConnectionKind, attempts: int
) -> None:
    with serving(authority.context(), hang="response") as server:
        target = target_of(
            f"https://127.0.0.1:{server.port}/",
            ca_file=str(authority.file),
            timeout_seconds=0.4,
            interval_seconds=0.1,
        )

        async def main() -> Observations:
            seen = Observations(target, (kind,), Families())
            async with prober() as one:
                lane = (ColdLane if kind is ConnectionKind.COLD else WarmLane)(target, one, seen)
                for _slot in range(10):
                    lane.slot(one.clock.monotonic_ns(), 0)
                lane.slot(one.clock.monotonic_ns(), 3)
                await lane.idle()
                await lane.close()
            return seen

        seen = run(main)
    slots = seen.slots[kind]
    assert (slots.expected, slots.sent, slots.missed) == (14, attempts, 14 - attempts)
    # A machine that stands still lets an attempt run out of time before it has sent its request.
    timeouts = (Reason.TIMEOUT, Reason.TLS_TIMEOUT, Reason.CONNECT_TIMEOUT)
    assert sum(seen.failures[reason] for reason in timeouts) == sum(seen.failures.values()) == attempts


def test_a_lane_that_is_closed_leaves_no_attempt_behind(authority: Authority) -> None:
    with serving(authority.context(), hang="response") as server:
        target = target_of(f"https://127.0.0.1:{server.port}/", ca_file=str(authority.file), timeout_seconds=30.0)

        async def main() -> int:
            seen = Observations(target, (ConnectionKind.COLD,), Families())
            async with prober() as one:
                lane = ColdLane(target, one, seen)
                lane.slot(one.clock.monotonic_ns(), 0)
                await asyncio.to_thread(until, lambda: bool(server.seen.requests), "the request is there")
                await lane.close()
            return len(asyncio.all_tasks())

        assert run(main) == 1


def test_a_refused_certificate_is_looked_at_once_for_its_expiry(authority: Authority) -> None:
    with serving(authority.context("elsewhere.example")) as server:
        target = target_of(f"https://127.0.0.1:{server.port}/", ca_file=str(authority.file))
        seen = scenario(target, ConnectionKind.COLD, 3)
        assert server.seen.connections == 4
    assert seen.failures[Reason.CERTIFICATE] == 3
    assert seen.certificate_expiry_seconds is not None
