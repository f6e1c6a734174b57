from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import unquote

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemons.formats.archive.layout import DAY_NS, MINUTE_NS, SegmentName, escaped, parse, start_of

names = st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1, max_size=64)
lengths = st.sampled_from([minutes * MINUTE_NS for minutes in range(1, 1441) if 1440 % minutes == 0])
arrivals = st.integers(0, 7_000_000_000_000_000_000)


@given(names, arrivals, lengths, st.integers(1, 1000))
def test_a_name_says_what_it_was_made_of(path: str, arrival_ns: int, length_ns: int, number: int) -> None:
    start_ns = start_of(arrival_ns, length_ns)
    name = SegmentName(escaped(path), start_ns, start_ns + length_ns, "5f3a9c0144d2", number)
    assert parse(name.relative) == name
    assert all(len(part.encode()) <= 255 for part in name.relative.split("/"))


@given(arrivals, lengths)
def test_a_span_is_within_a_day_by_the_calendar(arrival_ns: int, length_ns: int) -> None:
    start_ns = start_of(arrival_ns, length_ns)
    assert start_ns <= arrival_ns < start_ns + length_ns
    first, last = (
        datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=ns // 1000)
        for ns in (start_ns, start_ns + length_ns - 1)
    )
    assert first.date() == last.date()
    assert start_ns % DAY_NS % length_ns == 0


@given(names, names)
def test_names_of_paths_stay_apart_and_can_be_folders(one: str, other: str) -> None:
    assert (escaped(one) == escaped(other)) == (one == other)
    assert not set(escaped(one)) & set('/\\:*?"<>|= \0')
    assert escaped(one).isascii()
    if "~" not in escaped(one):
        assert unquote(escaped(one), errors="strict") == one


def test_what_engines_take_for_no_name_is_a_name() -> None:
    assert escaped("__HIVE_DEFAULT_PARTITION__") == "%5F_HIVE_DEFAULT_PARTITION__"


@pytest.mark.parametrize(
    "relative",
    [
        "",
        "date=2026-11-29/path=a/1415-1430-5f.parquet.tmp",
        "date=2026-11-29/path=a/1430-1415-5f.parquet",
        "date=2026-11-29/path=a/2345-2415-5f.parquet",
        "date=2026-13-29/path=a/1415-1430-5f.parquet",
        "date=2026-11-29/path=a/b/1415-1430-5f.parquet",
        ".open/5f/date=2026-11-29/path=a/1415-1430-5f.parquet",
    ],
)
def test_what_is_no_segment_file_is_not_taken_for_one(relative: str) -> None:
    assert parse(relative) is None


def test_an_engine_reads_every_name_out_of_the_folders(tmp_path: Path) -> None:
    paths = ["direct", "a/b c%", "1", "..", "=", "ü~\U0001f600" * 21, "__HIVE_DEFAULT_PARTITION__", "\u202eabc"]
    for path in paths:
        file = tmp_path / SegmentName(escaped(path), 0, DAY_NS, "5f").relative
        file.parent.mkdir(parents=True)
        pq.write_table(pa.table({"n": [1]}), file)
    found = duckdb.execute(
        f"select path from read_parquet('{tmp_path}/*/*/*.parquet', hive_partitioning=true, "
        "hive_types={'path': varchar, 'date': date})"
    ).fetchall()
    assert {path for (path,) in found if "~" not in path} == {path for path in paths if "~" not in path}
    assert len({path for (path,) in found}) == len(paths)
