"""What the receiver's page says of a run: the figures of its result, as they are so far."""

import asyncio
import random

import pytest
from prometheus_client.metrics_core import Metric

from daemons.configuration.receiver import FeedPathSection, ReceiverConfig, listener_of
from daemons.link.receiving.port import LinkPort
from daemons.link.receiving.settings import LinkPathSection
from daemons.measurement.account import PathAccount
from daemons.measurement.figures import Figures
from daemons.measurement.race import RaceTable
from daemons.receiver.forwarders import Forwarders
from daemons.receiver.histograms import ReceiverHistograms
from daemons.receiver.metrics import ReceiverCollector
from daemons.receiver.paths import FeedPath, LinkPath
from daemons.records import UNKNOWN_CLOCK, ClockReport
from daemons.service.settings.reload import Reloader
from daemons.stream.stamping import Stamper
from daemons.timing.backoff import AttemptBudget
from daemons.timing.clock import SystemClock


def _families(figures: Figures | None, race: RaceTable | None) -> list[Metric]:
    """Return the run's families of a page of two paths that have come to nothing but these figures."""

    async def shown() -> list[Metric]:
        feed, link = FeedPathSection(name="direct", url="ws://127.0.0.1:1"), LinkPathSection(name="backbone")
        histograms, stamper = ReceiverHistograms(), Stamper(SystemClock())
        accounts = [
            PathAccount(name, index, link=bool(index), instruments=histograms.instruments(name), figures=figures)
            for index, name in enumerate(("direct", "backbone"))
        ]
        _where, settings = listener_of(1, link)
        forwarders = Forwarders(accounts[1], settings, histograms.rtt.labels("backbone"), lambda: UNKNOWN_CLOCK)
        port = LinkPort(None, None, stamper)
        paths = [
            FeedPath(feed, "path[0]", accounts[0], stamper, random.Random(1), AttemptBudget()),
            LinkPath(accounts[1], 1, forwarders, port.serve(settings, forwarders), port),
        ]
        config = ReceiverConfig()
        reloader = Reloader(config, lambda: config, "latency_receiver")
        collector = ReceiverCollector(paths, race, None, None, lambda: ClockReport(UNKNOWN_CLOCK), reloader)
        stamper.close()
        return [family for family in collector.collect() if "_run_" in family.name]

    return asyncio.run(shown())


def _samples(figures: Figures | None, race: RaceTable | None) -> dict[str, dict[tuple[str, ...], float]]:
    return {
        family.name: {tuple(sample.labels.values()): sample.value for sample in family.samples}
        for family in _families(figures, race)
    }


def test_a_run_shows_the_figures_of_its_result() -> None:
    figures, race = Figures(), RaceTable(2, keep_quantiles=True)
    for index in range(1000):
        figures.end_to_end.record(100_000_000 + index * 10_000)
    figures.rtt.record(211_000_000)
    race.pairs[0].observe(-17_300_000)
    shown = _samples(figures, race)
    # What has a quantile is a summary, to promtool's check of a page and to whoever reads OpenMetrics.
    types = {family.name: family.type for family in _families(figures, race)}
    assert {name for name, kind in types.items() if kind == "summary"} == {"latency_receiver_run_delay_seconds"}
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
