"""Columns that nobody asks for need no memory, and nothing else is another for it."""

from pathlib import Path

import numpy as np
import pytest

from experiments.archive.selection import Selection
from experiments.results.run import load_run
from experiments.results.series import COLUMNS
from tests.experiments.archived import archive_of
from tests.experiments.comparison.pinned_runs import PINNED
from tests.experiments.made import START_NS

WITHOUT = frozenset({"sequence", "backbone_ms", "forwarder_fraction_ns"})


@pytest.mark.parametrize("selection", [Selection(), Selection(START_NS + 10**10, streams=("btcusdt@trade",))])
@pytest.mark.parametrize("archived", [True, False])
def test_what_is_left_out_changes_nothing_else(tmp_path: Path, selection: Selection, archived: bool) -> None:
    (source,) = PINNED["race"][0](tmp_path)
    if archived:
        archive_of(tmp_path / "archive", [source], minutes=1)
        source = tmp_path / "archive"
    whole, part = (load_run(source, selection=selection, without=left).series for left in (frozenset(), WITHOUT))
    assert whole.keys() == part.keys()
    for name, one in whole.items():
        other = part[name]
        assert (len(other), other.is_feed, other.first_line) == (len(one), one.is_feed, one.first_line)
        for column in COLUMNS:
            if column in WITHOUT:
                assert getattr(other, column).strides == (0,)
            else:
                np.testing.assert_array_equal(getattr(other, column), getattr(one, column), column)
