"""What the receiver's page says of a run: the figures of its result, as they are so far."""

from types import SimpleNamespace
from typing import Any, cast

import pytest

from daemons.measurement.figures import Figures
from daemons.measurement.race import RaceTable
from daemons.receiver.metrics import ReceiverCollector


def _samples(figures: Figures | None, race: RaceTable | None) -> dict[str, dict[tuple[str, ...], float]]:
    accounts = [SimpleNamespace(name=name, figures=figures) for name in ("direct", "backbone")]
    collector = ReceiverCollector(cast("Any", SimpleNamespace(accounts=accounts, race=race)))
    return {
        family.name: {tuple(sample.labels.values()): sample.value for sample in family.samples}
        for family in collector._run()
    }


def test_a_run_shows_the_figures_of_its_result() -> None:
    figures, race = Figures(), RaceTable(2, keep_quantiles=True)
    for index in range(1000):
        figures.end_to_end.record(100_000_000 + index * 10_000)
    figures.rtt.record(211_000_000)
    race.pairs[0].observe(-17_300_000)
    shown = _samples(figures, race)
    delays = shown["latency_receiver_run_delay_seconds"]
    assert delays["direct", "0.5"] == pytest.approx(0.105, rel=5e-4)
    assert delays["backbone", "0.999"] == pytest.approx(0.11, rel=5e-4)
    assert shown["latency_receiver_run_link_rtt_seconds"] == {
        ("direct",): pytest.approx(0.211, rel=5e-4),
        ("backbone",): pytest.approx(0.211, rel=5e-4),
    }
    assert list(shown["latency_receiver_run_lead_seconds"].values()) == [pytest.approx(-0.0173, rel=5e-4)]


def test_without_a_run_or_an_event_there_is_none() -> None:
    assert all(not samples for samples in _samples(None, None).values())
    assert all(not samples for samples in _samples(Figures(), RaceTable(2, keep_quantiles=True)).values())
