"""Parts of a delay against a model that knows every stamp."""

import random

from hypothesis import given
from hypothesis import strategies as st

from daemons.measurement.histogram import BucketHistogram, octaves
from daemons.measurement.segments import MAX_AWAITED, SEGMENTS, TOTAL, Arrived, Segments

PARTS = st.lists(st.integers(-(10**6), 10**10), min_size=6, max_size=6)
EPOCH_NS = 1_700_000_000_000_000_000


def made() -> tuple[Segments, dict[str, BucketHistogram]]:
    live: dict[str, BucketHistogram] = {}
    return Segments(lambda name: live.setdefault(name, BucketHistogram(octaves(-20, 4))), keep=True), live


@given(st.lists(st.tuples(PARTS, *(st.booleans(),) * 3), max_size=30), st.randoms())
def test_every_part_is_what_was_injected_and_all_of_them_are_the_total(
    events: list[tuple[list[int], bool, bool, bool]], order: random.Random
) -> None:
    segments, live = made()
    expected: dict[str, list[int]] = {name: [] for name in (*SEGMENTS, TOTAL)}
    kernel_ns = {}
    for sequence, (parts, timed, told, clocked) in enumerate(events, 1):
        stamps = [EPOCH_NS]
        for part in parts:
            stamps.append(stamps[-1] + part)
        event_ns, counted_ns = stamps[0] if timed else None, stamps[6] if clocked else None
        segments.arrived("s", sequence, Arrived(event_ns, stamps[1], stamps[2], stamps[4], stamps[5], counted_ns))
        if told:
            kernel_ns[sequence] = stamps[3]
        absent = {"" if timed else "feed", "" if clocked else "decode"}
        known = {name: part for name, part in zip(SEGMENTS, parts, strict=True) if name not in absent}
        if told and all(part >= 0 for part in known.values()):
            for name, part in known.items():
                expected[name].append(part)
            expected[TOTAL].append(sum(known.values()))
    told_order = list(kernel_ns)
    order.shuffle(told_order)
    for sequence in told_order:
        segments.departed("s", sequence, kernel_ns[sequence])
        # Told twice, it is no second sample.
        segments.departed("s", sequence, kernel_ns[sequence])
    assert segments.measured == len(expected[TOTAL])
    assert segments.measured + segments.refused == len(kernel_ns) == segments.unmatched
    for name, values in expected.items():
        figure = segments.figures[name]
        assert (figure.count, figure.minimum, figure.maximum) == (
            len(values),
            min(values, default=None),
            max(values, default=None),
        )
        if name != TOTAL:
            assert (live[name].count, live[name].sum_ns) == (len(values), sum(values))


def test_events_whose_departure_is_never_told_take_no_room_for_ever() -> None:
    segments, _live = made()
    for sequence in range(1, 3 * MAX_AWAITED):
        segments.arrived("s", sequence, Arrived(None, 1, 2, 4, 5, 6))
    segments.departed("s", 1, 3)
    assert (segments.unmatched, segments.measured) == (1, 0)
    segments.departed("another", 3 * MAX_AWAITED - 1, 3)
    segments.departed("s", 3 * MAX_AWAITED - 1, 3)
    assert (segments.unmatched, segments.measured) == (2, 1)
