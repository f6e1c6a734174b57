from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from experiments.results.rows import load_rows
from experiments.results.series import PathSeries
from experiments.statistics.pairing import pair
from tests.experiments.made import HEADER, arrivals, rows, write_race, write_rows


def race(folder: Path, direct_ms: list[float], backbone_ms: list[float], **lost: list[int]) -> tuple[PathSeries, ...]:
    def gone(name: str, count: int) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
        return np.isin(np.arange(count), lost.get(name, []))

    file = write_race(
        folder / "r.csv",
        arrivals(np.array(direct_ms), lost=gone("direct", len(direct_ms))),
        arrivals(np.array(backbone_ms), lost=gone("backbone", len(backbone_ms))),
    )
    loaded = load_rows(file, "x")
    return loaded["direct"], loaded["backbone"]


def test_leads_are_positive_where_the_second_path_was_earlier(tmp_path: Path) -> None:
    direct, backbone = race(tmp_path, [215.0, 210.0, 190.0], [100.0, 100.0, 200.0])
    found = pair(direct, backbone)
    assert found.lead_ms.tolist() == pytest.approx([115.0, 110.0, -10.0])
    assert (found.only_first, found.only_second) == (0, 0)


def test_pairs_stand_in_order_of_first_arrival_though_events_overtake(tmp_path: Path) -> None:
    direct, backbone = race(tmp_path, [130.0, 100.0, 100.0], [200.0, 170.0, 140.0])
    found = pair(direct, backbone)
    first = np.minimum(direct.arrival_ns[found.first], backbone.arrival_ns[found.second])
    assert (np.diff(first) > 0).all()


def test_events_that_one_path_lacks_are_counted_in_the_common_time(tmp_path: Path) -> None:
    count = 100
    direct, backbone = race(tmp_path, [60.0] * count, [40.0] * count, direct=[20, 30, 31], backbone=[50], unused=[])
    found = pair(direct, backbone)
    assert (found.only_first, found.only_second) == (1, 3)
    assert len(found.lead_ms) == count - 4


def test_a_path_that_joined_later_has_not_lost_what_came_before(tmp_path: Path) -> None:
    direct, backbone = race(tmp_path, [60.0] * 100, [40.0] * 100, direct=list(range(30)), backbone=list(range(90, 100)))
    found = pair(direct, backbone)
    assert (found.only_first, found.only_second) == (0, 0)


def test_of_duplicates_the_first_arrival_counts(tmp_path: Path) -> None:
    direct = rows(arrivals(np.full(8, 60.0)), path="direct", link=False)
    backbone = rows(arrivals(np.full(8, 40.0)), path="backbone", link=True)
    late = rows(arrivals(np.full(8, 90.0)), path="backbone", link=True)
    loaded = load_rows(write_rows(tmp_path / "r.csv", direct + backbone + late), "x")
    assert pair(loaded["direct"], loaded["backbone"]).lead_ms.tolist() == [20.0] * 8


def test_the_same_id_on_another_stream_is_another_event(tmp_path: Path) -> None:
    direct = rows(arrivals(np.full(8, 60.0)), path="direct", link=False, stream="btcusdt@trade")
    backbone = rows(arrivals(np.full(8, 40.0)), path="backbone", link=True, stream="ethusdt@trade")
    loaded = load_rows(write_rows(tmp_path / "r.csv", direct + backbone, HEADER), "x")
    assert len(pair(loaded["direct"], loaded["backbone"]).lead_ms) == 0


def test_events_that_waited_in_an_outage_do_not_race(tmp_path: Path) -> None:
    direct = rows(arrivals(np.full(8, 60.0)), path="direct", link=False)
    backbone = [line[:-1] + "1" for line in rows(arrivals(np.full(8, 4000.0)), path="backbone", link=True)]
    loaded = load_rows(write_rows(tmp_path / "r.csv", direct + backbone), "x")
    assert len(pair(loaded["direct"], loaded["backbone"]).lead_ms) == 0


def test_events_that_waited_in_an_outage_are_not_lost(tmp_path: Path) -> None:
    direct = rows(arrivals(np.full(100, 60.0)), path="direct", link=False)
    backbone = rows(arrivals(np.full(100, 40.0)), path="backbone", link=True)
    backbone[50:60] = [line[:-1] + "1" for line in backbone[50:60]]
    loaded = load_rows(write_rows(tmp_path / "r.csv", direct + backbone), "x")
    found = pair(loaded["direct"], loaded["backbone"])
    assert len(found.lead_ms) == 90
    assert (found.only_first, found.only_second) == (0, 0)


def test_of_runs_put_together_each_has_its_own_common_time(tmp_path: Path) -> None:
    direct, backbone = race(
        tmp_path, [60.0] * 300, [40.0] * 300, direct=list(range(90, 110)), backbone=[*range(95, 150), 200]
    )
    # The second run begins at event 110; the backbone's forwarder joined it only at event 150.
    first, second = (
        replace(series, parts=(0, int(np.searchsorted(series.event_id, 70_001 + 110)))) for series in (direct, backbone)
    )
    found = pair(first, second)
    assert (found.only_first, found.only_second) == (1, 0)
