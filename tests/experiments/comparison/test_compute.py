from pathlib import Path
from typing import Any

import numpy as np
import pytest

from daemons.errors import ConfigError
from experiments.comparison.compute import compare
from experiments.comparison.figures import Options
from experiments.comparison.model import Comparison
from experiments.comparison.sides import choose_sides
from experiments.errors import InputError
from experiments.results.run import find_runs, load_run
from experiments.results.series import Floats
from tests.experiments.made import arrivals, rows, summary, write_race, write_rows, write_summary

QUICK = Options(repetitions=300)


def noise(count: int, seed: int, scale: float = 1.0) -> Floats:
    return np.random.default_rng(seed).normal(size=count) * scale


def two_runs(folder: Path, first: Floats, second: Floats, **clock: float | None) -> Comparison:
    """Compare two link runs; ``clock`` sets the error bound of every clock in both."""
    sources = []
    for name, delay in (("a", first), ("b", second)):
        write_rows(folder / f"{name}.csv", rows(arrivals(delay), path="backbone", link=True))
        content = summary(sample_count=len(delay))
        content["clock"] = content["clock"] | clock
        sources.append(write_summary(folder / f"{name}.json", content))
    return compare(*choose_sides(sources), QUICK)


def test_a_slower_run_is_called_slower(tmp_path: Path) -> None:
    found = two_runs(tmp_path, 100 + noise(2000, 1), 121.4 + noise(2000, 2))
    assert found.verdict.outcome == "difference"
    assert found.verdict.sentence.startswith("b is slower than a by 21.4 ms in the median (95 % CI ")
    assert found.figure("median").claim
    assert not found.figure("stddev").claim
    assert found.clock.bound_ms == pytest.approx(0.6)


def test_a_difference_smaller_than_the_clocks_allow_is_refused(tmp_path: Path) -> None:
    found = two_runs(tmp_path, 100 + noise(2000, 1), 101.4 + noise(2000, 2, 0.5), error_bound_ms=0.8)
    assert found.verdict.outcome == "refused"
    assert "differ by 1.4" in found.verdict.sentence
    assert "clocks are known only to 1.60 ms together" in found.verdict.sentence
    assert "jitter (standard deviation) 50 % lower" in found.verdict.sentence


def test_the_backbone_figure_rests_on_four_clocks(tmp_path: Path) -> None:
    write_rows(tmp_path / "a.csv", rows(arrivals(100 + noise(500, 1)), path="backbone", link=True))
    source = write_summary(tmp_path / "a.json", summary(sample_count=500))
    first, _ = choose_sides([source, write_summary(tmp_path / "b.json", summary())])
    assert first.clock_bound_ms("end_to_end_ms") == 0.3
    assert first.clock_bound_ms("backbone_ms") == 0.6


def test_an_unsynchronized_clock_is_no_ground_for_a_verdict(tmp_path: Path) -> None:
    found = two_runs(tmp_path, 100 + noise(500, 1), 150 + noise(500, 2), synchronized=False)
    assert found.clock.refused == "a clock of a was not synchronized during its run"


def test_unknown_clock_bounds_are_said_to_be_unknown(tmp_path: Path) -> None:
    found = two_runs(tmp_path, 100 + noise(500, 1), 150 + noise(500, 2), error_bound_ms=None)
    assert found.verdict.outcome == "difference"
    assert found.caveats[0].startswith("how far the clocks behind a and b were off is not recorded")


def race(folder: Path, direct: Floats, backbone: Floats, **options: bool) -> Comparison:
    file = write_race(folder / "race.csv", arrivals(direct), arrivals(backbone), **options)
    return compare(*choose_sides([file]), QUICK)


def test_a_race_needs_no_clocks_and_knows_the_lead_exactly(tmp_path: Path) -> None:
    weather = 10 * noise(2000, 3)
    found = race(tmp_path, 215 + weather + noise(2000, 1, 0.1), 100 + weather + noise(2000, 2, 0.1))
    assert found.race is not None
    assert found.race.median_lead_ms == pytest.approx(115, abs=0.02)
    assert found.race.median_lead_interval is not None
    assert not found.race.median_lead_interval.excludes(115)
    assert found.race.median_lead_interval.high - found.race.median_lead_interval.low < 0.05
    assert found.verdict.sentence.startswith("backbone has events 115.0 ms earlier than direct in the median")
    assert "and first in 100 % of 2,000 events" in found.verdict.sentence
    assert not found.clock.needed


def test_a_race_of_events_without_time_knows_the_lead_alone(tmp_path: Path) -> None:
    found = race(tmp_path, 215 + noise(500, 1), 100 + noise(500, 2), timed=False)
    assert found.verdict.outcome == "difference"
    assert found.figure("median").difference == pytest.approx(-115, abs=0.3)
    assert found.figure("p95").note == "these events carry no event time, so only the lead is known"


def test_equal_paths_are_equal_within_the_margin_when_that_is_shown(tmp_path: Path) -> None:
    found = race(tmp_path, 100 + noise(2000, 1, 0.02), 100 + noise(2000, 2, 0.02))
    assert found.verdict.outcome == "equivalent"
    assert found.verdict.sentence.startswith("backbone and direct are equally fast within 0.050 ms")


def test_too_few_samples_leave_it_undecided(tmp_path: Path) -> None:
    found = race(tmp_path, 215 + noise(30, 1), 100 + noise(30, 2))
    assert found.verdict.outcome == "undecided"
    assert "not enough samples: worth 30 independent ones, an interval needs 40" in found.verdict.sentence


def test_without_rows_there_are_figures_but_no_claims(tmp_path: Path) -> None:
    sources = [write_summary(tmp_path / f"{name}.json", summary()) for name in "ab"]
    found = compare(*choose_sides(sources), QUICK)
    assert found.figure("median").first == 215.0
    assert found.figure("median").note == "no interval: needs the CSV files"
    assert not any(figure.claim for figure in found.figures if figure.name != "loss")


def test_a_side_without_samples_says_why(tmp_path: Path) -> None:
    write_rows(tmp_path / "a.csv", rows(arrivals(100 + noise(50, 1)), path="x", link=True, timed=False))
    write_rows(tmp_path / "b.csv", rows(arrivals(100 + noise(50, 1)), path="y", link=True))
    found = compare(*choose_sides([tmp_path / "a.csv", tmp_path / "b.csv"]), QUICK)
    assert "no sample on x: its events carry no event time" in found.verdict.sentence


def test_runs_of_different_streams_are_not_compared(tmp_path: Path) -> None:
    one = rows(arrivals(100 + noise(20, 1)), path="x", link=True, stream="btcusdt@trade")
    two = rows(arrivals(100 + noise(20, 1)), path="x", link=True, stream="btcusdt@depth")
    write_rows(tmp_path / "a.csv", one)
    write_rows(tmp_path / "b.csv", two)
    with pytest.raises(InputError, match=r"b\.csv:2: stream 'btcusdt@depth' is not in .*a\.csv"):
        choose_sides([tmp_path / "a.csv", tmp_path / "b.csv"])
    write_rows(tmp_path / "b.csv", two + one)
    _, second = choose_sides([tmp_path / "a.csv", tmp_path / "b.csv"])
    assert second.series is not None
    assert len(second.series) == 20


def test_paths_of_a_race_must_exist_and_be_clear(tmp_path: Path) -> None:
    file = write_race(tmp_path / "race.csv", arrivals(noise(20, 1) + 100), arrivals(noise(20, 2) + 90))
    first, second = choose_sides([file])
    assert (first.path, second.path) == ("direct", "backbone")
    with pytest.raises(ConfigError, match="'tokyo' is not in"):
        choose_sides([file], ("direct", "tokyo"))
    single = write_rows(tmp_path / "one.csv", rows(arrivals(noise(20, 1) + 100), path="x", link=True))
    with pytest.raises(ConfigError, match="has one path, 'x'; give a second file"):
        choose_sides([single])


def test_paths_that_share_no_event_are_no_race(tmp_path: Path) -> None:
    lines = rows(arrivals(noise(20, 1) + 100), path="x", link=False)
    lines += [line.replace(",700", ",900") for line in rows(arrivals(noise(20, 1) + 100), path="y", link=True)]
    with pytest.raises(InputError, match="share 0 events"):
        compare(*choose_sides([write_rows(tmp_path / "r.csv", lines)]), QUICK)


def test_a_feed_numbered_by_the_receiver_is_not_called_lossless(tmp_path: Path) -> None:
    lines = [
        f"{number}{line}" for number, line in enumerate(rows(arrivals(100 + noise(50, 1)), path="x", link=False), 1)
    ]
    write_rows(tmp_path / "a.csv", lines)
    write_rows(tmp_path / "b.csv", rows(arrivals(100 + noise(50, 1)), path="y", link=True))
    found = compare(*choose_sides([tmp_path / "a.csv", tmp_path / "b.csv"]), QUICK)
    assert found.figure("loss").first is None
    assert found.figure("loss").second == 0


def test_what_a_file_of_another_program_does_not_tell_is_no_want_of_samples(tmp_path: Path) -> None:
    """Eleven flat keys, as two earlier programs wrote them: no p99.9, no jitter by RFC 3550."""
    keys = ("sample_count", "events_lost", "avg", "median", "p95", "p99", "min", "max")
    for number, name in enumerate("ab"):
        names = {key: key if "_" in key else f"{key}_latency_ms" for key in keys}
        content: dict[str, Any] = {names[key]: 2582 if key == "sample_count" else 100.0 + number for key in keys}
        content |= {"setup_type": "baseline", "events_lost": 0, "jitter_stddev_ms": 2.0}
        write_summary(tmp_path / f"{name}.json", content)
    found = compare(*choose_sides([tmp_path / "a.json", tmp_path / "b.json"]), Options())
    notes = {figure.name: figure.note for figure in found.figures}
    for name in ("p999", "jitter"):
        expected = "not enough samples: 2,582, needs 3,688" if name == "p999" else "a results file does not tell it"
        assert notes[name].startswith(expected)
    assert "2,582, needs 6" not in " ".join(notes.values())


def test_a_folder_that_is_not_there_is_told_as_missing(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"absent: no such folder; "):
        find_runs(tmp_path / "absent")
    (tmp_path / "file.txt").write_text("")
    with pytest.raises(InputError, match=r"file.txt: not a folder; "):
        find_runs(tmp_path / "file.txt")
    for name in ("absent", "absent.json", "absent.csv", "absent.txt"):
        with pytest.raises(InputError, match=rf"{name}: no such file; "):
            load_run(tmp_path / name)
