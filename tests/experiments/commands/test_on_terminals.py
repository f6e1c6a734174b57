"""What people see of the commands: nothing is cut, no word is broken, and nothing is said twice."""

import json
import re
from pathlib import Path

import pytest

from tests.terminal import Shown, on_terminal, program

pytestmark = pytest.mark.process

EXPERIMENT = "experiments.main"
WIDTHS = [60, 80, 140]


def whole(shown: Shown) -> None:
    """Nothing is cut, and no line leaves it to the terminal where to break it."""
    assert "…" not in shown.text
    assert shown.too_long == []


@pytest.mark.parametrize("width", WIDTHS)
def test_a_simulated_run_and_its_comparison(width: int, tmp_path: Path) -> None:
    flags = ["--simulator", "--duration", "2", "--rehearsal", "1s", "--output", "run"]
    run = on_terminal(program(EXPERIMENT, "run", *flags), width, cwd=tmp_path)
    whole(run)
    manifest = json.loads((tmp_path / "run" / "manifest.json").read_text())
    verdict = manifest["verdict"].split()
    assert " ".join(verdict) in " ".join(run.text.split())
    assert " ".join(run.text.split()).count(" ".join(verdict)) == 1
    # It is no news that a simulation has begun.
    assert "waited in the forwarder" not in run.text
    (results,) = (tmp_path / "run").glob("*/results.json")
    assert json.loads(results.read_text())["paths"]["backbone"]["delayed"] == 0

    compared = on_terminal(program(EXPERIMENT, "compare", "run"), width, cwd=tmp_path)
    whole(compared)
    median = json.loads(results.read_text())["paths"]["backbone"]["median_latency_ms"]
    assert re.search(r"\b\d+\.\d{2,3}\b", compared.text)
    assert f"{median:.0f}"[:2] in compared.text


@pytest.mark.parametrize("width", WIDTHS)
def test_the_demo(width: int, tmp_path: Path) -> None:
    shown = on_terminal(program(EXPERIMENT, "demo", "--duration", "2s", "--output", "found"), width, cwd=tmp_path)
    assert shown.code == 0
    whole(shown)
    assert "Injected: backbone leads by 20.0 ms." in " ".join(shown.text.split())
    assert re.search(r"race after \d+ s", shown.text)


@pytest.mark.parametrize("width", WIDTHS)
def test_an_error_breaks_between_words(width: int, tmp_path: Path) -> None:
    shown = on_terminal(program(EXPERIMENT, "compare", "there-is-no-such-file"), width, cwd=tmp_path)
    assert shown.code == 2
    whole(shown)
    assert " ".join(shown.text.split()).startswith("error: there-is-no-such-file: no such file; ")
