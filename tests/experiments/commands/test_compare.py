import os
import shlex
import subprocess
import sys
from pathlib import Path

import msgspec
import numpy as np
import pytest
from click.testing import CliRunner

from experiments.comparison.model import Comparison
from experiments.main import main
from tests.experiments.made import arrivals, rows, summary, write_race, write_rows, write_summary
from tests.schemas import conforming


@pytest.fixture
def race(tmp_path: Path) -> Path:
    random = np.random.default_rng(1)
    direct, backbone = 215 + random.normal(size=400) * 8, 100 + random.normal(size=400) * 4
    return write_race(tmp_path / "race.csv", arrivals(direct), arrivals(backbone))


def test_prints_the_verdict_first_and_then_the_figures(race: Path) -> None:
    result = CliRunner().invoke(main, ["compare", str(race)])
    assert result.exit_code == 0, result.output
    lines = result.output.splitlines()
    assert lines[0].startswith("backbone has events 11")
    assert [line.split("  ")[0] for line in lines if line.startswith(("mean", "p95", "loss"))] == [
        "mean",
        "p95",
        "loss, %",
    ]


def test_json_holds_the_same_and_is_the_same_for_the_same_seed(race: Path) -> None:
    outputs = [CliRunner().invoke(main, ["compare", str(race), "--json", "--seed", "7"]).output for _ in range(2)]
    assert outputs[0] == outputs[1]
    conforming(outputs[0], "experiment-compare")
    found = msgspec.json.decode(outputs[0], type=Comparison)
    assert found.race is not None
    assert found.race.pairs == 400
    assert found.verdict.outcome == "difference"


def test_unusable_input_ends_with_one_line_and_code_2(tmp_path: Path) -> None:
    (tmp_path / "r.csv").write_text("")
    result = CliRunner().invoke(main, ["compare", str(tmp_path / "r.csv")])
    assert result.exit_code == 2
    assert result.output.startswith(f"error: {tmp_path / 'r.csv'}:1: the file is empty")


def test_clocks_that_do_not_allow_the_comparison_end_with_code_3(tmp_path: Path) -> None:
    for name in "ab":
        write_rows(tmp_path / f"{name}.csv", rows(arrivals(np.full(50, 100.0)), path="backbone", link=True))
        write_summary(tmp_path / f"{name}.json", summary(sample_count=50))
    result = CliRunner().invoke(main, ["compare", str(tmp_path / "a.json"), str(tmp_path / "b.json")])
    assert result.exit_code == 3
    why = "the medians differ by 0.000 ms, and the clocks are known only to 0.600 ms together"
    # Once: on a terminal both streams are one.
    assert result.output.startswith(f"refused: {why}")
    assert result.output.count(why) == 1
    as_json = CliRunner().invoke(main, ["compare", str(tmp_path / "a.json"), str(tmp_path / "b.json"), "--json"])
    assert as_json.exit_code == 3
    assert as_json.stderr.startswith(f"error: {why}")


def test_import_prints_what_was_published_and_why_it_was_wrong(egress_runs: Path) -> None:
    result = CliRunner().invoke(main, ["import", str(egress_runs)])
    assert result.exit_code == 0, result.output
    assert "cold request among warm: line 1 of latencies_keepalive.txt opened the connection" in result.output
    assert "mixed runs: the samples of this run do not give 8.31 ms" in result.output
    assert "via Tokyo (pinned) is slower than direct from Singapore by 3.96 ms" in result.output


def test_import_as_json(egress_runs: Path) -> None:
    result = CliRunner().invoke(main, ["import", str(egress_runs), "--json", "--reference", "20251022-022358-tokyo"])
    content = conforming(result.output, "experiment-import")
    assert content["runs"][0]["run"] == "20251022-020050"
    assert {one["first"]["label"] for one in content["comparisons"]} == {"from Tokyo"}


def ended(race: Path, output: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = f"{shlex.join([sys.executable, '-m', 'experiments.main', 'compare', str(race)])} {output}"
    settings = {**os.environ, "PYTHONUNBUFFERED": "1", **environment}
    return subprocess.run(["bash", "-c", command], env=settings, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_what_an_encoding_lacks_is_written_plainly(encoding: str, race: Path) -> None:
    done = ended(race, "", PYTHONIOENCODING=encoding, PYTHONUTF8="0")
    assert (done.returncode, done.stderr) == (0, "")
    assert "backbone has events 11" in done.stdout


@pytest.mark.parametrize(("output", "code"), [("| head -1", 0), ("> /dev/full", 5)])
def test_a_reader_that_has_enough_and_a_full_disk_are_no_traceback(output: str, code: int, race: Path) -> None:
    done = ended(race, output)
    assert done.returncode == code
    assert "Traceback" not in done.stderr
    assert done.stderr.startswith("error: output cannot be written: No space left" if code else "")
