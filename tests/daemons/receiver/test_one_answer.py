"""A run's own figures beside what experiments make of its rows: for the same events there is one answer."""

from pathlib import Path
from random import Random

import msgspec
import pytest

from daemons.formats.rows import HEADER, Row, encode_row
from daemons.formats.summary import BackboneLatencies, PathSummary, RowsSummary
from daemons.measurement.account import PathAccount
from daemons.measurement.figures import Figures, Instruments
from daemons.receiver.results import ArrivalFacts, RunFacts, summary, write_json
from daemons.records import UNKNOWN_CLOCK, LinkEvent, Stamp, StampKind
from experiments.results.run import load_run
from experiments.statistics.describe import describe
from experiments.statistics.sample import Sample
from tests.daemons.receiver.test_results import CLOCK, EPOCH_NS, histogram

EVENTS = 5_000


def run_of_three_streams(folder: Path, seed: int) -> Path:
    """Write the results of a link that brought three streams of unlike delay, some of it late, lost or twice."""
    random = Random(seed)
    rows: list[Row] = []
    instruments = Instruments(histogram, histogram, histogram(), histogram())
    account = PathAccount("backbone", 0, link=True, instruments=instruments, figures=Figures(), row=rows.append)
    sequence = 0
    for number in range(EVENTS):
        stream = random.choice(("btcusdt@trade", "ethusdt@trade", "bnbusdt@bookTicker"))
        sequence += 1 + (random.random() < 0.01)
        again = sequence - 1 if random.random() < 0.01 else sequence
        event_ns = EPOCH_NS + number * 1_000_000
        receive_ns = event_ns + {"b": 0, "e": 40_000_000}[stream[0]] + random.randrange(3_000_000)
        arrival_ns = receive_ns + 100_000_000 + random.randrange(8_000_000)
        late = random.random() < 0.02
        event = LinkEvent(
            again, receive_ns, StampKind.KERNEL, event_ns, receive_ns + 20_000, number + 1, stream, late, b""
        )
        stamp = Stamp(arrival_ns, StampKind.KERNEL, arrival_ns + 30_000, arrival_ns - EPOCH_NS, 0)
        account.observe_link(1, [event], stamp, together=True)
    ended_ns = EPOCH_NS + EVENTS * 1_000_000
    facts = RunFacts("tokyo", EPOCH_NS, ended_ns, True, CLOCK, UNKNOWN_CLOCK, False, RowsSummary(0, 0))
    write_json(folder / "run.json", summary(facts, [account], None, {"backbone": ArrivalFacts({}, 1)}))
    (folder / "run.csv").write_text(HEADER + "".join(map(encode_row, rows)))
    return folder / "run.json"


def figures(told: PathSummary | BackboneLatencies) -> dict[str, float | None]:
    """Name the figures of a result file as experiments do."""
    known = {name.replace("_latency", ""): value for name, value in msgspec.structs.asdict(told).items()}
    spread = known.get("stddev_ms", known.get("jitter_stddev_ms"))
    names = ("median", "p95", "p99", "p999", "min", "max")
    named = {name: known[f"{name}_ms"] for name in names}
    return {**named, "mean": known["avg_ms"], "stddev": spread, "jitter": known["jitter_rfc3550_ms"]}


@pytest.mark.parametrize("seed", range(3))
def test_a_result_file_and_its_rows_have_the_same_figures(tmp_path: Path, seed: int) -> None:
    run = load_run(run_of_three_streams(tmp_path, seed))
    (series,) = run.series.values()
    assert run.summary is not None
    told = run.summary.paths["backbone"]
    assert told.backbone is not None
    for metric, known in (("end_to_end_ms", told), ("backbone_ms", told.backbone)):
        found = describe(Sample(series.samples(metric), changes=series.changes(metric)))
        assert found.count == known.sample_count
        # A fine histogram keeps eleven bits of a value; sums, and with them the jitter, are exact.
        exact = {"mean", "min", "max", "jitter"}
        for name, value in figures(known).items():
            assert value is not None
            near = pytest.approx(value, abs=2e-6) if name in exact else pytest.approx(value, rel=5e-4)
            assert getattr(found, name) == near, (metric, name)
