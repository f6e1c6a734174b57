"""The demo as a newcomer runs it."""

import csv
import itertools
import json
import math
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from daemons.service.screen import figure
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
    with (folder / "results.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == sum(path["events"] for path in results["paths"].values())
    assert not list(tmp_path.glob("results/.*"))
    _medians_and_leads_agree(done.stdout, rows, results)


_LINE = re.compile(
    r"direct: (\d+) events, p50 ([\d.]+) ms.*backbone: (\d+) events, p50 ([\d.]+) ms.*lead (-?[\d.]+) ms", re.MULTILINE
)


def _medians_and_leads_agree(shown: str, rows: list[dict[str, str]], results: dict[str, Any]) -> None:
    """Compare what was shown, live and at the end, with the rows of the events that were there by then."""
    live = [(int(one[0]), int(one[2]), (float(one[1]), float(one[3]), float(one[4]))) for one in _LINE.findall(shown)]
    assert live
    direct, backbone = results["paths"]["direct"], results["paths"]["backbone"]
    medians = (direct["median_latency_ms"], backbone["median_latency_ms"], results["race"][0]["lead_ms"]["median"])
    end = tuple(float(figure(median)) for median in medians)
    for first, second, told in [*live, (direct["events"], backbone["events"], end)]:
        true = _true_medians(rows, first, second)
        errors = [_stated_error(value) for value in true]
        assert list(told) == [pytest.approx(value, abs=error) for value, error in zip(true, errors, strict=True)]
        # The difference of medians that one reads off, and the median of differences beside it.
        off = abs(true[0] - true[1] - true[2])
        assert abs(told[0] - told[1] - told[2]) <= off + sum(errors)


def _true_medians(rows: list[dict[str, str]], of_direct: int, of_backbone: int) -> tuple[float, float, float]:
    """Compute both medians and the median lead of as many rows of each path."""
    direct = list(itertools.islice((row for row in rows if row["path"] == "direct"), of_direct))
    backbone = list(itertools.islice((row for row in rows if row["path"] == "backbone"), of_backbone))
    assert (len(direct), len(backbone)) == (of_direct, of_backbone)
    came = {(row["stream"], row["event_id"]): int(row["frankfurt_time"]) for row in backbone}
    leads = [
        (int(row["frankfurt_time"]) - came[key]) / 1e6
        for row in direct
        if (key := (row["stream"], row["event_id"])) in came
    ]
    one, other = (
        _median([float(text) for row in own if (text := row["end_to_end_latency_ms"])]) for own in (direct, backbone)
    )
    return one, other, _median(leads)


def _median(values: list[float]) -> float:
    return sorted(values)[math.ceil(len(values) / 2) - 1]


def _stated_error(value: float) -> float:
    """What docs/measurement.md says of a run's quantiles, 0.05 %, and half of the last digit shown."""
    return 0.0005 * abs(value) + 0.005 + 1e-6


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
