"""The demo as a newcomer runs it."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from experiments.local.simulated import FAR_DELAY_MS, LINK_DELAY_MS


@pytest.mark.process
def test_the_demo_measures_what_it_injects_and_accounts_for_every_event(tmp_path: Path) -> None:
    folder = tmp_path / "results"
    command = [sys.executable, "-m", "experiments.main", "demo", "--duration", "8", "--output", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "events unaccounted for: 0." in done.stdout
    assert re.search(r"Injected: backbone leads by 20\.0 ms\. Measured: median lead", done.stdout)
    # Piped, it reads as lines.
    assert re.search(r"^ +\d+\.\d s  direct: \d+ events, p50 ", done.stdout, re.MULTILINE)

    results = json.loads((folder / "results.json").read_text())
    (race,) = results["race"]
    assert abs(race["lead_ms"]["median"] - (FAR_DELAY_MS - LINK_DELAY_MS)) < 2
    for path in results["paths"].values():
        assert path["sample_count"] > 300
        assert path["events_lost"] == 0
        # The exchange begins when all is up, so nothing has waited for the link.
        assert path["delayed"] == 0
    rows = (folder / "results.csv").read_text().splitlines()
    assert len(rows) == 1 + sum(path["events"] for path in results["paths"].values())
    assert not list(tmp_path.glob("results/.*"))


@pytest.mark.process
def test_a_second_demo_keeps_the_results_of_the_first(tmp_path: Path) -> None:
    for _run in range(2):
        command = [sys.executable, "-m", "experiments.main", "demo", "--duration", "2", "--output", str(tmp_path)]
        subprocess.run(command, capture_output=True, timeout=60, check=True)
    assert len(list(tmp_path.glob("results*.json"))) == 2
    assert len(list(tmp_path.glob("results*.csv"))) == 2


def test_an_unusable_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    command = [sys.executable, "-m", "experiments.main", "demo", "--output", str(tmp_path / "file" / "below")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("error: --output: ")
