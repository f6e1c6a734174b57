"""Pairing by spans of ids, a few rows at a time, gives what pairing all rows at once gives."""

from itertools import pairwise

import numpy as np
import pytest

from experiments.results import columns
from experiments.results.series import PathSeries
from experiments.statistics.pairing import Pairs, pair

_STREAMS = ("btcusdt@trade", "ethusdt@bookTicker", "only-here", "btcusdt@depth")


def _race(random: np.random.Generator) -> tuple[PathSeries, PathSeries]:
    """Two paths with what happens to rows: losses, absence, repetitions, lateness, ids that begin anew or jump."""
    count = int(random.integers(1, 300))
    stream = random.integers(0, int(random.integers(1, 4)), count)
    ids = np.cumsum(random.integers(1, int(random.integers(2, 9)), count)) + 10 * stream
    if random.random() < 0.3:
        begins = int(random.integers(0, count))
        ids[begins:] -= ids[begins] - 1
    if random.random() < 0.2:
        ids = random.integers(-(2**62), 2**62, count)
    ids[random.random(count) < 0.05] = 0
    event_ns = 10**18 + np.cumsum(random.integers(0, 5, count)) * 1_000_000
    return _path(random, "direct", ids, stream, event_ns), _path(random, "backbone", ids, stream, event_ns)


def _path(
    random: np.random.Generator, name: str, ids: np.ndarray, stream: np.ndarray, event_ns: np.ndarray
) -> PathSeries:
    count = len(ids)
    kept = random.random(count) >= random.choice([0.0, 0.1, 0.9])
    if random.random() < 0.3:
        kept[int(random.integers(0, count)) :] = False
    rows = np.flatnonzero(kept)
    rows = np.concatenate([rows, random.choice(rows, len(rows) // 5)]) if len(rows) else rows
    delay_ns = random.integers(1, 20, len(rows)) * 1_000_000
    late = random.random(len(rows)) < 0.05
    delay_ns[late] += random.integers(0, int(event_ns[-1] - event_ns[0]) + 1, int(late.sum()))
    arrival_ns = event_ns[rows] + delay_ns
    order = np.argsort(arrival_ns, kind="stable") if random.random() < 0.9 else np.arange(len(rows))
    rows, arrival_ns = rows[order], arrival_ns[order]
    names = random.permutation(4)
    begins = int(random.integers(0, len(rows) + 1)) if random.random() < 0.3 else 0
    return PathSeries(
        name=name,
        sequence=np.zeros(len(rows), np.int64),
        arrival_ns=arrival_ns,
        end_to_end_ms=delay_ns[order] / 1e6,
        backbone_ms=np.full(len(rows), np.nan),
        event_fraction_ns=np.zeros(len(rows), np.int32),
        forwarder_fraction_ns=np.zeros(len(rows), np.int32),
        event_id=ids[rows],
        stream=np.argsort(names)[stream[rows]].astype(np.uint16),
        live=random.random(len(rows)) >= 0.1,
        streams=tuple(_STREAMS[code] for code in names),
        parts=(0, begins),
    )


def _at_once(first: PathSeries, second: PathSeries) -> Pairs:
    """Pair row by row, by a dictionary of all events."""
    arrivals: dict[tuple[str, int], list[int | None]] = {}
    late: list[set[tuple[str, int]]] = [set(), set()]
    live_streams = []
    for side, path in enumerate((first, second)):
        live_streams.append({path.streams[code] for code in path.stream[path.live & (path.event_id != 0)].tolist()})
        for row in range(len(path)):
            key = path.streams[path.stream[row]], int(path.event_id[row])
            if not path.live[row]:
                late[side].add(key)
            elif key[1]:
                seen = arrivals.setdefault(key, [None, None])
                seen[side] = row if seen[side] is None else seen[side]
    both: list[tuple[int, int]] = []
    lone: tuple[list[int], list[int]] = ([], [])
    order = {name: place for place, name in enumerate(first.streams)}
    for key in sorted(arrivals, key=lambda one: (order[one[0]], one[1])):
        if key[0] not in live_streams[0] & live_streams[1]:
            continue
        one, two = arrivals[key]
        if one is not None and two is not None:
            both.append((one, two))
        elif one is not None and key not in late[1]:
            lone[0].append(int(first.arrival_ns[one]))
        elif two is not None and key not in late[0]:
            lone[1].append(int(second.arrival_ns[two]))
    both.sort(key=lambda rows: min(first.arrival_ns[rows[0]], second.arrival_ns[rows[1]]))
    rows = np.array(both, np.int64).reshape(-1, 2)
    leads = first.arrival_ns[rows[:, 0]] - second.arrival_ns[rows[:, 1]]
    earliest = np.minimum(first.arrival_ns[rows[:, 0]], second.arrival_ns[rows[:, 1]])
    events = [(int(time), 0, "") for time in earliest]
    events += [(time, 1 + side, "first" if side else "second") for side in (0, 1) for time in lone[side]]
    guard = min(5_000_000_000, int(np.abs(leads).max(initial=0)))
    common = _common(first, second, guard) if len(rows) else []
    lacking = [which for time, _, which in sorted(events) if (run := _run(time, common)) and time <= run[1]]
    flags = [np.array([which == path for which in lacking], bool) for path in ("first", "second")]
    return Pairs(rows[:, 0], rows[:, 1], leads / 1e6, *flags)


def _common(first: PathSeries, second: PathSeries, guard: int) -> list[tuple[int, int]]:
    spans = []
    for one, two in zip(*(_runs(path) for path in (first, second)), strict=True):
        if len(one) and len(two):
            spans.append((max(int(one.min()), int(two.min())) + guard, min(int(one.max()), int(two.max())) - guard))
    return sorted(spans)


def _runs(path: PathSeries) -> list[np.ndarray]:
    return [path.arrival_ns[start:end] for start, end in pairwise([*path.parts, len(path)])]


def _run(time: int, common: list[tuple[int, int]]) -> tuple[int, int] | None:
    return next((span for span in reversed(common) if span[0] <= time), None)


@pytest.fixture
def everything_in_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(columns, "_IN_MEMORY", 64)


@pytest.mark.parametrize("rows_at_once", [1, 7, 64, 10**9])
@pytest.mark.usefixtures("everything_in_files")
def test_pairing_by_spans_is_pairing_at_once(rows_at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(rows_at_once)
    for seed in range(150):
        monkeypatch.setattr(columns, "PIECE", int(random.integers(1, 100)))
        monkeypatch.setattr("experiments.statistics.spans._LOOK_AT", int(random.integers(1, 9)))
        first, second = _race(random)
        expected, found = _at_once(first, second), pair(first, second, rows_at_once)
        for name in ("first", "second", "lead_ms", "missing_first", "missing_second"):
            np.testing.assert_array_equal(getattr(found, name), getattr(expected, name), f"{name} of race {seed}")
