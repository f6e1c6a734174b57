"""A journal made into a finished file: sorted by arrival, compressed, and there whole or not at all."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from daemons.archiver.journal import JOURNAL_SCHEMA, Contents, batch_of
from daemons.formats.archive.columns import COLUMNS, FORMAT, SegmentFacts
from daemons.formats.archive.layout import SegmentName
from daemons.formats.archive.schema import SCHEMA, with_facts

__all__ = ["GROUP_ROWS", "WRITING", "completed", "finish", "in_order", "sync_folder"]

GROUP_ROWS = 250_000
"""Rows of a group, and how many are in memory at a time where they arrived in order: some 60 MB."""

_NAMES = [column.name for column in COLUMNS if column.kind == "name"]
_NUMBERS = [column.name for column in COLUMNS if column.kind in ("int64", "int32")]
WRITING = {
    "version": "2.6",
    "compression": "zstd",
    "compression_level": 3,
    # CRC-32 of each page (parquet-format, "Checksumming"), for 0.03 % of the bytes: flipped bits would be other rows.
    "write_page_checksum": True,
    "use_dictionary": _NAMES,
    # Times differ from row to row by far less than they are: a third of the bytes of plain ones, read by every engine.
    "column_encoding": dict.fromkeys(_NUMBERS, "DELTA_BINARY_PACKED"),
    "sorting_columns": [pq.SortingColumn(SCHEMA.get_field_index("arrival_ns"))],
}


def in_order(data: memoryview, contents: Contents, group_rows: int = GROUP_ROWS) -> Iterator[pa.Table]:
    """Give a journal's rows sorted by arrival, in groups.

    Batches are taken in the order of their first arrivals. Once a batch is in, no row before the next one's first
    arrival can come any more, so that only what overlaps is in memory.

    Args:
        data: the journal.
        contents: of it.
        group_rows: of a group at least, but for the last.
    """
    batches = sorted(contents.batches, key=lambda batch: batch.first_ns)
    waiting: list[pa.Table] = []
    count = 0
    for index, batch in enumerate(batches):
        waiting.append(pa.Table.from_batches([batch_of(data, batch)], JOURNAL_SCHEMA))
        count += batch.rows
        last = index + 1 == len(batches)
        if count < group_rows and not last:
            continue
        table = pa.concat_tables(waiting)
        table = table.take(pc.sort_indices(table, sort_keys=[("arrival_ns", "ascending")]))
        due = table.num_rows
        if not last:
            bound = batches[index + 1].first_ns
            due = pc.sum(pc.less(table["arrival_ns"], bound)).as_py() or 0
        if due:
            yield table.slice(0, due)
        waiting, count = [table.slice(due)], table.num_rows - due


def finish(data: memoryview, contents: Contents, name: SegmentName, folder: Path, scratch: Path, *, known: bool) -> int:
    """Make a finished file out of a journal, which has rows.

    Args:
        data: the journal.
        contents: of it.
        name: of the file.
        folder: of the archive.
        scratch: a name for the file while it is not finished, on the same file system.
        known: whether it is known what is missing.

    Returns:
        Its size in bytes; 0 where it was there already.

    Raises:
        OSError: it cannot be written; nothing of it is left.
    """
    target = folder / name.relative
    if target.exists():
        return 0
    head = contents.head
    assert head is not None
    facts = SegmentFacts(
        format=FORMAT,
        host=head.host,
        session=name.session,
        path=head.path,
        start_ns=name.start_ns,
        end_ns=name.end_ns,
        first_arrival_ns=min(batch.first_ns for batch in contents.batches),
        last_arrival_ns=max(batch.last_ns for batch in contents.batches),
        rows=contents.rows,
        rows_lost=contents.lost if known else None,
        clock=contents.clock,
        versions=head.versions,
        recovered=not contents.ended,
    )
    schema = with_facts(facts)
    try:
        with scratch.open("wb") as handle:
            with pq.ParquetWriter(handle, schema, **WRITING) as writer:
                for table in in_order(data, contents):
                    writer.write_table(completed(table, head.path, schema), row_group_size=2 * GROUP_ROWS)
            handle.flush()
            os.fsync(handle.fileno())
            size = handle.tell()
        _make(target.parent, folder)
        scratch.replace(target)
    except OSError:
        with contextlib.suppress(OSError):
            scratch.unlink(missing_ok=True)
        raise
    sync_folder(target.parent)
    return size


def completed(table: pa.Table, path: str, schema: pa.Schema) -> pa.Table:
    """Add the path, and make names dictionaries."""
    columns = {name: table[name].dictionary_encode() if name in _NAMES else table[name] for name in table.column_names}
    number = pa.repeat(pa.scalar(0, pa.int32()), table.num_rows)
    columns["path"] = pa.DictionaryArray.from_arrays(number, pa.array([path]))
    return pa.table([columns[field.name] for field in schema], schema=schema)


def _make(folder: Path, top: Path) -> None:
    """Make a folder of the archive, so that it is there after a power cut too."""
    missing = []
    while folder != top and not folder.exists():
        missing.append(folder)
        folder = folder.parent
    for one in reversed(missing):
        one.mkdir(exist_ok=True)
        sync_folder(one.parent)


def sync_folder(folder: Path) -> None:
    """Bring a folder's entries to the disk (fsync(2): of the file alone is not enough).

    Raises:
        OSError: the disk failed.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
