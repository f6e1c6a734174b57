import itertools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemons.simulator.emission import Emission
from daemons.simulator.exchange import BATCH_EVENTS, Exchange, FarPath, Outlet
from daemons.simulator.faults import Faults
from daemons.simulator.market import Market
from daemons.simulator.schedule import Drift, Jitter, grid
from daemons.simulator.streams import Stream

EPOCH_NS = 1_767_225_600_000_000_000
START_NS = 5_000_000_000
TRADE = Stream("btcusdt@trade", "BTCUSDT", "trade")


class ManualClock:
    def __init__(self) -> None:
        self.now_ns = START_NS

    def wall_ns(self) -> int:
        return EPOCH_NS + self.now_ns

    def monotonic_ns(self) -> int:
        return self.now_ns

    async def sleep(self, seconds: float) -> None:
        raise NotImplementedError


class Recorder:
    """An endpoint that notes what was flushed, and when."""

    def __init__(self, clock: ManualClock) -> None:
        self.arrivals: list[tuple[int, Emission]] = []
        self.flushes: list[int] = []
        self._clock = clock
        self._queued: list[Emission] = []

    def outlet(self) -> Outlet:
        return Outlet(self._queued.append, self._flush)

    def _flush(self) -> None:
        self.flushes.append(len(self._queued))
        self.arrivals += [(self._clock.now_ns, emission) for emission in self._queued]
        self._queued.clear()

    def frames(self) -> list[bytes]:
        return [emission.frame(1000, combined=False) for _, emission in self.arrivals]


class Stage:
    def __init__(
        self,
        *,
        rate: float = 1000.0,
        delay_ns: int = 40_000_000,
        deviation_ns: int = 0,
        faults: Faults | None = None,
        stop_after: int | None = None,
    ) -> None:
        self.clock = ManualClock()
        self.near, self.far = Recorder(self.clock), Recorder(self.clock)
        self.exchange = Exchange(
            Market([TRADE], 1),
            faults or Faults(),
            grid(rate),
            (self.near.outlet(),),
            [FarPath(self.far.outlet(), delay_ns, Jitter(deviation_ns, 1))],
            self.clock,
            stop_after,
        )

    def run(self, late_ns: int = 0) -> None:
        """Tick whenever the exchange asks, always late by the same time, until it is done."""
        wake_ns = self.exchange.start()
        while wake_ns is not None:
            self.clock.now_ns = max(self.clock.now_ns, wake_ns + late_ns)
            wake_ns = self.exchange.tick()


def test_events_are_emitted_on_the_grid() -> None:
    stage = Stage(rate=300.0, stop_after=100)
    stage.run()
    expected = [START_NS + offset for offset in itertools.islice(grid(300.0), 100)]
    assert [instant for instant, _ in stage.near.arrivals] == expected
    assert [emission.emitted_ns for _, emission in stage.near.arrivals] == [EPOCH_NS + instant for instant in expected]
    assert stage.exchange.totals()["late_events"] == 0


def test_far_gets_the_same_bytes_after_the_delay() -> None:
    stage = Stage(stop_after=200)
    stage.run()
    assert stage.far.frames() == stage.near.frames()
    delays = {far - near for (near, _), (far, _) in zip(stage.near.arrivals, stage.far.arrivals, strict=True)}
    assert delays == {40_000_000}


@given(st.floats(10.0, 5000.0), st.integers(0, 20_000_000), st.integers(0, 3_000_000))
def test_far_keeps_the_order_and_follows_the_jitter(rate: float, deviation_ns: int, late_ns: int) -> None:
    stage = Stage(rate=rate, deviation_ns=deviation_ns, stop_after=100)
    stage.run(late_ns)
    assert stage.far.frames() == stage.near.frames()
    jitter = Jitter(deviation_ns, 1)
    for (near, emission), (far, _) in zip(stage.near.arrivals, stage.far.arrivals, strict=True):
        assert emission.emitted_ns == EPOCH_NS + near
        promised = near + max(0, 40_000_000 + jitter.at(near - START_NS))
        # Rounding to whole ns may hold an event back by one or two so that order is kept.
        assert promised <= far <= promised + late_ns + 2


def test_a_backlog_is_worked_off_in_batches_with_the_far_endpoint_served_between() -> None:
    stage = Stage(rate=1000.0, delay_ns=0, stop_after=100)
    stage.exchange.start()
    stage.clock.now_ns += 200_000_000
    wakes = [stage.exchange.tick() for _ in range(5)]
    assert stage.near.flushes == [BATCH_EVENTS, BATCH_EVENTS, BATCH_EVENTS, 100 - 3 * BATCH_EVENTS]
    assert stage.far.flushes == [BATCH_EVENTS, BATCH_EVENTS, BATCH_EVENTS, 100 - 3 * BATCH_EVENTS]
    assert all(wake is not None and wake <= stage.clock.now_ns for wake in wakes[:4])
    assert wakes[4] is None
    totals = stage.exchange.totals()
    assert totals["late_events"] == 100
    assert totals["latest_ms"] == 200.0


def test_totals_say_what_was_emitted() -> None:
    stage = Stage(stop_after=100, faults=Faults(skip_ids_every=10, malformed_every=25))
    stage.run()
    ids = [
        json.loads(frame[frame.index(b"{") :])["t"]
        for _, emission in stage.near.arrivals
        if b'"t":' in (frame := emission.frame(1000, combined=False)) and b'"q":' in frame
    ]
    totals = stage.exchange.totals()
    assert totals["events"] == 100
    assert totals["malformed"] == {"truncated": 1, "binary": 1, "missing-fields": 1, "absurd-time": 1}
    assert len(stage.near.arrivals) == len(stage.far.arrivals) == 104
    stream = totals["streams"]["btcusdt@trade"]
    assert stream["events"] == 100
    assert stream["skipped_ids"] == stream["last_id"] - stream["first_id"] + 1 - 100
    assert stream["skipped_ids"] > 0
    assert ids[0] == stream["first_id"]
    assert totals["far_undelivered"] == 0


def test_what_is_on_its_way_is_counted() -> None:
    stage = Stage(rate=1000.0, delay_ns=10_000_000)
    stage.exchange.start()
    for _ in range(5):
        stage.exchange.tick()
        stage.clock.now_ns += 1_000_000
    assert stage.exchange.totals()["far_undelivered"] == 5


@pytest.mark.parametrize("stop_after", [0, 1])
def test_it_rests_after_the_last_event(stop_after: int) -> None:
    stage = Stage(stop_after=stop_after)
    stage.run()
    assert stage.exchange.events == stop_after
    assert len(stage.far.arrivals) == stop_after


def test_each_door_gets_the_same_bytes_by_its_own_delay_and_drift() -> None:
    clock = ManualClock()
    near, doors = Recorder(clock), [Recorder(clock) for _ in range(3)]
    drifts = [None, Drift(1_000_000, 1), Drift(1_000_000, 2)]
    paths = [
        FarPath(door.outlet(), 5_000_000 + number * 200_000, Jitter(0, 1), drift)
        for number, (door, drift) in enumerate(zip(doors, drifts, strict=True))
    ]
    exchange = Exchange(Market([TRADE], 1), Faults(), grid(10.0), (near.outlet(),), paths, clock, 300)
    wake_ns = exchange.start()
    while wake_ns is not None:
        clock.now_ns = max(clock.now_ns, wake_ns)
        wake_ns = exchange.tick()
    assert all(door.frames() == near.frames() for door in doors)
    for number, (door, drift) in enumerate(zip(doors, drifts, strict=True)):
        for (sent, _), (came, _) in zip(near.arrivals, door.arrivals, strict=True):
            slow = 0 if drift is None else drift.at(sent - START_NS)
            assert came - sent == 5_000_000 + number * 200_000 + slow
    assert exchange.totals()["far_undelivered"] == 0


def test_a_drift_is_a_wave_of_two_minutes_around_nothing() -> None:
    drift = Drift(300_000, 5)
    values = [drift.at(second * 1_000_000_000) for second in range(240)]
    assert values[:120] == pytest.approx(values[120:], abs=1)
    assert abs(sum(values)) < 240
    assert 295_000 < max(values) <= 300_000
