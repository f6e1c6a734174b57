"""An unexpected exception loses nothing: wherever it strikes, each slot ends in one account, with a reason."""

import asyncio
import socket
from collections.abc import Callable
from typing import Any, cast

import pytest
from structlog.testing import capture_logs

from daemons.configuration.probe import EgressSection, OverlaySection, RouteSection
from daemons.probe.attempt import Attempt, ConnectionKind, Reason
from daemons.probe.checks.egress import EgressCheck
from daemons.probe.checks.overlay import OverlayPinger
from daemons.probe.checks.route import RouteFailure, RouteTracer
from daemons.probe.expectation import Expectation
from daemons.probe.faults import Faults
from daemons.probe.http.http1 import Http1
from daemons.probe.lane import ColdLane, Lane, Observer, WarmLane
from daemons.probe.observations import Observations
from daemons.probe.once.statistics import TargetStatistics
from daemons.probe.prober import Prober, Wire
from daemons.probe.schedule import Grid, Timetable
from daemons.probe.target import Target
from daemons.service.log.logs import counts
from daemons.stream.stamping import Stamper
from daemons.timing.clock import SystemClock
from tests.daemons.probe.probing import observations, prober, run, target_of
from tests.daemons.probe.server import serving

SLOTS = 4


class Surprise(Exception):  # noqa: N818 not an error of ours
    pass


def surprising(*_arguments: Any, **_more: Any) -> Any:
    raise Surprise("nobody expected this")


def use(lane_of: Callable[[Target, Prober, Observer], Lane], target: Target, observer: Observer) -> list[Any]:
    """Use some slots of a lane one after the other; return what was logged."""

    async def main() -> None:
        async with prober() as one:
            lane = lane_of(target, one, observer)
            for _slot in range(SLOTS):
                lane.slot(one.clock.monotonic_ns(), 0)
                await lane.idle()
            await lane.close()

    with capture_logs() as lines:
        run(main)
    return lines


@pytest.mark.process
@pytest.mark.parametrize(
    "broken",
    [
        (Expectation, "check"),
        (Http1, "request"),
        (Http1, "receive"),
        (Wire, "lost"),
        (Prober, "attempt"),
        (Prober, "_resolve"),
        ("daemons.probe.checks.egress", "identity"),
        ("daemons.probe.prober", "_record_negotiated"),
    ],
    ids=lambda broken: f"{getattr(broken[0], '__name__', broken[0])}.{broken[1]}",
)
@pytest.mark.parametrize("kind", ["cold", "warm", "egress"])
def test_attempts_are_successes_and_failures_wherever_the_fault_is(
    broken: tuple[Any, str], kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def egress(target: Target, one: Prober, observer: Observer) -> ColdLane:
        return ColdLane(target, one, observer, EgressCheck(EgressSection(url="http://127.0.0.1/"), target).learn)

    where, name = broken
    if isinstance(where, str):
        monkeypatch.setattr(f"{where}.{name}", surprising)
    else:
        monkeypatch.setattr(where, name, surprising)
    lane = {"cold": ColdLane, "warm": WarmLane, "egress": egress}[kind]
    with serving(None, body=b"203.0.113.7") as server:
        target = target_of(f"http://127.0.0.1:{server.port}/")
        kinds = (ConnectionKind.WARM if kind == "warm" else ConnectionKind.COLD,)
        seen = observations(target, kinds)
        lines = use(cast("Any", lane), target, seen)
    (slots,) = seen.slots.values()
    assert (slots.expected, slots.sent, slots.missed, slots.ended) == (SLOTS, SLOTS, 0, SLOTS)
    assert seen.successes + sum(seen.failures.values()) == SLOTS
    assert seen.failures[Reason.INTERNAL] == SLOTS - seen.successes
    # Each fault is told once, however often it comes.
    assert len(lines) == (1 if seen.failures[Reason.INTERNAL] else 0)
    for line in lines:
        assert isinstance(line["exc_info"], Surprise)


@pytest.mark.process
@pytest.mark.parametrize("observer", [Observations, TargetStatistics])
def test_what_cannot_be_recorded_is_counted_all_the_same(observer: type, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(None) as server:
        target = target_of(f"http://127.0.0.1:{server.port}/")
        if observer is Observations:
            seen: Any = observations(target, (ConnectionKind.COLD,))
            monkeypatch.setattr(seen, "_families", None)
        else:
            seen = TargetStatistics(target)
            seen.on_attempt = surprising
        lines = use(ColdLane, target, seen)
    successes = seen.successes if observer is Observations else seen.attempts
    assert successes == SLOTS
    assert len(lines) == 1


def test_a_lookup_that_breaks_is_a_failure_at_once_and_hangs_nowhere() -> None:
    async def main() -> tuple[Attempt, int]:
        async with prober(surprising) as one:
            record, _wire = await one.attempt(target_of("http://a.example/", timeout_seconds=3600.0), 0)
            return record, one._resolver.outstanding

    record, outstanding = run(main)
    assert (record.reason, outstanding) == (Reason.INTERNAL, 0)
    assert "Surprise: nobody expected this" in record.detail


def test_a_slot_that_breaks_costs_other_grids_nothing() -> None:
    clock = SystemClock()
    calls: list[int] = []

    async def main() -> None:
        table = Timetable(clock, asyncio.get_running_loop())
        enough = asyncio.Event()

        def slot(intended_ns: int, missed: int) -> None:
            calls.append(missed)
            if len(calls) >= 5:
                enough.set()

        now_ns = clock.monotonic_ns()
        table.add(Grid(now_ns, 1_000_000), surprising)
        table.add(Grid(now_ns, 1_000_000), slot)
        await asyncio.wait_for(enough.wait(), 300)
        table.close()

    with capture_logs() as lines:
        run(main)
    assert len(lines) == 1


def test_every_slot_of_the_route_is_a_trace_a_failure_or_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> RouteTracer:
        tracer = RouteTracer(RouteSection(target="127.0.0.1"))
        for _slot in range(SLOTS):
            tracer.slot(0, 2)
            await tracer.idle()
        await tracer.close()
        return tracer

    monkeypatch.setattr("daemons.probe.checks.route._output", surprising)
    with capture_logs() as lines:
        tracer = run(main)
    assert tracer.slots == 3 * SLOTS == tracer.traces + sum(tracer.failures.values()) + tracer.missed
    assert tracer.failures[RouteFailure.INTERNAL] == SLOTS
    assert "Surprise" in tracer.complaint
    assert len(lines) == 1


@pytest.mark.parametrize("broken", ["request", "reply_number", "enable"])
def test_every_slot_of_the_overlay_is_a_request_or_missed(broken: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> OverlayPinger:
        clock = SystemClock()
        stamper = Stamper(clock)
        pinger = OverlayPinger(OverlaySection(peer="127.0.0.1"), stamper, surprising)
        ours, peer = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        with ours, peer:
            ours.setblocking(False)
            if broken in ("request", "reply_number"):
                pinger._socket, pinger._reader = ours, stamper.reader()
            for _slot in range(SLOTS):
                peer.send(b"\x00" * 8)
                pinger.slot(0, 1)
        stamper.close()
        return pinger

    monkeypatch.setattr(f"daemons.probe.checks.overlay.{broken}", surprising)
    with capture_logs() as lines:
        pinger = run(main)
    account = pinger.account
    assert pinger.slots == 2 * SLOTS == account.sent + pinger.missed
    assert account.sent == account.received + account.lost + account.outstanding
    assert bool(pinger.complaint) is (not pinger.open)
    assert len(lines) == 1


def test_a_fault_is_told_once_for_each_place_and_whom_it_happened_to() -> None:
    faults = Faults("test")

    def fault(raise_it: Callable[[], None], what: str) -> str:
        try:
            raise_it()
        except Surprise as error:
            return faults.note(error, what)
        raise AssertionError

    def elsewhere() -> None:
        raise Surprise("elsewhere")

    before = counts.unexpected
    with capture_logs() as lines:
        sentences = [fault(each, what) for each in (surprising, elsewhere) for what in "aab"]
    assert [(line["what"], str(line["exc_info"])) for line in lines] == [
        ("a", "nobody expected this"),
        ("b", "nobody expected this"),
        ("a", "elsewhere"),
        ("b", "elsewhere"),
    ]
    assert all("the log has the traceback" in sentence for sentence in sentences)
    assert counts.unexpected == before + 6
    assert "Surprise: never raised" in faults.note(Surprise("never raised"), "a")
