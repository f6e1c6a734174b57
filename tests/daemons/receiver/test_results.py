"""The summary that the receiver makes, against what a reader of the format finds in it."""

import json
from pathlib import Path

import msgspec
import pytest

from daemons.errors import ResultsError
from daemons.formats.summary import Latencies, LinkSummary, PathSummary, RowsSummary, RunSummary, TailCause
from daemons.measurement.account import PathAccount
from daemons.measurement.figures import Figures, Instruments
from daemons.measurement.histogram import BucketHistogram, QuantileHistogram, octaves
from daemons.measurement.race import RaceTable
from daemons.measurement.tail.causes import Cause
from daemons.receiver.results import ArrivalFacts, RunFacts, clock_summary, distribution, summary, write_json
from daemons.records import UNKNOWN_CLOCK, ClockState
from experiments.results.summary import load_summary

EPOCH_NS = 1_700_000_000_000_000_000
CLOCK = ClockState(True, -250_000, 1_500_000, "chrony", steps=2)
FACTS = RunFacts("race", EPOCH_NS, EPOCH_NS + 2_000_000_000, True, CLOCK, UNKNOWN_CLOCK, False, RowsSummary(7, 1))


def histogram(_name: str = "") -> BucketHistogram:
    return BucketHistogram(octaves(-20, 12))


def made() -> RunSummary:
    """A race of two paths, of which one has figures and the other none."""
    race = RaceTable(2, keep_quantiles=True)
    instruments = Instruments(histogram, histogram, histogram(), histogram())
    direct, backbone = (
        PathAccount(name, index, link=bool(index), instruments=instruments, race=race, figures=Figures())
        for index, name in enumerate(("direct", "backbone"))
    )
    assert direct.figures is not None
    for milliseconds in range(1, 101):
        direct.figures.end_to_end.record(milliseconds * 1_000_000)
    backbone.tail.events[Cause.NETWORK], backbone.tail.excess_ns[Cause.NETWORK] = 4, 10_000_000
    backbone.tail.worst_ns[Cause.NETWORK] = 7_000_000
    peer = LinkSummary(distribution(QuantileHistogram()), 0.5, 0.25, clock_summary(CLOCK), {"age": 3}, None)
    arrivals = {
        "direct": ArrivalFacts({"malformed": 4}, 2, reconnects={"idle": 1}),
        "backbone": ArrivalFacts({"malformed": 0}, 1, dropped_datagrams=5, refusals={"forged": 6}, link=peer),
    }
    return summary(FACTS, [direct, backbone], race, arrivals)


def test_what_is_written_is_read_again_field_by_field(tmp_path: Path) -> None:
    write_json(tmp_path / "results.json", made())
    assert load_summary(tmp_path / "results.json") == made()


def test_the_tail_is_told_by_the_causes_that_it_has() -> None:
    found = made().paths
    assert (found["direct"].tail, found["backbone"].tail) == ({}, {"network": TailCause(4, 2.5, 7.0)})


def test_every_field_of_the_format_is_written() -> None:
    written = msgspec.to_builtins(made())
    assert set(written) == set(RunSummary.__struct_fields__)
    assert all(set(path) == set(PathSummary.__struct_fields__) for path in written["paths"].values())


def test_the_main_path_of_a_race_is_the_link_and_has_the_original_programs_keys() -> None:
    found = made()
    assert found.primary_path == "backbone"
    assert all(getattr(found, name) == getattr(found.paths["backbone"], name) for name in Latencies.__struct_fields__)


def test_figures_are_in_milliseconds_and_null_where_there_is_no_sample(tmp_path: Path) -> None:
    write_json(tmp_path / "results.json", made())
    paths = json.loads((tmp_path / "results.json").read_text())["paths"]
    # Of 1 to 100 ms: between the middle two; a fine-grained histogram is off by 0.05 % at the most.
    assert paths["direct"]["median_latency_ms"] == pytest.approx(50.5, rel=5e-4)
    assert paths["direct"]["max_latency_ms"] == 100
    assert paths["direct"]["backbone"] is None
    assert paths["backbone"]["median_latency_ms"] is None
    assert paths["backbone"]["backbone"]["one_way_delay"]["sample_count"] == 0


def test_what_a_feed_or_a_listener_refused_stands_with_what_the_account_did() -> None:
    paths = made().paths
    assert paths["direct"].invalid["malformed"] == 4
    assert paths["backbone"].refusals == {"forged": 6}
    assert paths["backbone"].dropped_datagrams == 5
    assert paths["direct"].dropped_datagrams is None


def test_a_file_that_cannot_be_written_is_told_with_a_remedy(tmp_path: Path) -> None:
    with pytest.raises(ResultsError, match=r"cannot be written: .*; make room, or choose another folder"):
        write_json(tmp_path / "no such folder" / "results.json", made())
