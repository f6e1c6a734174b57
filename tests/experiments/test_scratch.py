"""Large temporary files go where there is room for them, and where the user says."""

import tempfile
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from daemons.errors import ResultsError
from experiments import scratch
from experiments.archive.engine import engine
from experiments.main import main
from experiments.results import columns
from experiments.results.columns import collected
from experiments.scratch import scratch_folder
from tests.experiments.made import arrivals, rows, write_rows


@pytest.fixture(autouse=True)
def nothing_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no variable of whoever runs the tests name a folder."""
    for name in ("TMPDIR", "TEMP", "TMP"):
        monkeypatch.delenv(name, raising=False)


def test_what_the_user_names_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert scratch_folder() == Path("/var/tmp")
    for name in ("TMP", "TEMP", "TMPDIR"):
        (tmp_path / name).mkdir()
        monkeypatch.setenv(name, str(tmp_path / name))
        assert scratch_folder() == tmp_path / name
    # As it is set to nothing, it is not set.
    monkeypatch.setenv("TMPDIR", "")
    assert scratch_folder() == tmp_path / "TEMP"


def test_without_a_folder_for_large_ones_there_is_still_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scratch, "_LARGE", tmp_path / "absent")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    assert scratch_folder() == tmp_path


def test_a_named_folder_that_cannot_be_used_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    for unusable in ("gone", "file"):
        monkeypatch.setenv("TMPDIR", str(tmp_path / unusable))
        with pytest.raises(ResultsError, match=f"{unusable}, which TMPDIR names for temporary files: is no folder"):
            scratch_folder()
    recorded = write_rows(tmp_path / "rows.csv", rows(arrivals(np.full(9, 100.0)), path="direct", link=False))
    done = CliRunner().invoke(main, ["compare", str(recorded), str(recorded)])
    assert done.exit_code == ResultsError.exit_code, done.output
    assert "create it, or set TMPDIR to another" in done.output.replace("\n", " ")


def test_columns_and_the_engine_use_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(columns, "_IN_MEMORY", 0)
    monkeypatch.setattr(scratch, "_LARGE", tmp_path)
    made: list[Path] = []
    temporary = tempfile.TemporaryFile

    def noted(*, dir: Path, **more: object) -> object:  # noqa: A002 the name in the standard library
        made.append(dir)
        return temporary(dir=dir, **more)  # type: ignore[call-overload]

    monkeypatch.setattr(tempfile, "TemporaryFile", noted)
    assert collected(np.int64, [np.arange(9)]).tolist() == list(range(9))
    assert made == [tmp_path]
    with engine() as connection:
        (spill,) = connection.execute("SELECT current_setting('temp_directory')").fetchall()
        assert Path(spill[0]).parent == tmp_path
    assert list(tmp_path.iterdir()) == []
