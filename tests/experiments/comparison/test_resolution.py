from pathlib import Path

import numpy as np
import pytest

from experiments.comparison.compute import compare
from experiments.comparison.figures import Options
from experiments.comparison.model import Comparison
from experiments.comparison.sides import choose_sides
from experiments.results.rows import load_rows
from experiments.results.series import Floats, Integers
from tests.experiments.made import HEADER, START_NS, summary, write_rows, write_summary

QUICK = Options(repetitions=300)
MILLISECOND, MICROSECOND = 1_000_000, 1_000


def told(event_ns: Integers, delay_ms: Floats, step_ns: int, path: str = "direct") -> list[str]:
    """Write the rows of a feed whose exchange cuts its event times to a step."""
    lines = []
    for number, (event, delay) in enumerate(zip(event_ns.tolist(), delay_ms.tolist(), strict=True), start=1):
        arrival = event + round(delay * 1e6)
        event_told = event // step_ns * step_ns
        lines.append(
            f"{number},{event_told // 10**6},,{arrival},{(arrival - event_told) / 1e6:.6f},,"
            f"{path},btcusdt@trade,{70_000 + number},{event_told},,kernel,ok,0"
        )
    return lines


def compared(folder: Path, steps: tuple[int, int], later_ms: float = 0.0) -> Comparison:
    """Compare two runs of one delay (and ``later_ms`` on the second) whose event times are told in different steps."""
    sources = []
    for index, step in enumerate(steps):
        random = np.random.default_rng(index)
        event_ns = START_NS + np.sort(random.integers(0, 60 * 10**9, 3000))
        delay = 100 + random.normal(size=3000) * 0.2 + index * later_ms
        write_rows(folder / f"{index}.csv", told(event_ns, delay, step))
        content = summary(sample_count=3000)
        content["clock"] |= {"error_bound_ms": 0.001}
        content["paths"] = {"direct": {**content["paths"]["backbone"], "kind": "feed", "link": None, "backbone": None}}
        content["primary_path"] = "direct"
        sources.append(write_summary(folder / f"{index}.json", content))
    return compare(*choose_sides(sources), QUICK)


@pytest.mark.parametrize("steps", [(MICROSECOND, MILLISECOND), (MILLISECOND, MICROSECOND), (1, MILLISECOND)])
def test_what_an_event_time_was_cut_to_is_no_difference_between_paths(tmp_path: Path, steps: tuple[int, int]) -> None:
    found = compared(tmp_path, steps)
    assert not any(figure.claim for figure in found.figures), found.verdict.sentence
    median, deviation = found.figure("median"), found.figure("stddev")
    assert median.difference == pytest.approx(0, abs=0.06)
    assert deviation.relative == pytest.approx(0, abs=0.06)
    assert (found.first.event_time_step_ms, found.second.event_time_step_ms) == tuple(step / 1e6 for step in steps)
    assert any("was brought to the coarser step" in caveat for caveat in found.caveats)


@pytest.mark.parametrize("steps", [(MICROSECOND, MILLISECOND), (MILLISECOND, MILLISECOND)])
def test_a_true_difference_is_found_at_the_coarser_step(tmp_path: Path, steps: tuple[int, int]) -> None:
    found = compared(tmp_path, steps, later_ms=0.4)
    assert found.figure("median").claim
    assert found.figure("median").difference == pytest.approx(0.4, abs=0.06)


def test_equal_fine_steps_change_nothing_and_need_no_word(tmp_path: Path) -> None:
    found = compared(tmp_path, (MICROSECOND, MICROSECOND))
    assert found.figure("mean").first == pytest.approx(100.0, abs=0.02)
    assert not any("event times" in caveat for caveat in found.caveats)


def test_the_step_is_what_the_event_times_show(tmp_path: Path) -> None:
    event_ns = START_NS + np.arange(50) * 1_000_100
    delay = np.full(50, 100.0)
    for step in (MILLISECOND, MICROSECOND, 1):
        if step == 1:
            event_ns = event_ns + 7
        file = write_rows(tmp_path / "r.csv", told(event_ns, delay, step), HEADER)
        series = load_rows(file, "x")["direct"]
        assert series.event_time_step_ns == step
        whole = series.with_event_times_cut(MILLISECOND)
        assert whole.event_time_step_ns == MILLISECOND
        expected = (series.arrival_ns - event_ns // MILLISECOND * MILLISECOND) / 1e6
        assert whole.end_to_end_ms == pytest.approx(expected, abs=1e-6)
