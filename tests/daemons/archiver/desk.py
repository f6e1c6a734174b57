"""A receiver's end and an archiver in one process, without sockets, on a clock that is set by hand."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from daemons.archiver.confirmations import Confirmations
from daemons.archiver.intake import JournalIntake
from daemons.archiver.keeper import Keeper
from daemons.archiver.retention import Retention
from daemons.archiver.session import JournalFolder
from daemons.formats.archive.columns import SegmentFacts
from daemons.formats.archive.handover import HEAD, ArchiverReport, Setup
from daemons.formats.archive.layout import MINUTE_NS, parse
from daemons.formats.archive.schema import facts_of
from daemons.formats.rows import Row
from daemons.receiver.archive import PathRows
from daemons.records import StampKind

__all__ = ["DAY", "Desk", "Found", "found", "row", "table_of"]

DAY = 1_796_000_000_000_000_000 // (1440 * MINUTE_NS) * (1440 * MINUTE_NS)
"""Midnight UTC."""


def row(arrival_ns: int, sequence: int = 1, path: str = "direct", **more: Any) -> Row:
    fields: dict[str, Any] = {
        "path": path,
        "stream": "btcusdt@trade",
        "sequence": sequence,
        "event_id": 7_000_000_000 + sequence,
        "event_time_ns": arrival_ns - 5_000_000,
        "forwarder_ns": None,
        "departure_ns": None,
        "arrival_ns": arrival_ns,
        "end_to_end_ns": 5_000_000,
        "backbone_ns": None,
        "stamp": StampKind.KERNEL,
        "validity": "ok",
        "delayed": False,
        "kind": "trade",
    }
    return Row(**{**fields, **more})


class Desk:
    """Both ends; the archiver can be killed and begun again.

    Attributes:
        seconds: the monotonic clock.
    """

    def __init__(self, folder: Path, *paths: str, **settings: Any) -> None:
        self.folder = folder
        names = paths or ("direct",)
        self.setup = Setup(str(folder), 15 * MINUTE_NS, "here", names, (0,) * len(names), **settings)
        self.observed = memoryview(bytearray(8 * len(names))).cast("Q")
        self.paths = [PathRows(self.observed, index, lambda: None) for index in range(len(names))]
        self.seconds = 0.0
        self.wall_ns = DAY
        self.confirmed: Confirmations | None = None
        self._lives = 0
        self.begin()

    def begin(self) -> None:
        """Begin an archiver's life."""
        self._lives += 1
        self.report = ArchiverReport()
        self.session = JournalFolder.begin(self.folder, f"{self._lives:012x}")
        retention = Retention(self.setup, self.report, lambda: self.wall_ns, self.confirmed)
        self.keeper = Keeper(self.setup, self.session, self.report, retention)
        versions = {"backbone-latency": "0.1.0"}
        self.intake = JournalIntake(
            self.setup, self.session, versions, self.report, self.keeper.closed, lambda: self.seconds
        )

    def kill(self) -> None:
        """End the archiver without warning: the kernel lets go of its lock."""
        self.session.unlock()

    def give(self, *rows: Row) -> None:
        """Observe rows, and hand them over."""
        for one in rows:
            self.paths[self.setup.paths.index(one.path)].add(one)
        self.hand_over()

    def hand_over(self) -> None:
        for index, path in enumerate(self.paths):
            head, body = path.frame()
            self.intake.take(index, HEAD.unpack(head)[2], body)

    def end(self, *, goodbye: bool = True) -> dict[str, int]:
        """Close and finish everything."""
        lost = self.intake.end(None if goodbye else [*self.observed])
        self.keeper.work()
        return lost


class Found:
    """A finished file, read by the library that others read it with."""

    def __init__(self, file: Path, folder: Path) -> None:
        self.relative = str(file.relative_to(folder))
        self.name = parse(self.relative)
        self.table = pq.ParquetFile(file).read()
        facts = facts_of(self.table.schema.metadata)
        assert facts is not None
        self.facts: SegmentFacts = facts
        arrivals = self.table["arrival_ns"].to_pylist()
        assert self.name is not None
        assert arrivals == sorted(arrivals)
        assert (facts.first_arrival_ns, facts.last_arrival_ns) == (arrivals[0], arrivals[-1])
        assert self.name.start_ns <= arrivals[0]
        assert arrivals[-1] < self.name.end_ns
        assert (facts.rows, facts.start_ns, facts.end_ns) == (len(arrivals), self.name.start_ns, self.name.end_ns)
        assert set(self.table["path"].to_pylist()) == {facts.path}


def found(folder: Path) -> list[Found]:
    """Read all finished files; there is nothing else but what begins with a dot."""
    files = [
        file for file in folder.glob("**/*") if file.is_file() and not str(file.relative_to(folder)).startswith(".")
    ]
    return [Found(file, folder) for file in sorted(files)]


def table_of(folder: Path) -> pa.Table:
    return pa.concat_tables([one.table.replace_schema_metadata() for one in found(folder)])
