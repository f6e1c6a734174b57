"""What of a deployment may go: by races of its paths, and by whatever a ranking can say."""

import re
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st
from msgspec import json

from experiments.main import main
from experiments.ranking.hunting import Hunt, Race, hunt
from experiments.ranking.model import Gap, PathPair, RankedPath, Ranking
from experiments.runs.manifest import Manifest, PriceRecord, recorded_prices
from experiments.statistics.loss import Loss
from provisioning.cost import Traffic, estimate
from provisioning.loading import load_topology
from provisioning.needs import PathNeed, path_needs, removable
from tests.experiments.made import arrivals, write_ways
from tests.schemas import conforming

EVENTS = 800


def race(file: Path, delays_ms: dict[str, float], noise_ms: float = 0.2) -> Path:
    shared = np.random.default_rng(1).normal(size=EVENTS)
    return write_ways(
        file,
        {
            name: arrivals(delay + shared + noise_ms * np.random.default_rng(number).normal(size=EVENTS))
            for number, (name, delay) in enumerate(delays_ms.items())
        },
    )


def invoke(file: Path, topology: str, *options: str) -> Result:
    return CliRunner().invoke(main, ["hunt", str(file), "--topology", topology, *options])


@pytest.fixture
def two_receivers(tmp_path: Path) -> Path:
    """A topology in which two receivers race the links of two forwarders."""
    backbone = load_topology("backbone")
    assert [host.name for host in backbone.host] == ["forwarder", "receiver"]
    text = (Path("provisioning/topologies") / "backbone.toml").read_text()
    sites, forwarder, receiver, link = re.split(r"(?=\[\[host\]\]|\[\[link\]\])", text)
    parts = [sites]
    for number in (1, 2):
        for host, name, address in ((forwarder, "forwarder", "10.0.1.10"), (receiver, "receiver", "10.1.1.10")):
            named = host.replace(f'name = "{name}"', f'name = "{name}-{number}"')
            parts.append(named.replace(address, f"{address[:-1]}{number}"))
        for other in (1, 2):
            ends = link.replace('"forwarder"', f'"forwarder-{number}"').replace('"receiver"', f'"receiver-{other}"')
            parts.append(f'{ends.rstrip()}\nname = "from-{number}-to-{other}"\n\n')
    file = tmp_path / "two.toml"
    file.write_text("".join(parts))
    return file


def test_a_host_goes_when_every_receiver_has_it_go(tmp_path: Path, two_receivers: Path) -> None:
    one = race(tmp_path / "one.csv", {"from-1-to-1": 100.0, "from-2-to-1": 103.0, "direct": 108.0})
    same = race(tmp_path / "same.csv", {"from-1-to-2": 50.0, "from-2-to-2": 53.0, "direct": 58.0})
    other = race(tmp_path / "other.csv", {"from-1-to-2": 53.0, "from-2-to-2": 50.0, "direct": 58.0})

    def hosts(*files: Path) -> dict[str, str]:
        words = ["hunt", *map(str, files), "--topology", str(two_receivers), "--json"]
        result = CliRunner().invoke(main, words)
        assert result.exit_code == 0, result.output
        conforming(result.output, "experiment-hunt")
        found = json.decode(result.output, type=Hunt)
        assert len({(path.receiver, path.path) for path in found.paths}) == len(found.paths) == 6
        return {thing.name: thing.answer for thing in found.things if thing.kind == "host"}

    assert hosts(one, same) == {"forwarder-1": "stays", "forwarder-2": "goes"}
    assert hosts(one, other) == {"forwarder-1": "stays", "forwarder-2": "stays"}
    # What another receiver needs of it nobody has said.
    assert hosts(one) == {"forwarder-1": "stays", "forwarder-2": "unmeasured"}
    words = ["hunt", str(one), str(same), "--topology", str(two_receivers)]
    assert "receiver-2" in CliRunner().invoke(main, words).output


def test_a_race_that_is_of_no_one_receiver_is_refused(tmp_path: Path, two_receivers: Path) -> None:
    mixed = race(tmp_path / "mixed.csv", {"from-1-to-1": 1.0, "from-1-to-2": 2.0, "direct": 3.0})
    feed = race(tmp_path / "feed.csv", {"direct": 1.0, "a": 2.0, "b": 3.0})
    one = race(tmp_path / "one.csv", {"from-1-to-1": 100.0, "from-2-to-1": 103.0, "direct": 108.0})
    for files, said in (
        ((mixed,), "has paths to several of receiver-1, receiver-2"),
        ((feed,), "may be of receiver-1 or receiver-2"),
        ((one, one), "is of receiver-1, as"),
    ):
        words = ["hunt", *map(str, files), "--topology", str(two_receivers)]
        result = CliRunner().invoke(main, words)
        assert result.exit_code != 0
        assert said in re.sub(r"\s+", " ", result.output)


def hunted(file: Path, topology: str, *options: str) -> Hunt:
    result = invoke(file, topology, "--json", *options)
    assert result.exit_code == 0, result.output
    conforming(result.output, "experiment-hunt")
    return json.decode(result.output, type=Hunt)


def answers(found: Hunt) -> dict[str, str]:
    return {path.path: path.answer for path in found.paths}


WAYS = {"peering": 100.0, "transit": 100.0, "accelerator": 101.0, "internet": 104.0, "direct": 108.0}


def test_what_is_shown_to_be_later_goes_and_what_could_be_first_stays(tmp_path: Path) -> None:
    found = hunted(race(tmp_path / "race.csv", WAYS), "ways", "--margin-ms", "0")
    assert answers(found) == {
        "peering": "stays",
        "transit": "stays",
        "accelerator": "goes",
        "internet": "goes",
        "direct": "goes",
    }
    # Global Accelerator: 0.025 USD an hour (its pricing page, 2026-09).
    assert found.saved_usd_per_day == pytest.approx(0.6)
    assert found.sentence.startswith("the way by accelerator may go, which saves 0.60 USD a day; ")
    host = next(thing for thing in found.things if thing.kind == "host")
    assert (host.name, host.answer) == ("forwarder", "stays")


def test_of_two_that_are_as_fast_the_cheaper_stays(tmp_path: Path) -> None:
    found = hunted(race(tmp_path / "race.csv", WAYS), "ways", "--margin-ms", "0.5")
    assert answers(found)["peering"] == "stays"
    assert answers(found)["transit"] == "spare"
    assert {(thing.kind, thing.name) for thing in found.things if thing.answer in ("spare", "goes")} == {
        ("way", "transit"),
        ("way", "accelerator"),
        ("way", "internet"),
    }
    # Four attachments, about 0.26 USD an hour.
    assert found.saved_usd_per_day == pytest.approx(0.6 + 0.26 * 24)


def test_hosts_of_slow_zones_may_go(tmp_path: Path) -> None:
    topology = load_topology("zones")
    names = [link.name for link in topology.link]
    slow = {name: 100.0 + 2 * number for number, name in enumerate(names)}
    found = hunted(race(tmp_path / "race.csv", slow), "zones")
    zones = {thing.name: thing.answer for thing in found.things if thing.kind == "zone"}
    assert sorted(zones.values()) == ["goes", "goes", "stays"]
    assert all(zone.startswith("apne1-az") for zone in zones)
    gone = [thing.name for thing in found.things if thing.kind == "host" and thing.answer == "goes"]
    assert len(gone) == 2
    hour = sum(item.hour or 0.0 for item in estimate(topology, Traffic()).items if item.what.partition(":")[0] in gone)
    assert found.saved_usd_per_day == pytest.approx(hour * 24, abs=1e-3)
    shown = invoke(tmp_path / "race.csv", "zones")
    assert shown.exit_code == 0
    assert all(f"the host {name}" in re.sub(r"\s+", " ", shown.output) for name in gone)


def test_what_was_not_measured_does_not_go(tmp_path: Path) -> None:
    some = {name: WAYS[name] for name in ("peering", "internet", "direct")}
    found = hunted(race(tmp_path / "race.csv", some), "ways")
    assert answers(found)["accelerator"] == answers(found)["transit"] == "unmeasured"
    assert found.saved_usd_per_day == 0
    assert found.sentence.startswith("nothing may go")


def test_a_race_of_another_deployment_is_refused(tmp_path: Path) -> None:
    result = invoke(race(tmp_path / "race.csv", {"a": 1.0, "b": 2.0, "c": 3.0}), "ways")
    assert result.exit_code != 0
    assert "has a, b, c, and ways has peering, transit, accelerator, internet, direct" in re.sub(
        r"\s+", " ", result.output
    )


def test_prices_stand_beside_the_ranking(tmp_path: Path) -> None:
    file = race(tmp_path / "race.csv", WAYS)
    told = CliRunner().invoke(main, ["compare", str(file), "--json", "--topology", "ways"])
    ranking = json.decode(conforming_text(told, "experiment-ranking"), type=Ranking)
    needs = path_needs(load_topology("ways"))
    assert {path.path: path.price_per_day for path in ranking.paths} == {
        name: need.usd_per_day for name, need in needs.items()
    }
    assert needs["direct"].usd_per_day == 0
    assert needs["transit"].usd_per_day - needs["peering"].usd_per_day == pytest.approx(0.26 * 24)
    assert needs["internet"].usd_per_day == needs["peering"].usd_per_day
    shown = CliRunner().invoke(main, ["compare", str(file), "--topology", "ways"])
    assert "$ a day" in shown.output
    refused = CliRunner().invoke(main, ["compare", str(file), "--topology", "nowhere"])
    assert "'nowhere' is not built in" in refused.output


def test_prices_are_those_of_the_day_that_the_record_of_a_run_has(tmp_path: Path) -> None:
    """A run of a deployment writes them down: compare and report need no topology, and tell what it cost then."""
    block = tmp_path / "001-race"
    block.mkdir()
    race(block / "results.csv", WAYS)
    then = PriceRecord(date="2020-01-01", usd_per_day={"peering": 1.25, "transit": 7.5})
    (tmp_path / "manifest.json").write_bytes(json.encode(Manifest(prices=then)))
    for source in (tmp_path, block, block / "results.csv"):
        told = CliRunner().invoke(main, ["compare", str(source), "--json"])
        ranking = json.decode(conforming_text(told, "experiment-ranking"), type=Ranking)
        assert {path.path: path.price_per_day for path in ranking.paths} == {**dict.fromkeys(WAYS), **then.usd_per_day}
    now = CliRunner().invoke(main, ["compare", str(block), "--json", "--topology", "ways"])
    ranking = json.decode(now.output, type=Ranking)
    assert all(path.price_per_day != then.usd_per_day.get(path.path) for path in ranking.paths)
    page = CliRunner().invoke(main, ["report", str(tmp_path), "--output", str(tmp_path / "page.html")])
    assert page.exit_code == 0, page.output
    assert "7.50" in (tmp_path / "page.md").read_text()
    for other in (b"{", b"[]", b'{"prices": 1}', b'{"prices": null}'):
        (tmp_path / "manifest.json").write_bytes(other)
        assert recorded_prices(block) == {}


def conforming_text(result: Result, name: str) -> str:
    assert result.exit_code == 0, result.output
    conforming(result.output, name)
    return result.output


def test_a_network_that_an_overlay_needs_too_is_not_said_to_go() -> None:
    assert ("way", "transit") in removable(load_topology("ways"))
    assert removable(load_topology("egress")) == {}


@st.composite
def rankings(draw: st.DrawFn) -> tuple[Ranking, dict[str, PathNeed]]:
    """Any ranking that medians can give: what is earlier is so in one order; the rest is equal or not known."""
    names = [f"p{number}" for number in range(draw(st.integers(2, 7)))]
    pairs = []
    for (one, first), (other, second) in combinations(enumerate(names), 2):
        relation: Any = draw(st.sampled_from(["earlier", "equal", "unknown"]))
        gap = Gap(value_ms=float(other - one))
        pairs.append(
            PathPair(
                first=first, second=second, lead=gap, relation=relation, win_share=0.5, tie_share=0.0, steadiness=gap
            )
        )
    paths = [
        RankedPath(
            path=name,
            rank=number,
            best_rank=number,
            worst_rank=number,
            behind_ms=0.0,
            behind=None,
            first_share=0.0,
            lag_stddev_ms=0.0,
            lag_p95_ms=None,
            lag_p99_ms=None,
            loss=Loss(expected=1, lost=0),
            rows=1,
        )
        for number, name in enumerate(names, 1)
    ]
    ranking = Ranking(
        source="x", streams=[], events=1, seen=1, paths=paths, pairs=pairs, inseparable=[], hours=[],
        outcome="leaders", sentence="s", caveats=[], margin_ms=0.1, confidence=0.95, repetitions=1, block_samples=1,
        blocks=1.0, effective_count=1.0, seed=1,
    )  # fmt: skip
    money = st.floats(0, 10)
    needs = {name: PathNeed(name, "r", f"f-{name}", "peering", "z", "", draw(money)) for name in names}
    return ranking, needs


@given(rankings())
def test_whatever_is_shown_the_best_stays_and_every_other_answer_has_its_proof(
    drawn: tuple[Ranking, dict[str, PathNeed]],
) -> None:
    ranking, needs = drawn
    found = hunt(
        [Race(ranking, needs)], needs.values(), {("host", need.forwarder): need.usd_per_day for need in needs.values()}
    )
    told = answers(found)
    kept = {name for name, answer in told.items() if answer == "stays"}
    assert kept
    for name, answer in told.items():
        earlier = {pair.first for pair in ranking.pairs if pair.second == name and pair.relation == "earlier"}
        equal = {other for other in kept if other != name and ranking.pair(other, name).relation == "equal"}
        assert (answer == "goes") == bool(earlier)
        if answer == "spare":
            assert any(needs[other].usd_per_day <= needs[name].usd_per_day for other in equal)
        if answer == "stays":
            assert not equal
    gone = {name for name, answer in told.items() if answer in ("goes", "spare")}
    assert found.saved_usd_per_day == pytest.approx(sum(needs[name].usd_per_day for name in gone), abs=1e-3)
