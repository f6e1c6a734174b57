from pathlib import Path

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
def written(tmp_path_factory: pytest.TempPathFactory) -> memoryview:
    """Give a journal; as a view, since Hypothesis writes out arguments, and refuses to write out so many bytes."""
    file = tmp_path_factory.mktemp("journal") / "1.journal"
    journal = Journal(file, HEAD, NAME)
    for batch in range(5):
        journal.add(
            batch_of_rows([fields(batch * 10 + one) for one in range(3)]), 1 + batch * 3, batch * 10, batch * 10 + 2
        )
        journal.note(3 + batch * 3, clock=ClockSummary(steps=batch))
    journal.note(17, lost=2, ended=True)
    journal.close()
    return memoryview(file.read_bytes())


def arrivals(data: bytes | memoryview) -> list[int]:
    view = memoryview(data)
    return [one for batch in read(view).batches for one in batch_of(view, batch)["arrival_ns"].to_pylist()]


def test_what_is_written_is_read(written: memoryview) -> None:
    contents = read(written)
    assert contents.head == HEAD
    assert (contents.rows, contents.number, contents.lost, contents.ended) == (15, 17, 2, True)
    assert contents.clock == ClockSummary(steps=4)
    assert arrivals(written) == [batch * 10 + one for batch in range(5) for one in range(3)]


def test_what_a_version_without_the_newest_columns_wrote_is_read_with_none_in_them(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "1.journal", HEAD, NAME)
    whole = batch_of_rows([fields(one) for one in range(3)])
    journal.add(whole.select(whole.schema.names[:14]), 1, 0, 2)
    journal.add(whole, 4, 0, 2)
    journal.close()
    view = memoryview((tmp_path / "1.journal").read_bytes())
    old, new = (batch_of(view, batch) for batch in read(view).batches)
    assert old.schema == new.schema == whole.schema
    assert old.schema.names[14:] == ["cause", "tcp_rtt_ns", "tcp_retransmitted", "tcp_out_of_order"]
    assert old.select(whole.schema.names[:14]) == whole.select(whole.schema.names[:14])
    assert [old[name].null_count for name in old.schema.names[14:]] == [3] * 4


@given(st.integers(0, 1 << 20), st.integers(0, 5000))
def test_a_cut_end_costs_what_was_being_written_and_no_more(written: memoryview, where: int, zeros: int) -> None:
    cut = where % (len(written) + 1)
    kept = arrivals(written[:cut])
    whole = arrivals(written)
    assert kept == whole[: len(kept)]
    assert len(kept) % 3 == 0
    # What a power cut leaves behind the last write that reached the disk.
    torn = bytes(written[:cut]) + bytes(zeros)
    pairs = zip(torn, written, strict=False)
    same = next((at for at, (one, other) in enumerate(pairs) if one != other), min(len(torn), len(written)))
    assert arrivals(torn) == arrivals(written[:same])


def test_zeros_in_place_of_zeros_cost_nothing(written: memoryview) -> None:
    # A batch ends in padding: cut within that, and filled up with zeros, it is what was written.
    whole, ends = read(written), [batch.offset + batch.length for batch in read(written).batches]
    assert all(written[end - 1] == 0 for end in ends)
    for number, end in enumerate(ends, start=1):
        assert read(memoryview(bytes(written[: end - 1]) + bytes(9))).batches == whole.batches[:number]


@given(st.integers(0, 1 << 20), st.integers(1, 255))
def test_a_byte_that_changed_costs_what_is_behind_it(written: memoryview, where: int, bits: int) -> None:
    at = where % len(written)
    changed = bytearray(written)
    changed[at] ^= bits
    kept = read(memoryview(changed)).batches
    assert kept == read(written).batches[: len(kept)]
    assert all(batch.offset + batch.length <= at for batch in kept)
