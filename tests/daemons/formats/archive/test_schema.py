import io
import re

import pyarrow as pa
import pyarrow.parquet as pq

from daemons.formats.archive.columns import COLUMNS, FORMAT, METADATA_KEY, SegmentFacts
from daemons.formats.archive.schema import SCHEMA, facts_of, with_facts
from daemons.formats.summary import ClockSummary
from tests.packaging.test_documents import section

FACTS = SegmentFacts(
    format=FORMAT,
    host="ip-10-0-0-1",
    session="5f3a9c0144d2",
    path="direct",
    start_ns=0,
    end_ns=900_000_000_000,
    first_arrival_ns=1,
    last_arrival_ns=2,
    rows=2,
    rows_lost=0,
    clock=ClockSummary(synchronized=True, offset_ms=0.01, error_bound_ms=0.2, source="chrony"),
    versions={"backbone-latency": "0.1.0"},
    recovered=False,
)


def test_a_file_says_of_itself_what_was_written() -> None:
    sink = io.BytesIO()
    pq.write_table(SCHEMA.empty_table().cast(with_facts(FACTS)), sink)
    read = pq.read_schema(io.BytesIO(sink.getvalue()))
    assert facts_of(read.metadata) == FACTS
    assert read.names == [column.name for column in COLUMNS]


def test_what_others_have_written_has_no_facts() -> None:
    assert facts_of(None) is None
    assert facts_of({b"pandas": b"{}"}) is None
    assert facts_of({METADATA_KEY: b'{"format": "backbone-latency-archive/9"}'}) is None


def test_columns_have_the_types_that_the_documents_name() -> None:
    table = section("docs/archive.md", "## Columns")
    rows = re.findall(r"^\| `(\w+)` \| (.+?) \| (.+?) \|$", table, re.MULTILINE)
    words = {"name": "name", "int64": "64-bit integer", "int32": "32-bit integer", "bool": "true or false"}
    said = [(one.name, words[one.kind] + (", or none" if one.nullable else ""), one.meaning) for one in COLUMNS]
    assert rows == said
    assert {str(field.type) for field in SCHEMA if field.name.endswith("_ns")} == {"int64"}
    assert pa.types.is_dictionary(SCHEMA.field("stream").type)
