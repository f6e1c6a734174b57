"""The demo as a newcomer runs it."""

import asyncio
import bisect
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
from click.testing import CliRunner

from daemons.errors import LatencyError
from daemons.service.console.screen import figure
from daemons.service.extra import EXTRAS
from experiments.live.scrape import ScrapedPage
from experiments.local.demo import Demo
from experiments.local.programs import ProgramError, RunningProgram
from experiments.local.simulated import FAR_DELAY_MS, LINK_DELAY_MS, Injected
from experiments.local.view import table
from experiments.main import main


@pytest.mark.process
def test_the_demo_measures_what_it_injects_and_accounts_for_every_event(tmp_path: Path) -> None:
    folder = tmp_path / "results"
    command = [sys.executable, "-m", "experiments.main", "demo", "--duration", "8", "--output", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "events unaccounted for: 0." in done.stdout
    assert re.search(r"Injected: backbone leads by 20\.0 ms\. Measured: median lead", done.stdout)
    # Piped, it reads as lines.
    assert re.search(r"^ +\d+\.\d s  direct: \d+ events, p50 ", done.stdout, re.MULTILINE)

    results = json.loads((folder / "results.json").read_text())
    (race,) = results["race"]
    # By how much is the machine's own affair: where its relays are held up, they delay by more than they were told.
    assert FAR_DELAY_MS > LINK_DELAY_MS
    assert race["lead_ms"]["median"] > 0
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
    """Compare what was shown, live and at the end, with the rows of the events that were there by then.

    Between its families a page gives way to events (docs/monitoring.md), so a line's medians may be of any moment from
    that of its counts on, up to the counts of the next line.
    """
    live = [(int(one[0]), int(one[2]), (float(one[1]), float(one[3]), float(one[4]))) for one in _LINE.findall(shown)]
    assert live
    direct, backbone = results["paths"]["direct"], results["paths"]["backbone"]
    medians = (direct["median_latency_ms"], backbone["median_latency_ms"], results["race"][0]["lead_ms"]["median"])
    end = (direct["events"], backbone["events"], tuple(float(figure(median)) for median in medians))
    true = _true_medians(rows)
    for (first, second, told), (first_after, second_after, _told) in itertools.pairwise([*live, end, end]):
        moments = [
            figures
            for (of_direct, of_backbone), figures in true.items()
            if first <= of_direct <= first_after and second <= of_backbone <= second_after
        ]
        assert moments
        for value, possible in zip(told, zip(*moments, strict=True), strict=True):
            least, most = min(possible), max(possible)
            assert least - _stated_error(least) <= value <= most + _stated_error(most)


def _true_medians(rows: list[dict[str, str]]) -> dict[tuple[int, int], tuple[float, float, float]]:
    """Compute both medians and the median lead after each row, by how many there were of each path."""
    came: dict[str, dict[tuple[str, str], int]] = {"direct": {}, "backbone": {}}
    latencies: dict[str, list[float]] = {"direct": [], "backbone": []}
    leads: list[float] = []
    found = {}
    for row in rows:
        key, path = (row["stream"], row["event_id"]), row["path"]
        came[path][key] = int(row["frankfurt_time"])
        if text := row["end_to_end_latency_ms"]:
            bisect.insort(latencies[path], float(text))
        if all(key in seen for seen in came.values()):
            bisect.insort(leads, (came["direct"][key] - came["backbone"][key]) / 1e6)
        if leads and all(latencies.values()):
            medians = (_median(latencies["direct"]), _median(latencies["backbone"]), _median(leads))
            found[len(came["direct"]), len(came["backbone"])] = medians
    return found


def _median(ordered: list[float]) -> float:
    return ordered[math.ceil(len(ordered) / 2) - 1]


def _stated_error(value: float) -> float:
    """What docs/measurement.md says of a run's quantiles, 0.05 %, and half of the last digit shown."""
    return 0.0005 * abs(value) + 0.005 + 1e-6


async def _demo_of(folder: Path, *words: str) -> Demo:
    """Give a demo of which one program runs, that says it is ready and then does so."""
    says = "print('{\"ready\": true}', flush=True)"
    program = RunningProgram("timeit", "-n", "1", "-r", "1", "-s", says, *words)
    await program.start()
    demo = Demo(Injected(), folder)
    demo.receiver_metrics, demo.probe_metrics = "receiver", "probe"
    demo._https.append(program)
    return demo


def test_a_page_that_does_not_come_in_time_is_what_it_was_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = iter([None, 5, None, None, 7, None])

    async def fetch(address: str) -> ScrapedPage:
        if address != "receiver" or (count := next(answers)) is None:
            raise LatencyError(f"{address}: no metrics (no answer within 3 s); is the daemon running?")
        return ScrapedPage({"latency_receiver_events_total": {frozenset({("path", "direct")}): count}})

    monkeypatch.setattr("experiments.local.demo.fetch", fetch)

    async def work() -> None:
        demo = await _demo_of(tmp_path, "import time; time.sleep(600)")
        try:
            shown = [await demo.snapshot() for _page in range(6)]
            assert [one.count("events", "direct") for one in shown] == [0, 5, 5, 5, 7, 7]
            assert all(table(one, 1.0) for one in shown)
        finally:
            await demo.abort()

    asyncio.run(work())


def test_a_program_that_ends_by_itself_ends_the_demo_with_its_last_words(tmp_path: Path) -> None:
    async def work() -> None:
        demo = await _demo_of(tmp_path, "raise SystemExit('the disk is gone')")
        try:
            await demo._https[0].ended()
            with pytest.raises(ProgramError, match=r"timeit ended with code 1; its last words: .*the disk is gone"):
                await demo.snapshot()
        finally:
            await demo.abort()

    asyncio.run(work())


@pytest.mark.process
def test_a_second_demo_keeps_the_results_of_the_first(tmp_path: Path) -> None:
    for _run in range(2):
        command = [sys.executable, "-m", "experiments.main", "demo", "--duration", "2", "--output", str(tmp_path)]
        subprocess.run(command, capture_output=True, timeout=300, check=True)
    assert len(list(tmp_path.glob("results*.json"))) == 2
    assert len(list(tmp_path.glob("results*.csv"))) == 2


def test_without_its_extra_it_leaves_nothing_that_looks_like_a_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(EXTRAS, "demo", ("trustworthy",))
    done = CliRunner().invoke(main, ["demo", "--output", str(tmp_path / "results")])
    assert (done.exit_code, "trustworthy not installed; " in done.output) == (2, True)
    assert list(tmp_path.iterdir()) == []


def test_an_unusable_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    command = [sys.executable, "-m", "experiments.main", "demo", "--output", str(tmp_path / "file" / "below")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("error: --output: ")
