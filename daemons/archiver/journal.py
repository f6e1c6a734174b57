"""A journal: the rows of one path and span until they are in a finished file, in a form that survives a cut end.

An append-only file of frames, each with its length and check sum: record batches of Arrow, and notes in JSON. What is
behind the last whole frame was being written when the machine stopped, and is cut off.
"""

import contextlib
import mmap
import os
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from struct import Struct

import msgspec
import pyarrow as pa

from daemons.formats.archive.layout import SegmentName
from daemons.formats.archive.schema import SCHEMA
from daemons.formats.summary import ClockSummary

__all__ = ["JOURNAL_SCHEMA", "Batch", "Contents", "Head", "Journal", "batch_of", "mapped", "read"]

_MARK = b"row\n"
_CHECK = Struct("<4sI")
"""Mark, and CRC-32 of all that follows."""
_FRAME = Struct("<BIQIqq")
"""Kind, length of the body, number of the first row, rows, first and last arrival."""
_HEAD, _BATCH, _NOTE = range(3)

JOURNAL_SCHEMA = pa.schema(
    [
        field.with_type(pa.string()) if pa.types.is_dictionary(field.type) else field
        for field in SCHEMA
        if field.name != "path"
    ]
)
"""As a finished file's, but plain strings, and without the path, which the head has."""

_WRITE = pa.ipc.IpcWriteOptions(compression="lz4")


class Head(msgspec.Struct, frozen=True):
    """What a journal begins with.

    Attributes:
        name: of the finished file to be, below the archive's folder.
        path: unescaped.
        host: that measured.
        versions: of what wrote it.
    """

    name: str
    path: str
    host: str
    versions: dict[str, str]


class _Note(msgspec.Struct, frozen=True):
    """What is to be known of a journal's rows beside them; ``ended``: nothing is missing behind them unsaid."""

    lost: int = 0
    clock: ClockSummary | None = None
    ended: bool = False


@dataclass(frozen=True, slots=True)
class Batch:
    """Where a record batch stands in a journal, and what it has; ``number`` is its last row's."""

    offset: int
    length: int
    rows: int
    number: int
    first_ns: int
    last_ns: int


@dataclass(slots=True)
class Contents:
    """All whole frames of a journal.

    Attributes:
        head: None where not even that was written.
        batches: in the order of writing.
        number: of the last row, lost or not; 0 before the first.
        lost: rows that are known to be missing.
        clock: the worst of it.
        ended: whether it was closed.
    """

    head: Head | None = None
    batches: list[Batch] = field(default_factory=list)
    number: int = 0
    lost: int = 0
    clock: ClockSummary = field(default_factory=ClockSummary)
    ended: bool = False

    @property
    def rows(self) -> int:
        """How many it has."""
        return sum(batch.rows for batch in self.batches)


class Journal:
    """A journal that grows.

    Args:
        file: its name; must not exist.
        head: what it begins with.
        name: the same name as in the head, parsed.

    Raises:
        OSError: it cannot be made.
    """

    def __init__(self, file: Path, head: Head, name: SegmentName) -> None:
        self.file = file
        self.name = name
        self._descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o640)
        self._end = 0
        try:
            self._append(_HEAD, msgspec.json.encode(head))
        except OSError:
            os.close(self._descriptor)
            file.unlink(missing_ok=True)
            raise

    def add(self, batch: pa.RecordBatch, number: int, first_ns: int, last_ns: int) -> None:
        """Append rows.

        Args:
            batch: of :data:`JOURNAL_SCHEMA`.
            number: of the first row.
            first_ns: the earliest of their arrivals.
            last_ns: the latest.

        Raises:
            OSError: the disk does not take them; the journal is as before.
        """
        self._append(_BATCH, _serialized(batch), number, batch.num_rows, first_ns, last_ns)

    def note(self, number: int, *, lost: int = 0, clock: ClockSummary | None = None, ended: bool = False) -> None:
        """Append what is to be known beside the rows; a clock takes the place of those before.

        Args:
            number: of the last row, lost or not.
            lost: rows before that which are missing.
            clock: the worst of it so far.
            ended: no more is to come, and nothing is missing unsaid.

        Raises:
            OSError: as for :meth:`add`.
        """
        self._append(_NOTE, msgspec.json.encode(_Note(lost, clock, ended)), number)

    def close(self) -> None:
        """Let go of the file."""
        os.close(self._descriptor)

    def _append(
        self, kind: int, body: bytes | pa.Buffer, number: int = 0, rows: int = 0, first_ns: int = 0, last_ns: int = 0
    ) -> None:
        view = memoryview(body)
        head = _FRAME.pack(kind, len(view), number, rows, first_ns, last_ns)
        data = b"".join((_CHECK.pack(_MARK, zlib.crc32(view, zlib.crc32(head))), head, view))
        try:
            at = 0
            while at < len(data):
                at += os.pwrite(self._descriptor, data[at:], self._end + at)
        except OSError:
            with contextlib.suppress(OSError):
                os.ftruncate(self._descriptor, self._end)
            raise
        self._end += len(data)


def _serialized(batch: pa.RecordBatch) -> pa.Buffer:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema, options=_WRITE) as writer:
        writer.write_batch(batch)
    return sink.getvalue()


@contextlib.contextmanager
def mapped(file: Path) -> Iterator[memoryview]:
    """Give a file's bytes without reading them all.

    Raises:
        OSError: it cannot be read.
    """
    with file.open("rb") as handle:
        if os.fstat(handle.fileno()).st_size == 0:
            yield memoryview(b"")
            return
        # Not closed by hand: batches that still look into it keep it alive.
        yield memoryview(mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_READ))


def read(data: memoryview) -> Contents:
    """Read a journal up to its last whole frame."""
    found = Contents()
    at = 0
    while (begin := at + _CHECK.size + _FRAME.size) <= len(data):
        mark, check = _CHECK.unpack_from(data, at)
        kind, length, number, rows, first_ns, last_ns = _FRAME.unpack_from(data, at + _CHECK.size)
        end = begin + length
        if mark != _MARK or end > len(data) or zlib.crc32(data[at + _CHECK.size : end]) != check:
            break
        body = data[begin:end]
        if kind == _HEAD:
            found.head = msgspec.json.decode(body, type=Head)
        elif kind == _NOTE:
            note = msgspec.json.decode(body, type=_Note)
            found.lost += note.lost
            found.number = number
            found.clock = note.clock or found.clock
            found.ended = found.ended or note.ended
        else:
            found.number = number + rows - 1
            found.batches.append(Batch(begin, length, rows, found.number, first_ns, last_ns))
        at = end
    return found


def batch_of(data: memoryview, batch: Batch) -> pa.RecordBatch:
    """Read a batch; columns that the version that wrote it did not have are empty."""
    with pa.ipc.open_stream(pa.py_buffer(data[batch.offset : batch.offset + batch.length])) as reader:
        found = reader.read_next_batch()
    names = set(found.schema.names)
    columns = [found[one.name] if one.name in names else pa.nulls(found.num_rows, one.type) for one in JOURNAL_SCHEMA]
    return pa.record_batch(columns, JOURNAL_SCHEMA)
