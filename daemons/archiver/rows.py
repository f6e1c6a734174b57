"""Rows as the receiver hands them over, made into a record batch."""

from collections.abc import Sequence
from typing import Any

import msgspec
import pyarrow as pa

from daemons.archiver.journal import JOURNAL_SCHEMA
from daemons.formats.rows import Row
from daemons.records import StampKind

__all__ = ["batch_of_rows", "decoded"]

_FIELDS = Row.__struct_fields__
_ARRIVAL = _FIELDS.index("arrival_ns")
_STAMPS = [kind.name.lower() for kind in StampKind]
_LEAST, _MOST = -(1 << 63), (1 << 63) - 1

Rows = Sequence[Sequence[Any]]
"""Each the fields of a :class:`~daemons.formats.rows.Row`, in their order."""


def decoded(data: bytes | bytearray | memoryview) -> tuple[Rows, list[int]]:
    """Decode rows; return them, and their arrivals."""
    rows: Rows = msgspec.msgpack.decode(data)
    return rows, [row[_ARRIVAL] for row in rows]


def batch_of_rows(rows: Rows) -> pa.RecordBatch:
    """Turn rows into columns."""
    columns = dict(zip(_FIELDS, zip(*rows, strict=True), strict=True))
    columns["stamp"] = tuple(map(_STAMPS.__getitem__, columns["stamp"]))
    return pa.record_batch([_array(columns[field.name], field.type) for field in JOURNAL_SCHEMA], JOURNAL_SCHEMA)


def _array(values: Sequence[Any], kind: pa.DataType) -> pa.Array:
    try:
        return pa.array(values, kind)
    except (OverflowError, pa.ArrowInvalid):
        # The wire has numbers of 64 bits without a sign: no exchange's, and none that an engine could be asked for.
        return pa.array([value if value is None or _LEAST <= value <= _MOST else None for value in values], kind)
