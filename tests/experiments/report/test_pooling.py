from pathlib import Path

import numpy as np
import pytest

from experiments.report.pooling import pool_runs
from experiments.results.rows import load_rows
from experiments.results.run import Run
from tests.experiments.made import arrivals, rows, write_race, write_rows


def run_from(file: Path) -> Run:
    return Run(file, None, load_rows(file, file.stem), file)


@pytest.fixture
def races(tmp_path: Path) -> list[Run]:
    made = [(arrivals(np.full(50, 60.0)), arrivals(np.full(50, 40.0))) for _ in range(2)]
    files = [write_race(tmp_path / f"{n}.csv", *both) for n, both in enumerate(made)]
    return [run_from(file) for file in files]


def test_runs_put_together_remember_where_each_begins(races: list[Run]) -> None:
    first, second = pool_runs(Path(), races)
    for side in (first, second):
        assert side.series is not None
        assert len(side.series) == 100
        assert side.series.parts == (0, 50)
    assert (first.path, second.path) == ("direct", "backbone")


def test_a_race_in_which_a_path_stayed_silent_is_left_out(tmp_path: Path, races: list[Run]) -> None:
    silent = write_rows(tmp_path / "silent.csv", rows(arrivals(np.full(50, 60.0)), path="direct", link=False))
    first, _second = pool_runs(tmp_path, [*races, run_from(silent)])
    assert first.series is not None
    assert len(first.series) == 100
