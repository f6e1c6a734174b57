"""An archive of a long race, written by the receiver's own writer of files, without a receiver that runs for a day."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from daemons.archiver import segment
from daemons.formats.archive.columns import COLUMNS, FORMAT, SegmentFacts
from daemons.formats.archive.layout import MINUTE_NS, SegmentName, start_of
from daemons.formats.archive.schema import with_facts
from daemons.formats.summary import ClockSummary

__all__ = ["write_long_race"]

_CLOCK = ClockSummary(synchronized=True, offset_ms=0.01, error_bound_ms=0.3, source="chrony")
_START_NS = 1_796_000_000_000_000_000 // MINUTE_NS * MINUTE_NS
_SPAN_NS = 15 * MINUTE_NS
_STREAMS = ("btcusdt@trade", "ethusdt@trade")
_PORTION = 200_000
_TYPES = {"name": pa.string(), "int64": pa.int64(), "int32": pa.int32(), "bool": pa.bool_()}


def write_long_race(folder: Path, events: int, per_second: float = 1000.0, seed: int = 1) -> None:
    """Write a feed and a link that race: bursts, jitter that lasts, losses in a row, repetitions, rows of no use."""
    random = np.random.default_rng(seed)
    waiting: dict[str, list[pa.Table]] = {"direct": [], "backbone": []}
    weather = 0.0
    clock_ns = float(_START_NS)
    for first in range(0, events, _PORTION):
        numbers = np.arange(first, min(first + _PORTION, events))
        count = len(numbers)
        # Several events a moment, as an order that meets many others makes trades.
        gaps = np.where(random.random(count) < 0.4, 0.0, random.exponential(1e9 / per_second / 0.6, count))
        event_ns = (clock_ns + np.cumsum(gaps)).astype(np.int64)
        clock_ns = float(event_ns[-1])
        weather = 0.9 * weather + random.normal() * 0.3
        for path, base_ms, jitter_ms in (("direct", 105.0, 4.0), ("backbone", 98.0, 1.2)):
            delay = base_ms + weather + jitter_ms * random.gamma(2.0, 0.5, count)
            waiting[path].append(_rows(path, numbers, event_ns, delay, random))
            bound_ns = int(event_ns[-1]) - 10 * 10**9
            waiting[path] = [_write_spans(folder, path, pa.concat_tables(waiting[path]), bound_ns)]
    for path, tables in waiting.items():
        _write_spans(folder, path, pa.concat_tables(tables), None)


def _rows(
    path: str, numbers: np.ndarray, event_ns: np.ndarray, delay_ms: np.ndarray, random: np.random.Generator
) -> pa.Table:
    count, link = len(numbers), path == "backbone"
    lost = np.convolve(random.random(count) < 2e-5, np.ones(4), "same") > 0
    kept = np.flatnonzero(~lost)
    kept = np.sort(np.concatenate([kept, random.choice(kept, max(1, count // 100_000))]))
    numbers, event_ns = numbers[kept], event_ns[kept]
    told_ns = event_ns // 10**6 * 10**6
    forwarder_ns = event_ns + 900_000 + random.integers(0, 200_000, len(kept))
    arrival_ns = event_ns + np.round(delay_ms[kept] * 1e6).astype(np.int64)
    absurd = random.random(len(kept)) < 1e-6
    stream = (numbers // 3) % 2
    none = np.full(len(kept), None)
    figures = {
        "path": pa.array([path]).take(pa.array(np.zeros(len(kept), np.int32))),
        "stream": pa.array(_STREAMS).take(pa.array(stream)),
        "kind": pa.array(["trade"]).take(pa.array(np.zeros(len(kept), np.int32))),
        "connection": pa.array(np.ones(len(kept), np.int32)) if link else pa.array(none, pa.int32()),
        "sequence": pa.array(numbers + 1),
        "event_id": pa.array(7_000_000_000 + numbers + stream * 10**12),
        "event_time_ns": pa.array(told_ns),
        "forwarder_ns": pa.array(forwarder_ns) if link else pa.array(none, pa.int64()),
        "departure_ns": pa.array(forwarder_ns + 40_000) if link else pa.array(none, pa.int64()),
        "arrival_ns": pa.array(arrival_ns),
        "end_to_end_ns": pa.array(arrival_ns - told_ns),
        "backbone_ns": pa.array(arrival_ns - forwarder_ns) if link else pa.array(none, pa.int64()),
        "stamp": pa.array(["kernel"]).take(pa.array(np.zeros(len(kept), np.int32))),
        "validity": pa.array(["ok", "absurd"]).take(pa.array(absurd.astype(np.int32))),
        "delayed": pa.array(np.zeros(len(kept), bool)),
    }
    return pa.table(
        {
            column.name: figures.get(column.name, pa.nulls(len(kept), _TYPES[column.kind])).cast(_TYPES[column.kind])
            for column in COLUMNS
        }
    )


def _write_spans(folder: Path, path: str, table: pa.Table, bound_ns: int | None) -> pa.Table:
    """Write the spans that are over, and give the rows of the one that is not."""
    table = table.sort_by("arrival_ns").combine_chunks()
    arrivals = table["arrival_ns"].to_numpy()
    start = 0
    for span_ns in _spans(arrivals):
        if bound_ns is not None and span_ns + _SPAN_NS > bound_ns:
            break
        end = int(np.searchsorted(arrivals, span_ns + _SPAN_NS))
        if end > start:
            _write(folder, path, span_ns, table.slice(start, end - start))
        start = end
    return table.slice(start).combine_chunks()


def _spans(arrivals: np.ndarray) -> Iterator[int]:
    first = start_of(int(arrivals[0]), _SPAN_NS) if len(arrivals) else 0
    return iter(range(first, int(arrivals[-1]) + 1, _SPAN_NS) if len(arrivals) else ())


def _write(folder: Path, path: str, span_ns: int, table: pa.Table) -> None:
    arrivals = table["arrival_ns"]
    facts = SegmentFacts(
        format=FORMAT,
        host="here",
        session="5f3a9c0144d2",
        path=path,
        start_ns=span_ns,
        end_ns=span_ns + _SPAN_NS,
        first_arrival_ns=arrivals[0].as_py(),
        last_arrival_ns=arrivals[-1].as_py(),
        rows=len(table),
        rows_lost=0,
        clock=_CLOCK,
        versions={},
        recovered=False,
    )
    file = folder / SegmentName(path, span_ns, span_ns + _SPAN_NS, facts.session).relative
    file.parent.mkdir(parents=True, exist_ok=True)
    schema = with_facts(facts)
    with pq.ParquetWriter(file, schema, **segment.WRITING) as writer:
        for start in range(0, len(table), segment.GROUP_ROWS):
            group = table.slice(start, segment.GROUP_ROWS)
            writer.write_table(segment.completed(group.drop_columns("path"), path, schema))
