"""Files that a disk or a copy has changed: refused by name, whatever is asked, and never other rows."""

import random
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from daemons.formats.archive.columns import FIRST_COLUMNS
from daemons.formats.archive.schema import SCHEMA
from experiments.archive.facts import facts_in
from experiments.archive.reading import batches_of
from experiments.errors import InputError
from experiments.main import main
from tests.daemons.archiver.desk import DAY, Desk, row

COLUMNS = ("sequence", "arrival_ns", "end_to_end_ns", "event_id", "stream", "validity", "delayed")


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of an archiver, of 3,000 rows."""
    folder, chance = tmp_path_factory.mktemp("archive"), random.Random(1)
    desk = Desk(folder)
    desk.give(*(row(DAY + number * 10_000_000 + chance.randrange(9_000_000), number) for number in range(1, 3001)))
    desk.end()
    (found,) = folder.glob("date=*/path=*/*.parquet")
    return found


def rows(file: Path) -> list[dict[str, object]]:
    """Read as questions do: what a file says of itself comes first."""
    facts_in(file)
    return [one for batch in batches_of(file, COLUMNS) for one in batch.to_pylist()]


def test_a_flipped_bit_is_told_or_changes_nothing(file: Path, tmp_path: Path) -> None:
    expected, whole, chance = rows(file), file.read_bytes(), random.Random(2)
    damaged, told = tmp_path / "damaged.parquet", 0
    for _ in range(150):
        content = bytearray(whole)
        content[chance.randrange(4, len(content) - 8)] ^= 1 << chance.randrange(8)
        damaged.write_bytes(content)
        try:
            # Where it is in a column that nobody asked for, or in what is not rows.
            assert rows(damaged) == expected
        except InputError as error:
            told += str(error).startswith(f"{damaged}: cannot be read: ")
    assert told > 50


def test_no_bit_of_the_names_of_columns_makes_other_rows(file: Path, tmp_path: Path) -> None:
    expected, whole = (facts_in(file), rows(file)), file.read_bytes()
    # The end has the schema, twice, between the pages and the length of itself.
    end = int.from_bytes(whole[-8:-4], "little")
    damaged, told = tmp_path / "damaged.parquet", 0
    for name in COLUMNS:
        at = whole.index(name.encode(), len(whole) - 8 - end)
        for bit in range(8 * len(name)):
            content = bytearray(whole)
            content[at + bit // 8] ^= 1 << bit % 8
            damaged.write_bytes(content)
            try:
                assert (facts_in(damaged), rows(damaged)) == expected
            except InputError as error:
                told += str(error).startswith(str(damaged))
    assert told > 400


def test_files_of_earlier_and_later_versions_are_read(file: Path, tmp_path: Path) -> None:
    table = pq.ParquetFile(file).read()
    earlier, later = tmp_path / "earlier.parquet", tmp_path / "later.parquet"
    pq.write_table(table.select(SCHEMA.names[:FIRST_COLUMNS]), earlier)
    pq.write_table(table.append_column("weather", pa.nulls(len(table), pa.int64())), later)
    for one in (earlier, later):
        assert facts_in(one) == facts_in(file)
        (batch,) = batches_of(one, ("sequence", "cause"))
        assert batch["sequence"].equals(table["sequence"].combine_chunks())
        assert batch["cause"].null_count == len(table)
    pq.write_table(table.select(SCHEMA.names[: FIRST_COLUMNS - 1]), earlier)
    with pytest.raises(InputError, match=r"is damaged: its columns are path, .*, validity, and not path, .* delayed"):
        facts_in(earlier)


@pytest.mark.parametrize("command", ["compare", "query", "export"])
def test_every_command_refuses_a_file_whose_rows_were_changed(file: Path, tmp_path: Path, command: str) -> None:
    archive = tmp_path / "archive"
    content = bytearray(file.read_bytes())
    damaged = archive / file.parent.parent.name / file.parent.name / file.name
    damaged.parent.mkdir(parents=True)
    # In the middle are the deltas of times, in which any bit is a row's.
    content[len(content) // 2] ^= 1
    damaged.write_bytes(content)
    names = "path, stream, kind, stamp, validity, cause"
    more = {"query": [f"SELECT sum(columns(*)) FROM (SELECT * EXCLUDE ({names}) FROM rows)"],
            "export": [str(tmp_path / "rows.csv")], "compare": [str(tmp_path / "archive")]}[command]  # fmt: skip
    found = CliRunner().invoke(main, [command, str(archive), *more])
    assert found.exit_code == 2, found.output
    assert "CRC" in found.output
