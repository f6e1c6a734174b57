import random
from pathlib import Path

import duckdb
import pyarrow.parquet as pq
from hypothesis import given, settings
from hypothesis import strategies as st

from daemons.archiver.journal import JOURNAL_SCHEMA, Journal, mapped, read
from daemons.archiver.rows import batch_of_rows
from daemons.archiver.segment import in_order
from daemons.formats.rows import Row
from tests.daemons.archiver.desk import DAY, Desk, found, row
from tests.daemons.archiver.test_journal import HEAD, NAME, fields


@given(st.lists(st.lists(st.integers(0, 50), min_size=1, max_size=8), max_size=12), st.integers(1, 20))
@settings(deadline=None, max_examples=60)
def test_rows_come_in_order_whatever_the_order_of_batches(
    tmp_path_factory: object, batches: list[list[int]], group: int
) -> None:
    data = bytearray()
    file = Path(str(tmp_path_factory.getbasetemp())) / f"{random.random()}.journal"  # type: ignore[attr-defined]
    journal = Journal(file, HEAD, NAME)
    for batch in batches:
        journal.add(batch_of_rows([fields(one) for one in batch]), 1, min(batch), max(batch))
    journal.close()
    data += file.read_bytes()
    file.unlink()
    view = memoryview(bytes(data))
    groups = [table["arrival_ns"].to_pylist() for table in in_order(view, read(view), group)]
    assert [one for table in groups for one in table] == sorted(one for batch in batches for one in batch)
    assert all(groups)


def test_a_file_is_small_and_its_numbers_need_no_dictionary(tmp_path: Path) -> None:
    rng = random.Random(1)
    desk = Desk(tmp_path)
    arrival = DAY
    for _ in range(40):
        rows: list[Row] = []
        for _ in range(1000):
            arrival += int(rng.expovariate(1) * 100_000)
            delay = int(rng.lognormvariate(15.5, 0.1))
            rows.append(row(arrival, len(rows), event_time_ns=(arrival - delay) // 10**6 * 10**6, end_to_end_ns=delay))
        desk.give(*rows)
    desk.end()
    (file,) = tmp_path.glob("date=*/path=*/*.parquet")
    assert file.stat().st_size / 40_000 < 30
    metadata = pq.ParquetFile(file).metadata
    encodings = {
        metadata.row_group(0).column(at).path_in_schema: set(metadata.row_group(0).column(at).encodings)
        for at in range(metadata.num_columns)
    }
    assert "DELTA_BINARY_PACKED" in encodings["arrival_ns"]
    assert "RLE_DICTIONARY" in encodings["stream"]
    assert metadata.row_group(0).column(0).compression == "ZSTD"
    assert [one.column_index for one in metadata.row_group(0).sorting_columns] == [9]
    counted = duckdb.execute(f"select count(*), sum(arrival_ns - event_time_ns) from '{file}'").fetchone()
    assert counted is not None
    assert counted[0] == 40_000


def test_a_file_that_is_there_already_stays_as_it_is(tmp_path: Path) -> None:
    # The machine stopped between the rename and the removal of the journal.
    desk = Desk(tmp_path)
    desk.give(row(DAY + 1))
    (journal,) = desk.session.journals()
    copy = journal.read_bytes()
    desk.end()
    journal.write_bytes(copy)
    desk.kill()
    (before,) = tmp_path.glob("date=*/path=*/*.parquet")
    inode = before.stat().st_ino
    desk.begin()
    desk.keeper.recover()
    (after,) = found(tmp_path)
    assert before.stat().st_ino == inode
    assert after.facts.rows == 1
    with mapped(before) as data:
        assert bytes(data[:4]) == b"PAR1"
    assert JOURNAL_SCHEMA.names == [name for name in after.table.schema.names if name != "path"]
