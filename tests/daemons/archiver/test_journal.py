import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemons.archiver.journal import Head, Journal, batch_of, read
from daemons.archiver.rows import batch_of_rows
from daemons.formats.archive.layout import SegmentName
from daemons.formats.summary import ClockSummary
from tests.daemons.archiver.desk import DAY, row

NAME = SegmentName("direct", DAY, DAY + 900_000_000_000, "ab12")
HEAD = Head(NAME.relative, "direct", "here", {})


def fields(arrival_ns: int) -> list[object]:
    one = row(arrival_ns)
    return [getattr(one, name) for name in one.__struct_fields__]


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    file = tmp_path_factory.mktemp("journal") / "1.journal"
    journal = Journal(file, HEAD, NAME)
    for batch in range(5):
        journal.add(
            batch_of_rows([fields(batch * 10 + one) for one in range(3)]), 1 + batch * 3, batch * 10, batch * 10 + 2
        )
        journal.note(3 + batch * 3, clock=ClockSummary(steps=batch))
    journal.note(17, lost=2, ended=True)
    journal.close()
    return file.read_bytes()


def arrivals(data: bytes) -> list[int]:
    view = memoryview(data)
    return [one for batch in read(view).batches for one in batch_of(view, batch)["arrival_ns"].to_pylist()]


def test_what_is_written_is_read(written: bytes) -> None:
    contents = read(memoryview(written))
    assert contents.head == HEAD
    assert (contents.rows, contents.number, contents.lost, contents.ended) == (15, 17, 2, True)
    assert contents.clock == ClockSummary(steps=4)
    assert arrivals(written) == [batch * 10 + one for batch in range(5) for one in range(3)]


@given(st.integers(0, 1 << 20), st.integers(0, 5000))
def test_a_cut_end_costs_what_was_being_written_and_no_more(written: bytes, where: int, zeros: int) -> None:
    cut = where % (len(written) + 1)
    kept = arrivals(written[:cut])
    whole = arrivals(written)
    assert kept == whole[: len(kept)]
    assert len(kept) % 3 == 0
    # What a power cut leaves behind the last write that reached the disk.
    assert arrivals(written[:cut] + bytes(zeros)) == kept


@given(st.integers(0, 1 << 20), st.integers(1, 255))
def test_a_byte_that_changed_costs_what_is_behind_it(written: bytes, where: int, bits: int) -> None:
    at = where % len(written)
    changed = bytearray(written)
    changed[at] ^= bits
    kept = read(memoryview(changed)).batches
    assert kept == read(memoryview(written)).batches[: len(kept)]
    assert all(batch.offset + batch.length <= at for batch in kept)
