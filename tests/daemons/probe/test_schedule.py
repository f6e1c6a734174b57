import asyncio

import uvloop
from hypothesis import given
from hypothesis import strategies as st

from daemons.probe.schedule import Grid, Timetable
from daemons.timing.clock import SystemClock


@given(
    start=st.integers(0, 10**12),
    interval=st.integers(1, 10**10),
    waits=st.lists(st.integers(0, 10**11), max_size=40),
)
def test_every_slot_is_taken_or_missed_and_the_grid_never_shifts(start: int, interval: int, waits: list[int]) -> None:
    grid = Grid(start, interval)
    now = start
    missed = 0
    for sent, wait in enumerate(waits, start=1):
        now = max(now + wait, grid.next_ns)
        intended, skipped = grid.take(now)
        missed += skipped
        assert (intended - start) % interval == 0
        assert intended <= now < intended + interval
        expected = (now - start) // interval + 1
        assert sent + missed == expected


def test_a_timetable_calls_each_slot_once_and_not_early() -> None:
    clock = SystemClock()
    calls: list[tuple[str, int, int]] = []

    async def main() -> None:
        table = Timetable(clock, asyncio.get_running_loop())
        enough = asyncio.Event()
        start = clock.monotonic_ns() + 2_000_000

        def note(name: str) -> None:
            def slot(intended: int, missed: int) -> None:
                assert clock.monotonic_ns() >= intended
                calls.append((name, (intended - start) // 1_000_000, missed))
                if sum(1 + missed for called, _at, missed in calls if called == "slow") >= 4:
                    enough.set()

            numbers.append(table.add(Grid(start, 3_000_000 if name == "fast" else 9_000_000), slot))

        numbers: list[int] = []
        note("fast")
        note("slow")
        await asyncio.wait_for(enough.wait(), 300)
        table.remove(numbers[0])
        before = sum(name == "fast" for name, _at, _missed in calls)
        enough.clear()
        await asyncio.wait_for(enough.wait(), 300)
        assert sum(name == "fast" for name, _at, _missed in calls) == before
        table.close()

    uvloop.run(main())
    for name, interval in (("fast", 3), ("slow", 9)):
        expected = 0
        for _name, at, missed in (call for call in calls if call[0] == name):
            expected += missed
            assert at == expected * interval
            expected += 1


def test_a_loop_held_up_misses_slots_and_says_so() -> None:
    clock = SystemClock()
    seen: list[tuple[int, int]] = []

    async def main() -> None:
        table = Timetable(clock, asyncio.get_running_loop())
        done = asyncio.Event()
        start = clock.monotonic_ns()

        def slot(intended: int, missed: int) -> None:
            seen.append(((intended - start) // 1_000_000, missed))
            if len(seen) == 1:
                until = clock.monotonic_ns() + 25_000_000
                while clock.monotonic_ns() < until:
                    pass
            else:
                done.set()

        table.add(Grid(start, 10_000_000), slot)
        await asyncio.wait_for(done.wait(), 300)
        table.close()

    uvloop.run(main())
    first, second = seen[:2]
    assert second[1] >= 1
    assert second[0] == first[0] + 10 * (1 + second[1])
