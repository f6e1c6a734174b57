"""What others remove while a test looks must not end the test."""

import os
import shutil
from pathlib import Path

import pytest

from tests.looking import matching


def test_what_goes_while_one_looks_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("going", "staying"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "rows.csv").touch()
    (tmp_path / "file").touch()
    listed = os.listdir

    def listed_and_gone(place: Path) -> list[str]:
        names = listed(place)
        if place == tmp_path:
            shutil.rmtree(tmp_path / "going", ignore_errors=True)
        return names

    monkeypatch.setattr(os, "listdir", listed_and_gone)
    assert matching(tmp_path, "*/*.csv") == [tmp_path / "staying/rows.csv"]
    assert not (tmp_path / "going").exists()


def test_what_stays_is_found_as_by_glob(tmp_path: Path) -> None:
    for name in ("b/x/run.csv", "a/x/run.csv", "a/y/run.csv", "a/x/run.json"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    for pattern in ("*/x/*.csv", "*/x", "*/*/run.*", "a/x/run.csv", "none/*"):
        assert matching(tmp_path, pattern) == sorted(tmp_path.glob(pattern)), pattern
    assert matching(tmp_path / "absent", "*") == []
