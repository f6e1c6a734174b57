from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from experiments.comparison.compute import compare
from experiments.comparison.figures import Options
from experiments.comparison.model import Comparison
from experiments.comparison.sides import choose_sides
from experiments.egress.sides import round_trip_side
from experiments.results.rows import load_rows
from experiments.results.series import Floats, Integers
from tests.experiments.made import HEADER, SEED_HEADER, START_NS, summary, write_rows, write_summary

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
    assert (found.first.time_step_ms, found.second.time_step_ms) == tuple(step / 1e6 for step in steps)
    assert found.first.error_bound_ms == pytest.approx(0.001 + steps[0] / 1e6)
    assert any("were brought to the coarser step" in caveat for caveat in found.caveats)


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
        assert series.steps_ns("end_to_end_ms") == {"btcusdt@trade": (step, 1)}
        whole = series.with_times_cut("end_to_end_ms", {"btcusdt@trade": (MILLISECOND, 1)})
        assert whole.steps_ns("end_to_end_ms") == {"btcusdt@trade": (MILLISECOND, 1)}
        expected = (series.arrival_ns - event_ns // MILLISECOND * MILLISECOND) / 1e6
        assert whole.end_to_end_ms == pytest.approx(expected, abs=1e-6)


def link_rows(event_ns: Integers, delay_ms: Floats, step_ns: int, stream: str = "btcusdt@trade") -> list[str]:
    """Write the rows of a link whose forwarder cuts its stamps to a step."""
    lines = []
    for number, (event, delay) in enumerate(zip(event_ns.tolist(), delay_ms.tolist(), strict=True), start=1):
        arrival, tokyo = event + round(delay * 1e6), event // step_ns * step_ns
        lines.append(
            f"{number},,{tokyo},{arrival},,{(arrival - tokyo) / 1e6:.6f},backbone,{stream},{number},,,kernel,ok,0"
        )
    return lines


def random_run(seed: int) -> tuple[Integers, Floats]:
    random = np.random.default_rng(seed)
    return START_NS + np.sort(random.integers(0, 60 * 10**9, 3000)), 100 + random.normal(size=3000) * 0.2


def with_summary(folder: Path, name: str, **path: object) -> Path:
    content = summary(sample_count=3000)
    content["clock"] |= {"error_bound_ms": 0.001}
    content["paths"]["backbone"]["link"]["peer_clock"] = content["clock"]
    content["paths"]["backbone"] |= path
    return write_summary(folder / f"{name}.json", content)


def test_each_stream_of_a_path_has_a_step_of_its_own(tmp_path: Path) -> None:
    """One stream in microseconds must not hide that the other, on one side, is in milliseconds."""
    sources = []
    for index, step in enumerate((MILLISECOND, MICROSECOND)):
        event_ns, delay = random_run(index)
        lines = told(event_ns, delay, step)
        other, its = random_run(index + 7)
        lines += [line.replace("btcusdt@trade", "ethusdt@trade") for line in told(other, its, MICROSECOND)]
        lines.sort(key=lambda line: int(line.split(",")[3]))
        write_rows(tmp_path / f"{index}.csv", lines)
        content = summary(sample_count=6000)
        content["clock"] |= {"error_bound_ms": 0.001}
        content["paths"] = {"direct": {**content["paths"]["backbone"], "kind": "feed", "link": None, "backbone": None}}
        content["primary_path"] = "direct"
        sources.append(write_summary(tmp_path / f"{index}.json", content))
    found = compare(*choose_sides(sources), QUICK)
    assert not any(figure.claim for figure in found.figures), found.verdict.sentence
    assert found.figure("median").difference == pytest.approx(0, abs=0.06)
    (caveat,) = (caveat for caveat in found.caveats if "coarser step" in caveat)
    assert "btcusdt@trade" in caveat
    assert "ethusdt@trade" not in caveat


def test_the_step_of_a_forwarders_stamps_is_no_difference_between_paths_either(tmp_path: Path) -> None:
    sources = []
    for index, step in enumerate((MILLISECOND, 1)):
        write_rows(tmp_path / f"{index}.csv", link_rows(*random_run(index), step))
        sources.append(with_summary(tmp_path, str(index)))
    found = compare(*choose_sides(sources), Options(repetitions=300, metric="backbone_ms"))
    assert not any(figure.claim for figure in found.figures), found.verdict.sentence
    assert found.figure("median").difference == pytest.approx(0, abs=0.06)
    assert (found.first.time_step_ms, found.second.time_step_ms) == (1.0, 1e-6)


def test_where_times_cannot_be_brought_to_one_step_the_comparison_is_refused(tmp_path: Path) -> None:
    sources = [
        with_summary(tmp_path, "coarse", event_time_steps_ms={"btcusdt@trade": 1.0}),
        with_summary(tmp_path, "fine", event_time_steps_ms={"btcusdt@trade": 0.001}, median_latency_ms=214.5),
    ]
    found = compare(*choose_sides(sources), QUICK)
    assert found.verdict.outcome == "refused"
    assert "in steps of 0.001 ms" in found.verdict.sentence
    assert "cannot be brought to one step" in found.verdict.sentence
    same = with_summary(tmp_path, "same", event_time_steps_ms={"btcusdt@trade": 1.0}, median_latency_ms=214.5)
    assert compare(*choose_sides([sources[0], same]), QUICK).verdict.outcome != "refused"


def test_the_step_of_another_programs_file_is_that_of_its_milliseconds(tmp_path: Path) -> None:
    event_ns, delay = random_run(1)
    lines = [
        f"{number},{event // 10**6},{event},{event + round(late * 1e6)},{(event % 10**6) / 1e6 + late:.6f},{late:.6f}"
        for number, (event, late) in enumerate(zip(event_ns.tolist(), delay.tolist(), strict=True), start=1)
    ]
    series = load_rows(write_rows(tmp_path / "seed.csv", lines, SEED_HEADER), "x")["x"]
    assert series.steps_ns("end_to_end_ms") == {"": (MILLISECOND, 1)}
    assert series.steps_ns("backbone_ms") == {"": (1, 1)}


@pytest.mark.parametrize("write", [np.floor, np.rint])
def test_durations_written_in_different_steps_show_no_difference_below_the_coarser(
    write: Callable[..., Floats],
) -> None:
    """Totals of requests, one file in whole milliseconds, the other in microseconds."""
    random = np.random.default_rng(3)
    coarse = write(80 + random.normal(size=2000) * 2)
    fine = np.rint((80 + random.normal(size=2000) * 2) * 1e3) / 1e3
    found = compare(
        round_trip_side("coarse", "warm", Path("coarse"), coarse),
        round_trip_side("fine", "warm", Path("fine"), fine),
        Options(repetitions=300, round_trip=True),
    )
    assert found.verdict.outcome == "refused"
    assert (found.first.time_step_ms, found.second.time_step_ms) == (1.0, 0.001)
    slower = compare(
        round_trip_side("coarse", "warm", Path("coarse"), coarse),
        round_trip_side("fine", "warm", Path("fine"), fine + 5),
        Options(repetitions=300, round_trip=True),
    )
    assert slower.verdict.outcome == "difference"
