"""The same as pyarrow has it. Imports pyarrow, so only what reads or writes files imports this."""

from collections.abc import Mapping

import msgspec
import pyarrow as pa

from daemons.formats.archive.columns import COLUMNS, METADATA_KEY, Column, SegmentFacts

__all__ = ["SCHEMA", "facts_of", "with_facts"]


def _type(column: Column) -> pa.DataType:
    types = {"name": pa.dictionary(pa.int32(), pa.string()), "int64": pa.int64(), "int32": pa.int32()}
    return types.get(column.kind, pa.bool_())


SCHEMA = pa.schema([pa.field(column.name, _type(column), nullable=column.nullable) for column in COLUMNS])


def with_facts(facts: SegmentFacts) -> pa.Schema:
    """Return the schema of a file, with its facts."""
    return SCHEMA.with_metadata({METADATA_KEY: msgspec.json.encode(facts)})


def facts_of(metadata: Mapping[bytes, bytes] | None) -> SegmentFacts | None:
    """Read a file's facts out of its metadata; None where it is not of our making, or of a format to come."""
    try:
        return msgspec.json.decode((metadata or {})[METADATA_KEY], type=SegmentFacts)
    except (KeyError, msgspec.MsgspecError):
        return None
