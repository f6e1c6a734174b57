"""Samples over time, gone through in pieces: what all of them at once would give."""

import numpy as np
import pytest

from experiments.report.timeline import hour_cells, timeline
from experiments.results import columns
from experiments.results.columns import collected

_HOUR_NS = 3_600 * 10**9


@pytest.mark.parametrize("in_order", [True, False])
def test_medians_of_bins_and_hours_are_those_of_all_samples_at_once(
    in_order: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(columns, "_IN_MEMORY", 100)
    monkeypatch.setattr(columns, "PIECE", 37)
    random = np.random.default_rng(in_order)
    for _ in range(20):
        count = int(random.integers(1, 500))
        times = 1_796_000_000 * 10**9 + random.integers(0, 3 * 24 * _HOUR_NS, count)
        times = np.sort(times) if in_order else times
        values = random.normal(100, 5, count)
        filed = collected(np.int64, [times]), collected(np.float64, [values])

        cells = hour_cells(*filed)
        assert cells.hours == len(np.unique(times // _HOUR_NS))
        first_day = int(times.min() // _HOUR_NS) // 24
        for hour in np.unique(times // _HOUR_NS).tolist():
            days = [day for day in range(first_day, hour // 24 + 1) if ((times // _HOUR_NS) // 24 == day).any()]
            assert cells.values[len(days) - 1, hour % 24] == np.median(values[times // _HOUR_NS == hour])

        line = timeline(*filed, int(times.min()))
        order = np.argsort(times, kind="stable")
        bins = len(line.median)
        edges = np.linspace(times.min(), times.max() + 1, bins + 1)
        cuts = np.searchsorted(times[order], edges)
        for place in range(bins):
            piece = values[order][cuts[place] : cuts[place + 1]]
            if len(piece):
                assert line.median[place] == np.quantile(piece, 0.5)
            else:
                assert np.isnan(line.median[place])
