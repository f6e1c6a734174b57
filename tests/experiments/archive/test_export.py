"""Exports against the CSV file that the archive was made of, and against the rules of who reads them."""

import csv
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from daemons.formats.archive.columns import COLUMNS
from daemons.formats.rows import COLUMNS as ROW_COLUMNS
from experiments.archive.export import EVENT, feed_events
from experiments.main import main
from tests.experiments.archived import archive_of
from tests.experiments.comparison.pinned_runs import PINNED

AT_EXCHANGE, AT_LOCAL = 1 << 31, 1 << 30


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("archived")
    archive_of(folder / "archive", PINNED["race"][0](folder))
    return folder / "archive"


def export(archive: Path, file: Path, *options: str) -> Path:
    result = CliRunner().invoke(main, ["export", str(archive), str(file), *options], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return file


def written(archive: Path) -> list[dict[str, str]]:
    with (archive.parent / "race.csv").open(newline="") as file:
        return sorted(csv.DictReader(file), key=lambda row: int(row["frankfurt_time"]))


def test_csv_is_the_file_that_the_receiver_would_have_written(archive: Path, tmp_path: Path) -> None:
    file = export(archive, tmp_path / "rows.csv")
    with file.open(newline="") as opened:
        found = list(csv.DictReader(opened))
    assert list(found[0]) == list(ROW_COLUMNS)
    # What was recorded here is of a time before the last columns.
    expected = [dict.fromkeys(ROW_COLUMNS, "") | row for row in written(archive)]
    key = sorted
    assert key(found, key=lambda row: [*row.values()]) == key(expected, key=lambda row: [*row.values()])
    assert [row["frankfurt_time"] for row in found] == [row["frankfurt_time"] for row in expected]


def test_arrow_has_every_column_of_the_archive(archive: Path, tmp_path: Path) -> None:
    with pa.ipc.open_file(export(archive, tmp_path / "rows.arrow", "--path", "direct")) as reader:
        table = reader.read_all()
    assert table.column_names == [column.name for column in COLUMNS]
    assert table["arrival_ns"].to_pylist() == [
        int(row["frankfurt_time"]) for row in written(archive) if row["path"] == "direct"
    ]


def test_the_feed_has_every_live_sample_to_the_nanosecond(archive: Path, tmp_path: Path) -> None:
    with np.load(export(archive, tmp_path / "feed.npz", "--path", "backbone")) as loaded:
        events = loaded["data"]
    assert events.dtype == EVENT
    expected = [
        (int(row["event_time_ns"]), int(row["frankfurt_time"]))
        for row in written(archive)
        if row["path"] == "backbone" and row["validity"] == "ok"
    ]
    local = events[events["ev"] & AT_LOCAL != 0]
    assert sorted(zip(local["exch_ts"].tolist(), local["local_ts"].tolist(), strict=True)) == sorted(expected)


def test_a_feed_is_of_one_path(archive: Path, tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["export", str(archive), str(tmp_path / "feed.npz")])
    assert result.exit_code == 2
    assert "name its path with --path" in result.output
    result = CliRunner().invoke(main, ["export", str(archive), str(tmp_path / "feed.parquet")])
    assert result.exit_code == 2
    assert "ends in none of .npz, .csv, .arrow" in result.output


@given(st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40)), min_size=1, max_size=60))
def test_events_stand_in_the_order_of_both_times(pairs: list[tuple[int, int]]) -> None:
    """The rule of hftbacktest's ``validate_event_order``: among those with a flag, its time never falls."""
    pairs.sort(key=lambda pair: pair[1])
    times = np.array(pairs, np.int64)
    events = feed_events(times[:, 0], times[:, 1])
    for flag, name in ((AT_EXCHANGE, "exch_ts"), (AT_LOCAL, "local_ts")):
        chosen = events[events["ev"] & flag != 0]
        assert (np.diff(chosen[name]) >= 0).all()
        found = zip(chosen["exch_ts"].tolist(), chosen["local_ts"].tolist(), strict=True)
        assert sorted(found) == sorted(pairs)


@pytest.fixture(scope="module")
def run(archive: Path) -> Path:
    return archive.parent / "race.csv"


def test_a_run_is_exported_as_its_archive_is(archive: Path, run: Path, tmp_path: Path) -> None:
    for options in ((), ("--path", "backbone"), ("--stream", "btcusdt@trade")):
        ours, theirs = (export(source, tmp_path / f"{source.name}-rows.csv", *options) for source in (archive, run))
        assert sorted(ours.read_text().splitlines()) == sorted(theirs.read_text().splitlines())
    feeds = [export(source, tmp_path / f"{source.name}.npz", "--path", "backbone") for source in (archive, run)]
    events = [np.load(feed)["data"] for feed in feeds]
    assert len(events[0]) > 100
    assert np.array_equal(*events)


def test_the_original_programs_own_run_is_exported(tmp_path: Path) -> None:
    file = tmp_path / "aws.csv"
    header = "sequence_id,binance_time,tokyo_time,frankfurt_time,latency_ms,backbone_latency_ms"
    file.write_text(
        f"{header}\n1,1704672345123,1704672345234000001,1704672345456000007,333.0,222.0\n"
        "2,1704672345223,1704672345334000001,1704672345556000009,333.0,222.0\n"
    )
    with np.load(export(file, tmp_path / "feed.npz", "--path", "aws")) as loaded:
        assert loaded["data"]["local_ts"].tolist() == [1704672345456000007, 1704672345556000009]
        assert loaded["data"]["exch_ts"].tolist() == [1704672345123000000, 1704672345223000000]
    with pa.ipc.open_file(export(file, tmp_path / "rows.arrow")) as reader:
        table = reader.read_all()
    assert table.column_names == [column.name for column in COLUMNS]
    assert table["end_to_end_ns"].to_pylist() == [333_000_000] * 2
    assert table["validity"].to_pylist() == ["ok"] * 2


def test_what_is_no_run_is_told(run: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "cut.csv").write_text(run.read_text()[:-9])
    for source, options, why in (
        (run, ("--path", "other"), "has no such rows of path 'other'; there are those of"),
        (run, ("--receiver", "x"), "is no archive"),
        (run, ("--from", "2030-01-01"), "no such rows"),
        (tmp_path / "empty", (), "no finished file of an archive in this folder; give an archive's"),
        (tmp_path / "cut.csv", (), "the last row is cut off"),
    ):
        result = CliRunner().invoke(main, ["export", str(source), str(tmp_path / "rows.csv"), *options])
        assert (result.exit_code, why in result.output.replace("\n", " ")) == (2, True), result.output
