import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from experiments.errors import InputError
from experiments.results.run import find_runs, load_run
from tests.experiments.made import arrivals, rows, summary, write_rows, write_summary


def both_files(folder: Path, stem: str) -> Path:
    write_rows(folder / f"{stem}.csv", rows(arrivals(np.full(9, 100.0)), path="backbone", link=True))
    return write_summary(folder / f"{stem}.json", summary())


def test_the_csv_beside_a_json_belongs_to_it_and_the_other_way_round(tmp_path: Path) -> None:
    both_files(tmp_path, "r")
    for name in ("r.json", "r.csv"):
        run = load_run(tmp_path / name)
        assert run.summary is not None
        assert len(run.series["backbone"]) == 9
        assert run.path_names() == ["backbone"]


def test_a_json_alone_is_a_run_without_rows(tmp_path: Path) -> None:
    run = load_run(write_summary(tmp_path / "r.json", summary()))
    assert run.series == {}
    assert run.default_path() == "backbone"


def test_a_csv_alone_is_named_after_its_link(tmp_path: Path) -> None:
    lines = rows(arrivals(np.full(3, 9.0)), path="feed", link=False) + rows(
        arrivals(np.full(3, 5.0)), path="wire", link=True
    )
    assert load_run(write_rows(tmp_path / "r.csv", lines)).default_path() == "wire"


def test_a_folder_stands_for_the_one_run_in_it(tmp_path: Path) -> None:
    (tmp_path / "deeper").mkdir()
    both_files(tmp_path / "deeper", "r")
    write_summary(tmp_path / "manifest.json", {"host": "frankfurt"})
    assert load_run(tmp_path).source == tmp_path / "deeper" / "r.json"
    both_files(tmp_path, "other")
    assert len(find_runs(tmp_path)) == 2
    with pytest.raises(InputError, match=r"holds 2 runs \(deeper/r\.json, other\.json\)"):
        load_run(tmp_path)


def test_what_is_no_file_is_no_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    both_files(tmp_path, "r")
    for suffix in (".json", ".csv"):
        (tmp_path / f"folder{suffix}").mkdir()
        (tmp_path / f"link{suffix}").symlink_to("nowhere")
        # Whoever opens it waits for a writer.
        os.mkfifo(tmp_path / f"pipe{suffix}")
    assert find_runs(tmp_path) == [tmp_path / "r.json"]
    # One goes between the look and the opening, as a file that a run writes and renames.
    monkeypatch.setattr(Path, "is_file", lambda path: not path.name.startswith(("folder", "pipe")))
    assert find_runs(tmp_path) == [tmp_path / "r.json"]
    monkeypatch.setattr(Path, "is_file", lambda path: not path.name.startswith("pipe"))
    with pytest.raises(InputError, match=r"folder\.json: cannot be read: Is a directory; move it elsewhere"):
        find_runs(tmp_path)


def test_other_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"neither \.json nor \.csv"):
        load_run(write_rows(tmp_path / "results.txt", []))


def test_of_a_run_that_was_killed_the_rows_are_used(tmp_path: Path) -> None:
    both_files(tmp_path, "r").write_text('{\n  "complete": false\n}\n')
    run = load_run(tmp_path)
    assert run.unfinished
    assert run.summary is None
    assert len(run.series["backbone"]) == 9
    (tmp_path / "r.csv").unlink()
    with pytest.raises(InputError, match=r"r\.json:1: the run has not ended, or was killed"):
        load_run(tmp_path / "r.json")


def test_an_empty_json_file_is_a_run_s_beginning_or_where_our_own_output_goes(tmp_path: Path) -> None:
    file = both_files(tmp_path, "r")
    file.write_bytes(b"")
    assert load_run(tmp_path / "r.csv").unfinished
    ask = f"from experiments.results.run import load_run; print(load_run(Path({str(tmp_path / 'r.csv')!r})).unfinished)"
    with file.open("w") as output:
        subprocess.run([sys.executable, "-c", f"from pathlib import Path; {ask}"], stdout=output, check=True)
    assert file.read_text() == "False\n"


def test_a_table_of_another_kind_beside_the_json_file_is_left_alone(tmp_path: Path) -> None:
    file = write_summary(tmp_path / "r.json", summary())
    (tmp_path / "r.csv").write_text("date,price\n2025-01-01,7\n")
    run = load_run(file)
    assert run.summary is not None
    assert run.series == {}


def test_a_missing_file_is_called_missing(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        load_run(tmp_path / "results")


def test_a_table_beside_the_json_file_is_known_by_its_columns_however_they_are_written(tmp_path: Path) -> None:
    file = write_summary(tmp_path / "r.json", summary())
    header = 'binance_time, sequence_id,"tokyo_time",frankfurt_time,latency_ms,backbone_latency_ms'
    write_rows(tmp_path / "r.csv", ["1704672345123,1,1704672345234000000,1704672345456000000,333.0,222.0"], header)
    assert len(load_run(file).series["backbone"]) == 1
