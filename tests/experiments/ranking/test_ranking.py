"""A race of any number of paths: order, what is shown, what cannot be told apart, and what is left out."""

from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from msgspec import json

from experiments.comparison.figures import Options
from experiments.errors import InputError
from experiments.main import main
from experiments.ranking.compute import rank
from experiments.ranking.model import PathPair, Ranking
from experiments.ranking.verdict import inseparable
from experiments.results.run import load_run
from tests.experiments.made import Arrivals, arrivals, write_ways
from tests.schemas import conforming

EVENTS = 800
HOUR_NS = 3_600_000_000_000
DELAYS_MS = {"proxy": 108.0, "internet": 103.0, "accelerator": 100.5, "transit": 100.0, "peering": 100.0}


def made(name: str, delay_ms: float, *, spacing_ns: int = 10_000_000, lost: int = 0) -> Arrivals:
    random = np.random.default_rng([len(name), ord(name[0])])
    shared = np.random.default_rng(1).normal(size=EVENTS)
    gone = np.zeros(EVENTS, bool)
    gone[100 : 100 + lost] = True
    noise = random.normal(size=EVENTS) * (0.6 if name == "internet" else 0.2)
    return arrivals(delay_ms + shared + noise, spacing_ns=spacing_ns, lost=gone)


def race(file: Path, delays_ms: dict[str, float] | None = None, **made_with: int) -> Path:
    delays_ms = delays_ms or DELAYS_MS
    return write_ways(file, {name: made(name, delay, **made_with) for name, delay in delays_ms.items()})


def ranked(file: Path, *options: str) -> Ranking:
    result = CliRunner().invoke(main, ["compare", str(file), "--json", *options])
    assert result.exit_code == 0, result.output
    conforming(result.output, "experiment-ranking")
    return json.decode(result.output, type=Ranking)


@pytest.fixture
def ranking(tmp_path: Path) -> Ranking:
    return ranked(race(tmp_path / "race.csv"))


def test_ranks_by_lead_and_names_what_cannot_be_told_apart(ranking: Ranking) -> None:
    assert {path.path for path in ranking.paths[:2]} == {"peering", "transit"}
    assert [path.path for path in ranking.paths[2:]] == ["accelerator", "internet", "proxy"]
    assert [(path.rank, path.best_rank, path.worst_rank) for path in ranking.paths] == [
        (1, 1, 2),
        (2, 1, 2),
        (3, 3, 3),
        (4, 4, 4),
        (5, 5, 5),
    ]
    assert ranking.outcome == "leaders"
    assert ranking.pair("proxy", "peering").lead.value_ms == pytest.approx(8, abs=0.05)
    assert all(pair.lead.interval is not None for pair in ranking.pairs)
    assert ranking.sentence.split(" leads; ")[0] == ranking.paths[0].path


def test_every_interval_of_the_leads_put_in_holds(ranking: Ranking) -> None:
    for pair in ranking.pairs:
        truth = DELAYS_MS[pair.second] - DELAYS_MS[pair.first]
        assert pair.lead.interval is not None
        assert not pair.lead.interval.excludes(truth), pair
        assert pair.win_share + pair.tie_share <= 1


def test_the_unsteady_path_is_told_and_its_interval_is_of_the_truth(ranking: Ranking) -> None:
    pair = ranking.pair("internet", "peering")
    gap = pair.steadiness
    assert gap.interval is not None
    assert gap.interval.excludes(0)
    assert abs(gap.value_ms) == pytest.approx(0.4, abs=0.05)
    assert max(ranking.paths, key=lambda path: path.lag_stddev_ms).path == "internet"
    assert pair.p95 is not None
    assert pair.p95.interval is not None


def test_losses_are_each_path_s_own(tmp_path: Path) -> None:
    paths = {name: made(name, delay) for name, delay in DELAYS_MS.items()} | {"lossy": made("lossy", 99.0, lost=200)}
    found = ranked(write_ways(tmp_path / "race.csv", paths))
    assert {path.path: path.loss.lost for path in found.paths if path.loss.lost} == {"lossy": 200}
    assert found.outcome == "first"
    assert found.sentence.startswith("lossy is first: ahead of ")
    assert found.caveats == ["600 of 800 events came on all paths, and those alone are ranked by; lossy lacks the most"]


def test_hours_of_day_where_there_are_several(tmp_path: Path) -> None:
    found = ranked(race(tmp_path / "race.csv", spacing_ns=HOUR_NS // 300))
    assert [hour.hour for hour in found.hours] == sorted({hour.hour for hour in found.hours})
    assert sum(hour.events for hour in found.hours) <= found.events
    for hour in found.hours:
        assert min(hour.behind_ms.values()) == 0 == hour.behind_ms[hour.first]
        assert hour.behind_ms["proxy"] == pytest.approx(8, abs=0.3)


def test_equal_paths_are_not_told_apart_and_equal_within_a_margin_where_asked(tmp_path: Path) -> None:
    file = race(tmp_path / "race.csv", dict.fromkeys(("abc", "bcd", "cde"), 100.0))
    found = ranked(file, "--margin-ms", "0")
    assert (found.outcome, found.hours) == ("no-difference", [])
    assert sorted(found.inseparable[0]) == ["abc", "bcd", "cde"]
    assert found.sentence.startswith("no path is shown to be ahead: ")
    within = ranked(file, "--margin-ms", "1")
    assert within.sentence.endswith(" are equally fast within 1.00 ms")
    assert (within.outcome, within.inseparable) == ("no-difference", [])


def test_two_paths_of_many_are_compared_and_three_ranked(tmp_path: Path) -> None:
    file = race(tmp_path / "race.csv")
    two = CliRunner().invoke(main, ["compare", str(file), "--path", "proxy", "--path", "peering"])
    assert two.output.startswith("peering has events 8.0")
    three = ranked(file, "--path", "proxy", "--path", "internet", "--path", "peering")
    assert [path.path for path in three.paths] == ["peering", "internet", "proxy"]
    unknown = CliRunner().invoke(main, ["compare", str(file), *["--path", "a", "--path", "b", "--path", "peering"]])
    assert unknown.exit_code == 2
    assert "'a' is not in" in unknown.output


def test_prints_verdict_places_leads_and_wins(tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["compare", str(race(tmp_path / "race.csv"))])
    assert result.exit_code == 0, result.output
    lines = result.output.splitlines()
    assert " leads; " in lines[0]
    assert sum(line.startswith("5 proxy") for line in lines) == 2
    assert any(line.startswith("proxy ") and " 5 " in line for line in lines)


def test_paths_without_events_in_common_are_refused_and_a_silent_one_is_a_caveat(tmp_path: Path) -> None:
    file = race(tmp_path / "race.csv")
    run = load_run(file)
    found = rank(run, [*run.series, "silent"], Options(repetitions=100))
    assert found.caveats == ["silent brought nothing and is not ranked"]
    with pytest.raises(InputError, match="have 0 events in common"):
        rank(run, ["proxy", "silent", "quiet"], Options())


def test_a_few_events_leave_it_undecided(tmp_path: Path) -> None:
    paths = {name: arrivals(made(name, delay).delay_ms[:20]) for name, delay in DELAYS_MS.items()}
    found = ranked(write_ways(tmp_path / "race.csv", paths))
    assert found.outcome == "undecided"
    assert "intervals need 40" in found.sentence
    assert {path.worst_rank for path in found.paths} == {5}


def test_groups_are_all_sets_that_cannot_be_told_apart_and_that_nothing_can_be_added_to() -> None:
    """Against a search of all subsets."""
    random = np.random.default_rng(3)
    names = list("abcdefg")
    for _ in range(50):
        near = {pair: bool(random.random() < 0.6) for pair in combinations(names, 2)}
        groups = inseparable(names, [pair_of(one, other, near[one, other]) for one, other in near])
        whole = [
            set(chosen)
            for size in range(2, len(names) + 1)
            for chosen in combinations(names, size)
            if all(near[pair] for pair in combinations(chosen, 2))
        ]
        largest = [one for one in whole if not any(one < other for other in whole)]
        assert sorted(map(sorted, largest)) == sorted(groups)


def pair_of(first: str, second: str, near: bool) -> PathPair:
    gap = {"value_ms": 0.0}
    return json.decode(
        json.encode(
            {
                "first": first,
                "second": second,
                "lead": gap,
                "relation": "unknown" if near else "earlier",
                "win_share": 0.5,
                "tie_share": 0,
                "steadiness": gap,
            }
        ),
        type=PathPair,
    )
