"""What a report calls jitter beside the daemons' own estimator, over the same events."""

import numpy as np
import pytest

from daemons.measurement.jitter import InterarrivalJitter
from experiments.results import columns
from experiments.results.changes import Changes
from experiments.results.columns import pieces
from experiments.statistics.cells import Cells
from experiments.statistics.describe import describe
from experiments.statistics.sample import Sample


@pytest.mark.parametrize("streams", [1, 2, 7])
def test_streams_and_runs_are_not_mixed(streams: int, monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(streams)
    for _ in range(60):
        monkeypatch.setattr(columns, "PIECE", int(random.integers(1, 200)))
        count = int(random.integers(1, 600))
        starts = (0, *sorted(random.choice(np.arange(1, count + 1), min(3, count), replace=False).tolist()))
        codes = random.integers(0, streams, count).astype(np.uint16)
        transits_ns = random.integers(-(10**9), 10**9, count)
        jitters = [InterarrivalJitter() for _ in range(streams)]
        for row, (code, transit_ns) in enumerate(zip(codes.tolist(), transits_ns.tolist(), strict=True)):
            if row in starts:
                for jitter in jitters:
                    jitter.interrupt()
            jitters[code].observe(transit_ns)
        values = transits_ns / 1e6
        changes = Changes(streams, starts)
        rows = np.arange(count)
        found = [changes.of(values[piece], codes[piece], rows[piece]) for piece in pieces(values)]
        sample = Sample(values, changes=np.concatenate(found))
        total_ns, known = sum(one.total_ns for one in jitters), sum(one.changes for one in jitters)
        expected = pytest.approx(total_ns / known / 1e6, rel=1e-9) if known else None
        assert describe(sample).jitter == expected
        if known:
            # A resample that has each part once is the series.
            assert Cells(sample).jitter(np.ones((1, len(Cells(sample)))))[0] == expected
