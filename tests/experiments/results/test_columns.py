"""Long columns lie in files: the same arrays, and nothing of them in memory that was let go of."""

import io
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from daemons.errors import ResultsError
from experiments.results import columns
from experiments.results.columns import ColumnBuffer, Zones, collected, let_go, pieces
from experiments.results.series import COLUMNS


def _parts(random: np.random.Generator, dtype: npt.DTypeLike) -> Iterator[np.ndarray]:
    for _ in range(int(random.integers(0, 6))):
        yield random.integers(0, 2, int(random.integers(0, 3000))).astype(dtype)


@pytest.mark.parametrize("in_memory", [0, 500, 1 << 22])
def test_a_column_is_what_was_appended(in_memory: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(columns, "_IN_MEMORY", in_memory)
    random = np.random.default_rng(in_memory)
    for dtype in COLUMNS.values():
        parts = list(_parts(random, dtype))
        found = collected(dtype, parts)
        assert found.dtype == dtype
        np.testing.assert_array_equal(found, np.concatenate([np.zeros(0, dtype), *parts]))


def test_pieces_are_all_of_a_column_and_can_be_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(columns, "_IN_MEMORY", 0)
    monkeypatch.setattr(columns, "PIECE", 1000)
    values = collected(np.int64, [np.arange(4321)])
    for _ in range(2):
        assert np.concatenate([values[piece] for piece in pieces(values)]).tolist() == list(range(4321))
    assert values[::7][3:9].tolist() == list(range(21, 63, 7))


def _mapped_bytes() -> int:
    fields = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    # Mapped of a file on a disk, or of one that is in memory itself, on a tmpfs that somebody names.
    return sum(int(fields[name].split()[0]) * 1024 for name in ("RssFile", "RssShmem"))


def test_what_was_let_go_of_is_not_in_memory() -> None:
    values = collected(np.float64, (np.full(1 << 18, float(part)) for part in range(64)))
    assert values.nbytes == 128 << 20
    before = _mapped_bytes()
    assert values.sum() == (1 << 18) * sum(range(64))
    in_use = _mapped_bytes()
    let_go(values[5:9])
    assert in_use - before > 100 << 20
    assert _mapped_bytes() - before < 20 << 20
    most = 0
    for piece in pieces(values):
        assert values[piece].max() == piece.start >> 18
        most = max(most, _mapped_bytes())
    assert most - before < 20 << 20


def test_a_full_disk_is_told_with_its_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(columns, "_IN_MEMORY", 1000)
    monkeypatch.setattr(tempfile, "TemporaryFile", lambda **_: io.FileIO("/dev/full", "w"))
    rows = ColumnBuffer({"arrival_ns": np.int64})
    rows.append({"arrival_ns": np.arange(100)})
    with pytest.raises(ResultsError, match=r"no room for long columns: No space left on device; .*TMPDIR"):
        rows.append({"arrival_ns": np.arange(100)})


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(columns, "_IN_MEMORY", 0)
    monkeypatch.setattr(columns, "scratch_folder", lambda: tmp_path / "gone")
    with pytest.raises(ResultsError, match=r"gone: no room for long columns: No such file or directory"):
        collected(np.int64, [np.arange(9)])


def test_zones_leave_out_only_pieces_without_such_values() -> None:
    random = np.random.default_rng(5)
    for _ in range(200):
        values = np.sort(random.integers(-50, 50, 60)) if random.random() < 0.5 else random.integers(-50, 50, 60)
        zones = Zones()
        for start in range(0, 60, 7):
            zones.add(slice(start, start + 7), values[start : start + 7])
        low = int(random.integers(-60, 60))
        high = low + int(random.integers(0, 20))
        inside = [values[piece] for piece in zones.within(low, high)]
        found = np.concatenate([np.zeros(0, np.int64), *inside])
        wanted = values[(values >= low) & (values <= high)]
        assert found[(found >= low) & (found <= high)].tolist() == wanted.tolist()
