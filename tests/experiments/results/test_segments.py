"""An archive says what the CSV file of the same rows says; only files that can have an answer are opened."""

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from daemons.formats.archive.layout import MINUTE_NS, start_of
from experiments.archive.selection import Selection, segments_of
from experiments.errors import InputError
from experiments.main import main
from experiments.results.run import load_run
from experiments.results.series import COLUMNS
from tests.experiments.archived import archive_of
from tests.experiments.comparison.pinned_runs import PINNED
from tests.experiments.made import START_NS, arrivals, rows, write_race, write_rows

HOUR_NS = 60 * MINUTE_NS


@pytest.fixture
def race(tmp_path: Path) -> Path:
    return PINNED["race"][0](tmp_path)[0]


def test_the_series_are_those_of_the_csv_file(tmp_path: Path, race: Path) -> None:
    written = archive_of(tmp_path / "archive", [race], minutes=1)
    expected, found = load_run(race), load_run(tmp_path / "archive")
    assert len(written) == 2
    assert sorted(found.series) == sorted(expected.series)
    for name, one in expected.series.items():
        other = found.series[name]
        order = np.argsort(one.arrival_ns, kind="stable")
        for column in COLUMNS.keys() - {"stream"}:
            np.testing.assert_array_equal(getattr(other, column), getattr(one, column)[order], column)
        assert [other.streams[code] for code in other.stream] == [one.streams[code] for code in one.stream[order]]
        assert (other.invalid, other.delayed, other.is_feed) == (one.invalid, one.delayed, one.is_feed)
    assert found.default_path() == "backbone"


def test_a_comparison_has_the_same_figures(tmp_path: Path, race: Path) -> None:
    archive_of(tmp_path / "archive", [race], minutes=1)
    told = [
        json.loads(CliRunner().invoke(main, ["compare", str(source), "--json"], catch_exceptions=False).stdout)
        for source in (race, tmp_path / "archive")
    ]
    for one in told:
        # What is known of the run beside its rows is another's to say.
        for side in ("first", "second"):
            for beside in ("source", "clock_bound_ms", "error_bound_ms"):
                del one[side][beside]
    assert told[0] == told[1]


def month(folder: Path) -> list[Path]:
    """A month of two paths, an event every ten minutes, in files of an hour."""
    made = arrivals(np.full(30 * 24 * 6, 100.0), spacing_ns=10 * MINUTE_NS)
    file = write_race(folder / "month.csv", made, arrivals(np.full(30 * 24 * 6, 60.0), spacing_ns=10 * MINUTE_NS))
    return archive_of(folder / "archive", [file], minutes=60)


def test_of_a_month_of_which_an_hour_is_asked_only_its_files_are_opened(tmp_path: Path) -> None:
    files = month(tmp_path)
    hour = start_of(START_NS, HOUR_NS) + 400 * HOUR_NS
    asked = Selection(hour, hour + HOUR_NS)
    chosen = [file for _name, file in segments_of(tmp_path / "archive", asked)]
    assert (len(files), len(chosen)) == (1442, 2)
    for file in set(files) - set(chosen):
        file.write_bytes(b"whoever opens this fails")
    found = load_run(tmp_path / "archive", selection=asked)
    assert {name: len(one) for name, one in found.series.items()} == {"direct": 6, "backbone": 6}
    with pytest.raises(InputError, match=r"\.parquet: cannot be read: .*fetch it again, or remove it"):
        load_run(tmp_path / "archive", selection=Selection(hour, hour + HOUR_NS + 1))


def test_of_other_paths_no_file_is_opened(tmp_path: Path) -> None:
    made = arrivals(np.full(9, 100.0))
    lines = [line for path in ("a", "b", "a/b c") for line in rows(made, path=path, link=True)]
    files = archive_of(tmp_path / "archive", [write_rows(tmp_path / "r.csv", lines)])
    next(file for file in files if file.parent.name == "path=b").write_bytes(b"no file of ours")
    run = load_run(tmp_path / "archive", paths=("a", "a/b c"))
    assert sorted(run.series) == ["a", "a/b c"]


def test_moments_and_streams_select_rows_of_any_source(tmp_path: Path, race: Path) -> None:
    archive_of(tmp_path / "archive", [race], minutes=1)
    asked = Selection(START_NS + 10**10, START_NS + 2 * 10**10, ("btcusdt@trade",))
    found = [load_run(source, selection=asked).series["backbone"] for source in (race, tmp_path / "archive")]
    assert len(found[0]) == len(found[1]) > 100
    np.testing.assert_array_equal(np.sort(found[0].arrival_ns), found[1].arrival_ns)
    for one in found:
        assert {one.streams[code] for code in np.unique(one.stream)} == {"btcusdt@trade"}
        assert START_NS + 10**10 <= one.arrival_ns.min() <= one.arrival_ns.max() < START_NS + 2 * 10**10


def test_each_life_of_a_receiver_is_a_run_of_its_own(tmp_path: Path) -> None:
    """What a forwarder numbered while no receiver ran is lost on no path."""
    lines = rows(arrivals(np.full(3000, 100.0), spacing_ns=MINUTE_NS // 20), path="x", link=True)
    for session, part in (("aa", lines[:1000]), ("bb", lines[2000:])):
        archive_of(tmp_path / "archive", [write_rows(tmp_path / f"{session}.csv", part)], session=session)
    series = load_run(tmp_path / "archive").series["x"]
    assert (len(series), series.parts) == (2000, (0, 1000))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--from", "2031-01-01"], "no such rows in the archive; give another --from, --to, --path or --stream"),
        (["--stream", "nothing"], "no such rows in the archive"),
        (["--from", "yesterday"], "'yesterday' is no moment; write 2026-11-29, or 2026-11-29T14:00 (UTC)"),
    ],
)
def test_what_cannot_be_answered_is_said(tmp_path: Path, race: Path, options: list[str], message: str) -> None:
    archive_of(tmp_path / "archive", [race])
    result = CliRunner().invoke(main, ["compare", str(tmp_path / "archive"), *options])
    assert result.exit_code == 2
    assert message in result.output


def test_a_report_takes_an_archive(tmp_path: Path, race: Path) -> None:
    archive_of(tmp_path / "archive", [race], minutes=1)
    moment = ["--from", "2025-11-20T00:53:20Z", "--to", "2025-11-20T02:00:00+00:30"]
    result = CliRunner().invoke(main, ["report", str(tmp_path / "archive"), *moment], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    assert "<svg" in (tmp_path / "archive" / "report.html").read_text()
