"""A results file's rows as an archive, written by the archive's own format and no reader of ours."""

import csv
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from daemons.formats.archive.columns import FORMAT, SegmentFacts
from daemons.formats.archive.layout import MINUTE_NS, SegmentName, escaped, start_of
from daemons.formats.archive.schema import SCHEMA, with_facts
from daemons.formats.summary import ClockSummary

__all__ = ["archive_of", "write_segment"]

CLOCK = ClockSummary(synchronized=True, offset_ms=0.01, error_bound_ms=0.3, source="chrony")


def _whole(text: str) -> int | None:
    return int(text) if text else None


def _ns(text: str) -> int | None:
    return round(float(text) * 1e6) if text else None


def _row(cells: dict[str, str]) -> dict[str, Any]:
    return {
        "path": cells["path"],
        "stream": cells["stream"],
        "kind": cells["stream"].partition("@")[2],
        "connection": 1 if cells["sequence_id"] else None,
        "sequence": _whole(cells["sequence_id"]),
        "event_id": _whole(cells["event_id"]),
        "event_time_ns": _whole(cells["event_time_ns"]),
        "forwarder_ns": _whole(cells["tokyo_time"]),
        "departure_ns": _whole(cells["departure_ns"]),
        "arrival_ns": int(cells["frankfurt_time"]),
        "end_to_end_ns": _ns(cells["end_to_end_latency_ms"]),
        "backbone_ns": _ns(cells["backbone_latency_ms"]),
        "stamp": cells["stamp"],
        "validity": cells["validity"],
        "delayed": cells["delayed"] == "1",
    }


def write_segment(
    folder: Path, rows: list[dict[str, Any]], *, minutes: int = 15, session: str = "5f3a", host: str = "here"
) -> Path:
    """Write one path's rows of one span."""
    arrivals = [row["arrival_ns"] for row in rows]
    start_ns = start_of(arrivals[0], minutes * MINUTE_NS)
    name = SegmentName(escaped(rows[0]["path"]), start_ns, start_ns + minutes * MINUTE_NS, session)
    facts = SegmentFacts(
        format=FORMAT,
        host=host,
        session=session,
        path=rows[0]["path"],
        start_ns=name.start_ns,
        end_ns=name.end_ns,
        first_arrival_ns=arrivals[0],
        last_arrival_ns=arrivals[-1],
        rows=len(rows),
        rows_lost=0,
        clock=CLOCK,
        versions={},
        recovered=False,
    )
    file = folder / name.relative
    file.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows, schema=SCHEMA).cast(with_facts(facts)), file, compression="zstd")
    return file


def archive_of(
    folder: Path, files: Iterable[Path], *, minutes: int = 15, session: str = "5f3a", host: str = "here"
) -> list[Path]:
    """Write the rows of results files as an archive; give its files."""
    spans: dict[tuple[str, int], list[dict[str, Any]]] = {}
    for file in files:
        with file.open(newline="", encoding="utf-8") as opened:
            for cells in csv.DictReader(opened):
                row = _row(cells)
                spans.setdefault((row["path"], start_of(row["arrival_ns"], minutes * MINUTE_NS)), []).append(row)
    written = []
    for rows in spans.values():
        rows.sort(key=lambda row: row["arrival_ns"])
        written.append(write_segment(folder, rows, minutes=minutes, session=session, host=host))
    return written
